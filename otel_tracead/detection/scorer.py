"""Runs the network: ONNX Runtime sessions, rectangles of traces, and windows with carried state."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from otel_tracead.detection.bound_runs import Feeds, rounded
from otel_tracead.detection.label_layer import LONGEST, LabelLayer
from otel_tracead.detection.mixture import exceeded_by
from otel_tracead.detection.packing import Fit, Packed, Rectangle, pack
from otel_tracead.detection.session import Provider, Run, Session
from otel_tracead.traces.dictionary import RARE_ID

Ints = npt.NDArray[np.int64]
Ints32 = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]

_FITS: Final = {
    "cpu": Fit(2048),  # what it works on stays in the cache
    # A run costs about the same whatever it holds: few of them, of few shapes, and padding is for nothing.
    "cuda": Fit(262_144, wasted=131_072, widened=rounded),
}
_DETAILED: Final = 16_384  # positions of which all labels' probabilities come out together: they take so much memory
_WINDOW: Final = LONGEST
_TOP: Final = 3
_TRIED: Final = 16  # events of a trace that is tried out
LONG: Final = 0.1
"""The share of events that are predicted to take longer than what counts as long."""
_LONG_NATS: Final = -float(np.log(LONG))
_STATE: Final = "state_out"
OUTPUTS: Final = ("label_surprise", "time_surprise", "mixture", "log_probabilities", _STATE)


@dataclass(slots=True)
class Surprise:
    """What the network says of each position; positions are the events of a trace and then its end.

    Attributes:
        label: -ln probability of the label that came, or of `!rare` for one that the network has no class for `[positions]`.
        time: -ln of the probability of a time as long `[positions]`; 0 at the end of a trace.
        long: the time that one in ten such events was to exceed, on its label's scale `[positions]`; inf where it was not
            exceeded.
        offsets: first position of each trace `[traces + 1]`.
        rank: how many labels were more probable than the one that came `[positions]`; empty unless asked for.
        exceeded: the positions that took longer than `long` `[e]`, ends of traces among them, in no order.
        mixture: log weights, means and log scales of what was predicted there, as the network gives them
            `[3 * components, e]`.
    """

    label: Floats
    time: Floats
    long: Floats
    offsets: Ints
    rank: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    exceeded: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    mixture: Floats32 = field(default_factory=lambda: np.zeros((0, 0), np.float32))


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
        self._fits = _FITS
        self._label_layer: LabelLayer | None = None
        if self._session.execution_provider == "cpu":
            self._cut(model, labels, threads)

    @property
    def execution_provider(self) -> str:
        """Where the next run is made; see `Session`."""
        return self._session.execution_provider

    @property
    def trouble(self) -> str:
        """Why that is not CUDA; see `Session`."""
        return self._session.trouble

    def _try_out(self, labels: int, run: Run) -> None:
        """Try the network on every label."""
        ids = np.concatenate((np.arange(labels), [0])).astype(np.int32)[None]
        feeds = {
            "labels": ids,
            "times": np.zeros((*ids.shape, 1), np.float32),
            "state": np.zeros((1, self._state), np.float32),
        }
        shapes = dict(zip(OUTPUTS, (output.shape for output in run(OUTPUTS, feeds)), strict=True))
        components, classes = shapes["mixture"][-1] // 3, shapes["log_probabilities"][-1]
        wanted = {
            "label_surprise": (1, labels),
            "time_surprise": (1, labels),
            "mixture": (1, labels, 3 * components),
            "log_probabilities": (1, labels, classes),
            _STATE: (1, self._state),
        }
        for name, shape in wanted.items():
            if shapes[name] != shape:
                raise ValueError(f"{name} has shape {shapes[name]}, not {shape}")

    def _cut(self, model: bytes, labels: int, threads: int) -> None:
        """Take the layer of labels out, where that changes nothing: what another program wrote may only look like ours."""
        ids, offsets = np.arange(2 * _TRIED) % labels, np.array([0, 0, _TRIED // 2, 2 * _TRIED])
        try:
            whole = self.surprise(ids, np.zeros(len(ids)), offsets)
            self._label_layer = LabelLayer.of(model, state=self._state, outputs=OUTPUTS[:4], threads=threads)
            found = self.surprise(ids, np.zeros(len(ids)), offsets)
        except Exception:  # noqa: BLE001 (any, also those that ONNX Runtime does not name; the whole network works)
            self._label_layer = None
            return
        if not (np.allclose(found.label, whole.label) and np.allclose(found.time, whole.time)):
            self._label_layer = None

    def surprise(self, labels: Ints, times: Floats, offsets: Ints, *, ranks: bool = False) -> Surprise:
        """Score traces.

        Args:
            labels: dictionary index of each event `[m]`.
            times: scaled log response time of each event `[m]`.
            offsets: first event of each trace `[traces + 1]`.
            ranks: whether to give the ranks, too; costs more.

        Raises:
            ValueError: the network gave NaN: it compares as normal with everything, and is no verdict.
        """
        packed = pack(labels, times, offsets, self._fit(detailed=ranks))
        size = len(packed.place)
        packed_label, packed_time = np.empty(size), np.empty(size)
        rank = np.zeros(size if ranks else 0, np.int64)
        exceeded, mixtures = [], []
        for positions, cells, (labels_came, times_came, mixture, *probabilities) in self._runs(
            packed, OUTPUTS[: 4 if ranks else 3]
        ):
            packed_label[positions] = labels_came.take(cells)
            packed_time[positions] = surprises = times_came.take(cells)
            over = (surprises > _LONG_NATS).nonzero()[0]
            exceeded.append(packed.place[positions][over])
            mixtures.append(mixture[:, cells[over]])
            for one in probabilities:
                rank[packed.place[positions]] = _ranks(one[cells], packed.came[positions])
        packed_time[packed.ends] = 0.0
        label, time = np.empty(size), np.empty(size)
        label[packed.place], time[packed.place] = packed_label, packed_time
        bounds = offsets + np.arange(len(offsets))
        if np.isnan(np.add.reduce(label) + np.add.reduce(time)):
            raise ValueError("the network gave no numbers (NaN)")
        found = Surprise(label, time, np.full(size, np.inf), bounds, rank)
        if exceeded:
            found.exceeded, found.mixture = np.concatenate(exceeded), np.concatenate(mixtures, axis=1)
        if len(found.exceeded):
            found.long[found.exceeded] = exceeded_by(found.mixture, LONG)
            found.long[bounds[1:] - 1] = np.inf
        return found

    def details(self, labels: Ints, times: Floats, offsets: Ints, traces: Ints) -> list[Details]:
        """Explain some *traces* of those given (see `surprise`), in their order."""
        packed = pack(labels, times, offsets, self._fit(detailed=True), traces)
        parts: list[tuple[Any, ...]] = []
        for positions, cells, (mixture, probabilities) in self._runs(packed, OUTPUTS[2:4]):
            log_probabilities = probabilities[cells]
            rank = _ranks(log_probabilities, packed.came[positions])
            parts.append((rank, *_best(log_probabilities), normalised(mixture[:, cells])))
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        explained: dict[int, Details] = {}
        for trace, last, width in zip(packed.order.tolist(), packed.ends.tolist(), packed.widths.tolist(), strict=True):
            explained[trace] = Details(*(column[last + 1 - width : last + 1] for column in columns))
        return [explained[trace] for trace in range(len(traces))]

    def _fit(self, *, detailed: bool) -> Fit:
        fit = self._fits[self.execution_provider]
        return replace(fit, cells=min(fit.cells, _DETAILED)) if detailed else fit

    def _runs(self, packed: Packed, outputs: Sequence[str]) -> Iterator[tuple[slice, Ints, list[Any]]]:
        """Run rectangle after rectangle, and give positions of *packed*, their cells and the outputs, as `LabelLayer.run` does."""
        short = [rectangle for rectangle in packed.rectangles if rectangle.width <= _WINDOW]
        if short and self._label_layer is not None:
            looked = self._label_layer.look_up(packed, short[-1].traces.stop)
            for rectangle in short:
                yield rectangle.positions, *self._label_layer.run(outputs, packed, looked, rectangle)
        else:
            yield from self._whole_runs(packed, short, outputs)
        for rectangle in packed.rectangles[len(short) :]:  # the longest come last
            labels, times, cells = packed.unpacked(rectangle)
            state, windows = np.zeros((len(labels), self._state), np.float32), []
            for start in range(0, rectangle.width, _WINDOW):
                window = slice(start, start + _WINDOW + 1)
                given = self._feeds(labels[:, window], times[:, window], state)
                *found, state = self._session.run((*outputs, _STATE), given)
                windows.append(found)
            whole = [np.concatenate(parts, axis=1) for parts in zip(*windows, strict=True)]
            yield rectangle.positions, cells, _by_cell(outputs, whole)

    def _whole_runs(
        self, packed: Packed, short: list[Rectangle], outputs: Sequence[str]
    ) -> Iterator[tuple[slice, Ints, list[Any]]]:
        where: deque[Ints] = deque()

        def feeds() -> Iterator[Feeds]:
            for rectangle in short:
                labels, times, cells = packed.unpacked(rectangle)
                where.append(cells)
                yield self._feeds(labels, times, np.zeros((len(labels), self._state), np.float32))

        for rectangle, found in zip(short, self._session.stream(outputs, feeds()), strict=True):
            yield rectangle.positions, where.popleft(), _by_cell(outputs, found)

    @staticmethod
    def _feeds(labels: Ints32, times: Floats32, state: Floats32) -> Feeds:
        return {"labels": labels, "times": times[..., None], "state": state}


def _by_cell(outputs: Sequence[str], found: list[Any]) -> list[Any]:
    """Lay the *outputs* of the whole network `[traces, steps]` out as `LabelLayer.run` does."""
    flat = [one.reshape(-1, *one.shape[2:]) for one in found]
    return [one.T if name == "mixture" else one for name, one in zip(outputs, flat, strict=True)]


def normalised(mixture: Floats32) -> Floats32:
    """Make `Details.mixture` of what the network gives `[3 * components, n]`: weights that sum to 1 when they are no logarithms."""
    weight, mean, log_scale = np.split(mixture.T, 3, axis=-1)
    return np.concatenate((weight - np.logaddexp.reduce(weight, axis=-1, keepdims=True), mean, log_scale), axis=-1)


def _ranks(log_probabilities: Floats32, came: Ints32) -> Ints:
    """Count the labels that were more probable than the one that *came* `[n]`; one without a class is a `!rare` one."""
    classes = np.where(came < log_probabilities.shape[1], came, RARE_ID)
    own = np.take_along_axis(log_probabilities, classes[:, None], axis=1)
    return np.asarray((log_probabilities > own).sum(axis=1))


def _best(log_probabilities: Floats32) -> tuple[Ints, Floats32]:
    """Find the most probable labels and their probabilities `[n, <= 3]`, best first."""
    left, rows = log_probabilities.copy(), np.arange(len(log_probabilities))
    top = np.empty((len(left), min(_TOP, left.shape[1])), np.int64)
    for column in top.T:  # some passes cost less than sorting
        column[:] = left.argmax(axis=1)
        left[rows, column] = -np.inf
    return top, np.exp(np.take_along_axis(log_probabilities, top, axis=1))
