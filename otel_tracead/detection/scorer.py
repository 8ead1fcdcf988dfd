"""Runs the network: ONNX Runtime sessions, buckets of traces, and windows with carried state."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from otel_tracead.detection.mixture import exceeded_by
from otel_tracead.detection.session import Provider, Run, Session

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]

_CELLS: Final = 2048  # events with padding in one run on the CPU: what it works on stays in the cache
_CELLS_CUDA: Final = 262_144
_WINDOW: Final = 1024
_DETAILS_COST: Final = 4  # they take so much more memory than surprises
_PADDING: Final = 1.15
SURPRISES: Final = ("label_surprise", "time_surprise", "state_out")
LONG: Final = 0.1
"""The share of events that are predicted to take longer than what counts as long."""
DETAILS: Final = ("label_rank", "top_labels", "top_probabilities", "time_mixture")


@dataclass(slots=True)
class Surprise:
    """What the network says of each position; positions are the events of a trace and then its end.

    Attributes:
        label: -ln probability of the label that came `[positions]`.
        time: -ln of the probability of a time as long `[positions]`; 0 at the end of a trace.
        long: the time that one in ten such events was to exceed, on its label's scale `[positions]`; inf where it was not
            exceeded.
        offsets: first position of each trace `[traces + 1]`.
        rank: how many labels were more probable than the one that came `[positions]`; empty unless asked for.
    """

    label: Floats
    time: Floats
    long: Floats
    offsets: Ints
    rank: Ints = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(slots=True)
class Details:
    """What a person wants to know of the positions of one trace.

    Attributes:
        rank: how many labels were more probable than the one that came `[positions]`.
        top: the most probable labels `[positions, 3]`, best first, and
        probability: their probabilities `[positions, 3]`.
        mixture: log weights, means and log scales of the predicted time `[positions, 3 * components]`.
    """

    rank: Ints
    top: Ints
    probability: Floats32
    mixture: Floats32


class Scorer:
    """One network, ready to run. Thread-safe as long as one thread runs it at a time.

    Args:
        model: the bytes of `model.onnx`.
        state: width of the carried state, from the manifest.
        labels: size of the dictionary.
        provider: `auto` takes CUDA when it works.
        threads: of ONNX Runtime within one run.

    Raises:
        ArtifactError: the bytes are no network that ONNX Runtime can run.
        RuntimeError: `cuda` was asked for and does not work.
    """

    def __init__(
        self, model: bytes, *, state: int, labels: int = 1, provider: Provider = "auto", threads: int = 1
    ) -> None:
        self._state = state
        self._session = Session(model, partial(self._try_out, labels), provider=provider, threads=threads)
        self.execution_provider = self._session.execution_provider
        self._cells = _CELLS if self.execution_provider == "cpu" else _CELLS_CUDA

    def _try_out(self, labels: int, run: Run) -> None:
        """Try the network on every label."""
        ids = np.concatenate((np.arange(labels), [0])).astype(np.int32)[None]
        feeds = {
            "labels": ids,
            "times": np.zeros((*ids.shape, 1), np.float32),
            "state": np.zeros((1, self._state), np.float32),
        }
        outputs = (*SURPRISES, *DETAILS)
        shapes = dict(zip(outputs, (o.shape for o in run(outputs, feeds)), strict=True))
        wanted = dict.fromkeys((*SURPRISES[:2], DETAILS[0]), (1, labels)) | {"state_out": (1, self._state)}
        for name, shape in wanted.items():
            if shapes[name] != shape:
                raise ValueError(f"{name} has shape {shapes[name]}, not {shape}")

    def surprise(self, labels: Ints, times: Floats, offsets: Ints, *, ranks: bool = False) -> Surprise:
        """Score traces.

        Args:
            labels: dictionary index of each event `[m]`.
            times: scaled log response time of each event `[m]`.
            offsets: first event of each trace `[traces + 1]`.
            ranks: whether to give the ranks, too; costs more.
        """
        lengths = np.diff(offsets)
        positions = np.concatenate(([0], np.cumsum(lengths + 1)))
        label = np.zeros(positions[-1])
        time = np.zeros(positions[-1])
        long = np.full(positions[-1], np.inf)
        rank = np.zeros(positions[-1] if ranks else 0, np.int64)
        into = (label, time, rank) if ranks else (label, time)
        outputs = (*SURPRISES[:2], *DETAILS[: len(into) - 2], DETAILS[-1], "state_out")
        for bucket in _buckets(lengths, self._cells):
            at = 0
            for found, valid in self._windows(labels, times, offsets, bucket, outputs):
                rows, columns = np.nonzero(valid)
                place = positions[bucket][rows] + at + columns
                for column, output in zip(into, found[:-1], strict=True):
                    column[place] = output[rows, columns]
                exceeded = time[place] > -np.log(LONG)
                rows, columns, place = rows[exceeded], columns[exceeded], place[exceeded]
                long[place] = exceeded_by(found[-1][rows, columns], LONG)
                at += valid.shape[1]
        time[positions[1:] - 1] = 0.0
        long[positions[1:] - 1] = np.inf
        return Surprise(label, time, long, positions.astype(np.int64), rank)

    def details(self, labels: Ints, times: Floats, offsets: Ints, traces: Ints) -> list[Details]:
        """Explain some *traces* of those given (see `surprise`), in their order."""
        explained: dict[int, Details] = {}
        lengths = np.diff(offsets)[traces]
        for bucket in _buckets(lengths, self._cells // _DETAILS_COST):
            windows = self._windows(labels, times, offsets, traces[bucket], (*DETAILS, "state_out"))
            parts = [found for found, _ in windows]
            outputs = [np.concatenate([part[i] for part in parts], axis=1) for i in range(len(DETAILS))]
            for place, trace in enumerate(bucket.tolist()):
                explained[trace] = Details(*(output[place, : lengths[trace] + 1] for output in outputs))
        return [explained[trace] for trace in range(len(traces))]

    def _windows(
        self, labels: Ints, times: Floats, offsets: Ints, bucket: Ints, outputs: Sequence[str]
    ) -> Iterator[tuple[list[Any], npt.NDArray[np.bool_]]]:
        """Run one bucket window after window, and give the outputs but the state, and which cells are positions."""
        lengths = np.diff(offsets)[bucket]
        width = int(lengths.max()) + 2  # `!0` before and after
        column = np.arange(width)
        inside = (column >= 1) & (column <= lengths[:, None])
        source = np.where(inside, offsets[bucket][:, None] + column - 1, 0)
        ids = np.where(inside, labels[source] if len(labels) else 0, 0).astype(np.int32)
        clipped = np.where(inside, times[source] if len(times) else 0.0, 0.0).astype(np.float32)[..., None]
        state = np.zeros((len(bucket), self._state), np.float32)
        valid = column[1:] <= lengths[:, None] + 1
        for start in range(0, width - 1, _WINDOW):
            stop = min(start + _WINDOW, width - 1)
            feeds = {"labels": ids[:, start : stop + 1], "times": clipped[:, start : stop + 1], "state": state}
            *found, state = self._session.run(outputs, feeds)
            yield found, valid[:, start:stop]


def _buckets(lengths: Ints, cells: int) -> Iterator[Ints]:
    """Cut traces, ordered by length, into runs of at most *cells* cells with little padding."""
    order = np.argsort(lengths, kind="stable")
    start = 0
    widths = lengths[order] + 1
    total = np.concatenate(([0], np.cumsum(widths)))
    n = len(order)
    while start < n:
        # The widest bucket that fits: its cells are count * last width.
        stop = start + 1
        limit = min(n, start + max(1, cells // int(widths[start])))
        while stop < limit:
            count = stop + 1 - start
            padded = count * int(widths[stop])
            if padded > cells or (count > 16 and padded > _PADDING * (total[stop + 1] - total[start])):
                break
            stop += 1
        yield order[start:stop]
        start = stop
