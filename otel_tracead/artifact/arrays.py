"""Plain arrays in a `.npz`: the same bytes for the same numbers, and nothing of what came from outside is believed or executed."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from otel_tracead.artifact.tails import KNOTS, Tails
from otel_tracead.errors import ArtifactError

FILE: Final = "calibration.npz"
_MAX_BYTES: Final = 256 << 20


def pack(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Encode arrays as `.npz`."""
    out = io.BytesIO()
    # Not numpy.savez: it writes the time of day into the archive.
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            encoded = io.BytesIO()
            np.lib.format.write_array(encoded, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), encoded.getvalue(), zipfile.ZIP_DEFLATED)
    return out.getvalue()


class Arrays:
    """The arrays of an archive, each checked when it is taken.

    Args:
        content: the bytes of the `.npz`.

    Raises:
        ArtifactError: it is no archive of arrays, or unpacks to more bytes than an artifact may have.
    """

    def __init__(self, content: bytes) -> None:
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                members = archive.infolist()
                size = sum(member.file_size for member in members)
                if size <= _MAX_BYTES:
                    self._arrays = {one.filename.removesuffix(".npy"): _array(archive.read(one)) for one in members}
                    return
        except Exception as error:  # zipfile has no error of its own: zlib's, lzma's, struct's and others come through
            raise ArtifactError(f"{FILE}: not an archive of arrays: {error}") from error
        raise ArtifactError(f"{FILE}: unpacks to {size} bytes, more than {_MAX_BYTES >> 20} MiB")

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def rows(self, name: str) -> int:
        """Count the rows of an array; one that is missing, or has none, has 0."""
        array = self._arrays.get(name)
        return len(array) if array is not None and array.ndim else 0

    def take(self, name: str, *shape: int | None, kind: str = "f") -> npt.NDArray[Any]:
        """Give an array of 64-bit numbers of a *kind* (`f`, `i`, `u`) and a *shape* (None: any length).

        Raises:
            ArtifactError: it is missing, has another type or shape, or holds NaN.
        """
        if name not in self._arrays:
            raise ArtifactError(f"{FILE}: the array {name!r} is missing")
        array = self._arrays[name]
        fits = array.ndim == len(shape) and all(
            want is None or have == want for have, want in zip(array.shape, shape, strict=True)
        )
        if array.dtype.kind != kind or array.dtype.itemsize != 8 or not fits:
            raise ArtifactError(
                f"{FILE}: {name!r} has type {array.dtype} and shape {array.shape}, not {kind}8 and {shape}"
            )
        if kind == "f" and np.isnan(array).any():
            raise ArtifactError(f"{FILE}: {name!r} holds NaN")
        return array.astype(array.dtype.newbyteorder("="), copy=False)

    def tails(self, name: str, rows: int) -> Tails:
        """Give survival functions, checked as `take` does."""
        return Tails(self.take(f"{name}_knots", rows, KNOTS), self.take(f"{name}_slope", rows))


def tail_problems(tails: tuple[Tails, ...]) -> dict[str, bool]:
    """Say what is wrong with survival functions: what would fail, or say nonsense, only once there is traffic."""
    return {
        "quantiles do not increase": any((one.knots[:, 1:] < one.knots[:, :-1]).any() for one in tails),
        "quantiles begin with no finite number": not all(np.isfinite(one.knots[:, 0]).all() for one in tails),
        "a slope is no finite number from 0 on": not all(
            (np.isfinite(one.slope) & (one.slope >= 0)).all() for one in tails
        ),
    }


def _array(encoded: bytes) -> npt.NDArray[Any]:
    """Decode one `.npy`; its header is believed only as far as there are bytes (numpy would allocate first)."""
    file = io.BytesIO(encoded)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an array in another version of the format")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.hasobject or dtype.kind not in "fiu" or (fortran and len(shape) > 1):
        raise ValueError(f"an array of type {dtype}")
    return np.frombuffer(encoded, dtype, offset=file.tell()).reshape(shape).copy()
