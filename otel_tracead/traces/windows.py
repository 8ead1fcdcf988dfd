"""Traces in the paper's form (its section on data): label indices D1 and response times D2, cut or padded to one length."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from otel_tracead.traces import dictionary as dictionaries
from otel_tracead.traces.dictionary import END_ID, Dictionary
from otel_tracead.traces.encoding import Events

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

LENGTH: Final = 20
"""The paper's `T_l`."""
SHORTEST: Final = 4
"""The shortest trace that the paper learns from."""
EACH: Final = 1000
"""Traces of each length that the paper learns from."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Traces in the paper's form (section "Data"): cut or padded to `T` events; D1 as indices, D2 not yet scaled.

    Attributes:
        label: dictionary index of each event, 0 (`!0`) behind the last `[n, T]`.
        time_ms: response time of each event, 0 behind the last `[n, T]`.
        length: events of each window `[n]`, at least 1.
        ends: whether the window ends where its trace ends, so that `!0` is to be expected behind it `[n]`.
        trace: the trace that each window was cut from `[n]`.
    """

    label: Ints
    time_ms: Floats
    length: Ints
    ends: npt.NDArray[np.bool_]
    trace: Ints

    def __len__(self) -> int:
        """Count the windows."""
        return len(self.length)

    @property
    def inside(self) -> npt.NDArray[np.bool_]:
        """Which cells hold an event `[n, T]`."""
        return np.asarray(np.arange(self.label.shape[1]) < self.length[:, None])

    @property
    def following(self) -> tuple[Ints, Floats]:
        """Label and time of what stands behind each position: the next event, else `!0` and 0 `[n, T]` each."""
        return _moved(self.label), _moved(self.time_ms)

    @property
    def followed(self) -> npt.NDArray[np.bool_]:
        """Which positions have an event behind them `[n, T]`."""
        return np.asarray(np.arange(self.label.shape[1]) < self.length[:, None] - 1)

    @property
    def forecast(self) -> npt.NDArray[np.bool_]:
        """Which positions have a next label to forecast: an event, or `!0` where the trace ends `[n, T]`."""
        return np.asarray(np.arange(self.label.shape[1]) < (self.length - 1 + self.ends)[:, None])

    def take(self, rows: Ints) -> "Windows":
        """Give copies of some of the windows, in the order of *rows*."""
        return Windows(self.label[rows], self.time_ms[rows], self.length[rows], self.ends[rows], self.trace[rows])


def _moved(cells: npt.NDArray[Any]) -> npt.NDArray[Any]:
    moved = np.zeros_like(cells)
    moved[:, :-1] = cells[:, 1:]
    return moved


def learn_dictionary(events: Events, *, max_labels: int, min_count: int = 1) -> Dictionary:
    """Make the dictionary of the *max_labels* most frequent labels of *events*; the rest share one index."""
    counts = np.bincount(events.label, minlength=len(events.labels)).tolist()
    named = Counter({label: count for label, count in zip(events.labels, counts, strict=True) if count})
    return dictionaries.learn(named, max_labels=max_labels, min_count=min_count)


def cut(events: Events, dictionary: Dictionary, *, length: int = LENGTH, stride: int | None = None) -> Windows:
    """Cut traces to windows of *length* events and pad shorter ones with `!0`.

    Args:
        events: traces in any order of events; the paper's is by start time (`Order.START`).
        dictionary: indices of labels.
        length: the paper's `T_l`.
        stride: events between the starts of two windows of a longer trace: *length* gives consecutive windows, less
            sliding ones, and the last window ends with the trace. None, as in the paper, keeps the first window only.
    """
    sizes = np.diff(events.offsets)
    if stride is None:
        count = (sizes > 0).astype(np.int64)
    else:
        count = np.where(sizes > 0, 1 + -(-np.maximum(sizes - length, 0) // stride), 0)
    trace = np.repeat(np.arange(events.traces), count)
    number = np.arange(len(trace)) - np.repeat(np.cumsum(count) - count, count)
    begin = number * (stride or length)
    inside_length = np.minimum(sizes[trace] - begin, length)
    column = np.arange(length)
    inside = column < inside_length[:, None]
    row = np.where(inside, (events.offsets[:-1][trace] + begin)[:, None] + column, 0)
    index = np.array([dictionary.index(label) for label in events.labels], np.int64)
    if not len(events):
        return Windows(np.zeros((0, length), np.int64), np.zeros((0, length)), inside_length, inside_length > 0, trace)
    return Windows(
        label=np.where(inside, index[events.label][row], END_ID),
        time_ms=np.where(inside, events.duration_us[row] / 1e3, 0.0),
        length=inside_length,
        ends=begin + inside_length == sizes[trace],
        trace=trace,
    )


def choose_by_length(
    lengths: Ints,
    random: np.random.Generator,
    *,
    each: int = EACH,
    shortest: int = SHORTEST,
    longest: int = LENGTH,
    longer: bool = False,
) -> Ints:
    """Choose what the paper learns from: *each* traces of every length, all where there are fewer; sorted.

    Args:
        lengths: events of each trace (or window).
        random: chooses among those of one length.
        each: how many of a length.
        shortest: shorter ones are left out.
        longest: so are longer ones,
        longer: unless they are to count as of the longest length, since they are cut to it.
    """
    counted = np.minimum(lengths, longest) if longer else lengths
    chosen = []
    for length in range(shortest, longest + 1):
        own = np.flatnonzero(counted == length)
        chosen.append(own if len(own) <= each else random.choice(own, each, replace=False))
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)
