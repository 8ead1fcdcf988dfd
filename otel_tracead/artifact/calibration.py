"""The numbers beside the network: scaling, tails, grammar; as plain arrays in `calibration.npz`."""

import io
import zipfile
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.artifact.tails import KNOTS, Tails
from otel_tracead.errors import ArtifactError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

CHANNELS: Final = ("label", "step", "time", "service")
"""Kinds of evidence: the network's surprise at a label, a new step, a long own work, a slow service."""

_MAX_BYTES: Final = 256 << 20


@dataclass(slots=True)
class Calibration:
    """What was measured on normal traffic that the network was not fitted to.

    Attributes:
        center: median of log10(1 + own work in µs) of each label `[labels]`, and
        scale: its spread (robust standard deviation) `[labels]`.
        typical_us: typical duration of a trace by its first label `[labels]`; index 0 for any other.
        time_tails: of the network's time surprise, one row a label.
        channel_tails: of the strongest evidence of a trace, one row a channel.
        trace_tail: of the strongest evidence of a trace over all channels; what the budget is held with.
        order: see `Grammar`, and
        seen: likewise, and
        contexts: likewise, and
        counts: likewise, and
        transitions: likewise.
    """

    center: Floats
    scale: Floats
    typical_us: Floats
    time_tails: Tails
    channel_tails: Tails
    trace_tail: Tails
    order: Ints
    seen: npt.NDArray[np.uint64]
    contexts: npt.NDArray[np.uint64]
    counts: Ints
    transitions: Ints

    def dump(self) -> bytes:
        """Encode as `.npz`, the same bytes for the same numbers."""
        arrays = {
            "center": self.center,
            "scale": self.scale,
            "typical_us": self.typical_us,
            "time_knots": self.time_tails.knots,
            "time_slope": self.time_tails.slope,
            "channel_knots": self.channel_tails.knots,
            "channel_slope": self.channel_tails.slope,
            "trace_knots": self.trace_tail.knots,
            "trace_slope": self.trace_tail.slope,
            "order": self.order,
            "seen": self.seen,
            "contexts": self.contexts,
            "counts": self.counts,
            "transitions": self.transitions,
        }
        out = io.BytesIO()
        # Not numpy.savez: it writes the time of day into the archive.
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in arrays.items():
                encoded = io.BytesIO()
                np.lib.format.write_array(encoded, np.ascontiguousarray(array), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), encoded.getvalue(), zipfile.ZIP_DEFLATED)
        return out.getvalue()


def load(content: bytes, labels: int) -> Calibration:
    """Decode `calibration.npz` for a dictionary of *labels* labels; nothing in it is executed.

    Raises:
        ArtifactError: a missing array, a wrong type, shape or value, or more bytes than an artifact may have.
    """
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(info.file_size for info in archive.infolist()) > _MAX_BYTES:
                raise ArtifactError(f"calibration.npz: unpacks to more than {_MAX_BYTES >> 20} MiB")
            for info in archive.infolist():
                with archive.open(info) as member:
                    loaded = np.lib.format.read_array(io.BytesIO(member.read()), allow_pickle=False)
                    arrays[info.filename.removesuffix(".npy")] = loaded
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError) as error:
        raise ArtifactError(f"calibration.npz: not an archive of arrays: {error}") from error

    def take(name: str, *shape: int | None, kind: str = "f") -> npt.NDArray[np.generic]:
        if name not in arrays:
            raise ArtifactError(f"calibration.npz: the array {name!r} is missing")
        array = arrays[name]
        fits = array.ndim == len(shape) and all(
            want is None or have == want for have, want in zip(array.shape, shape, strict=True)
        )
        if array.dtype.kind != kind or array.dtype.itemsize != 8 or not fits:
            raise ArtifactError(
                f"calibration.npz: {name!r} has type {array.dtype} and shape {array.shape}, not {kind}8 and {shape}"
            )
        if kind == "f" and np.isnan(array).any():
            raise ArtifactError(f"calibration.npz: {name!r} holds NaN")
        return array

    def tails(name: str, rows: int) -> Tails:
        return Tails(take(f"{name}_knots", rows, KNOTS), take(f"{name}_slope", rows))  # type: ignore[arg-type]

    transitions = take("transitions", None, 4, kind="i")
    contexts = take("contexts", None, kind="u")
    return Calibration(
        center=take("center", labels),  # type: ignore[arg-type]
        scale=take("scale", labels),  # type: ignore[arg-type]
        typical_us=take("typical_us", labels),  # type: ignore[arg-type]
        time_tails=tails("time", labels),
        channel_tails=tails("channel", len(CHANNELS)),
        trace_tail=tails("trace", 1),
        order=take("order", labels + 1, kind="i"),  # type: ignore[arg-type]
        seen=take("seen", None, kind="u"),  # type: ignore[arg-type]
        contexts=contexts,  # type: ignore[arg-type]
        counts=take("counts", len(contexts), kind="i"),  # type: ignore[arg-type]
        transitions=transitions,  # type: ignore[arg-type]
    )
