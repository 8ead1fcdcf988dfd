"""The network without its layer of labels, which is worked out once for each sequence of labels and then remembered.

That layer reads nothing but labels, and the traces of a system repeat the same few sequences all day: it was a third of what
the network cost.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from otel_tracead.detection import onnx_sessions
from otel_tracead.detection.graph_by_step import by_step
from otel_tracead.detection.graph_cut import cut
from otel_tracead.detection.packing import Fit, Packed, Rectangle, pack, rows_from

Ints = npt.NDArray[np.int64]
Floats32 = npt.NDArray[np.float32]
Words = npt.NDArray[np.uint64]

LONGEST: Final = 1024
"""Positions of a trace that is looked up; longer ones are run in windows, whose states depend on the ones before."""
_TENSOR: Final = "label_out"
_ROOM: Final = 1 << 16  # positions that are remembered: 8 MiB of the default network
_FIT: Final = Fit(2048)
# Nobody outside can make two sequences meet in one hash.
_SALT: Final = np.frombuffer(secrets.token_bytes(8 * LONGEST), "<u8") | np.uint64(1)
_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)
_FINISH: Final = np.uint64(32)
_MIXTURE: Final = ("weight", "mean", "log_scale")


@dataclass(frozen=True, slots=True)
class Looked:
    """Where the states of packed traces are remembered, until the next ones are looked up.

    Attributes:
        first: place of the state at the first position of each trace, in the order of `Packed` `[traces]`.
        last: of the one at its last position `[traces]`.
    """

    first: Ints
    last: Ints


class LabelLayer:
    """Runs a network in two halves, on the CPU. One thread at a time.

    Args:
        first: bytes of the half that reads labels.
        second: of the half that reads what the first one gives, laid out step by step (`graph_by_step`).
        state: width of the carried state.
        threads: of ONNX Runtime within one run.
        room: positions that are remembered.
    """

    def __init__(self, first: bytes, second: bytes, *, state: int, threads: int = 1, room: int = _ROOM) -> None:
        self._first = onnx_sessions.cpu(first, threads)
        self._second = onnx_sessions.cpu(second, threads)
        self._state = state
        self._room = room
        self._forget()

    @classmethod
    def of(cls, model: bytes, *, state: int, outputs: Sequence[str], threads: int = 1) -> "LabelLayer | None":
        """Cut a network that works as a whole and gives *outputs*; None where it has no such layer.

        Raises:
            Exception: ONNX Runtime cannot run one of the halves.
        """
        halves = cut(model, _TENSOR, of={"labels", "state"}, outputs=outputs)
        second = by_step(halves.second) if halves is not None else None
        return cls(halves.first, second, state=state, threads=threads) if halves is not None and second else None

    def _forget(self) -> None:
        self._known: dict[int, int] = {}  # where the states of a sequence begin
        self._used = 0
        self._states: Floats32 | None = None

    def look_up(self, packed: Packed, traces: int) -> Looked:
        """Find the states of the first *traces* of those packed, and work out those that are not known yet.

        None of them has more than `LONGEST` positions.
        """
        keys = _keys(packed, traces).tolist()
        known = self._known
        new = {key: trace for trace, key in enumerate(keys) if key not in known}
        if new:
            if self._used + int(packed.widths[list(new.values())].sum()) > self._room:
                self._forget()
                known, new = self._known, {key: trace for trace, key in enumerate(keys)}
            self._learn(packed, new)
        first = np.array([known[key] for key in keys], np.int64)
        return Looked(first, first + packed.widths[:traces] - 1)

    def run(
        self, outputs: Sequence[str], packed: Packed, looked: Looked, rectangle: Rectangle
    ) -> tuple[Ints, list[Any]]:
        """Run a rectangle of traces that were looked up.

        Returns:
            The cells that are positions `[positions]`, and the *outputs* for all cells, in an order of their own: numbers
            `[cells]`, the mixture `[3 * components, cells]`, log probabilities `[cells, classes]`.
        """
        if self._states is None:
            raise RuntimeError("no trace was looked up")
        labels, times, cells = packed.by_step(rectangle)
        first, last = looked.first[rectangle.traces], looked.last[rectangle.traces]
        at = np.minimum(first + np.arange(rectangle.width)[:, None], last)
        feeds = {
            "labels_by_step": labels[:-1],
            "times_by_step": times[:-1, :, None],
            "labels_came": labels[1:],
            "times_came": times[1:],
            _TENSOR: self._states.take(at, axis=0),
        }
        names = [name for output in outputs for name in (_MIXTURE if output == "mixture" else (output,))]
        made = dict(zip(names, self._second(names, feeds), strict=True))
        return cells, [_by_cell(made, output) for output in outputs]

    def _learn(self, packed: Packed, new: dict[int, int]) -> None:
        """Work out the states of one trace for each *new* key."""
        keys, own = list(new), _again(packed, np.array(list(new.values()), np.int64))
        begins = self._used + np.concatenate(([0], np.cumsum(own.widths)))
        for rectangle in own.rectangles:
            labels, _, cells = own.unpacked(rectangle)
            given = {"labels": labels, "state": np.zeros((len(labels), self._state), np.float32)}
            (states,) = self._first([_TENSOR], given)
            by_trace = states.transpose(1, 0, 2).reshape(-1, states.shape[-1])[cells]
            self._keep(by_trace, int(begins[rectangle.traces.start]), int(begins[-1]))
        self._used = int(begins[-1])
        for place, trace in enumerate(own.order.tolist()):
            self._known[keys[trace]] = int(begins[place])

    def _keep(self, states: Floats32, at: int, needed: int) -> None:
        """Write *states* down from the place *at* on, in memory for at least *needed* ones."""
        if self._states is None or len(self._states) < needed:
            grown = np.empty((max(needed, min(2 * needed, self._room)), states.shape[1]), np.float32)
            if self._states is not None:
                grown[: len(self._states)] = self._states
            self._states = grown
        self._states[at : at + len(states)] = states


def _by_cell(made: Mapping[str, Any], output: str) -> Any:
    """Lay one *output* out cell by cell; see `LabelLayer.run`."""
    if output == "mixture":
        mixture = np.concatenate([made[part] for part in _MIXTURE])
        return mixture.reshape(len(mixture), -1)
    if output == "log_probabilities":
        return made[output].reshape(-1, made[output].shape[-1])
    return made[output].reshape(-1)


def _again(packed: Packed, chosen: Ints) -> Packed:
    """Pack some traces of those in *packed*, by their labels only."""
    lengths = packed.widths[chosen] - 1
    rows, offsets = rows_from(packed.ends[chosen] - lengths, lengths)
    return pack(packed.came[rows], np.zeros(len(rows)), offsets, _FIT)


def _keys(packed: Packed, traces: int) -> Words:
    """Hash the labels of each of the first *traces*, its end among them: where that is tells lengths apart `[traces]`."""
    widths = packed.widths[:traces]
    begins = packed.ends[:traces] - widths + 1
    size = int(packed.ends[traces - 1]) + 1
    words = packed.came[:size].astype(np.uint64)
    words += np.uint64(1)
    words *= _SALT.take(packed.step[:size])
    keys: Words = np.add.reduceat(words, begins)
    keys ^= keys >> _FINISH
    keys *= _SPREAD
    return keys ^ (keys >> _FINISH)
