"""Anomalies of known kinds, put into copies of normal traces: what a detector is tried with.

The kinds are those of the paper (a label replaced, a response time made longer) and those that users meet: calls that
are missing, extra, aborted or out of order, and stalls.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.traces.encoding import Events, concatenate, select

Ints = npt.NDArray[np.int64]

_TRIES: Final = 20


@dataclass(slots=True)
class Injected:
    """Copies of normal traces with one anomaly each.

    Attributes:
        events: the traces.
        blame: the rows of each trace, counted from its first, any of which is rightly to blame.
    """

    events: Events
    blame: list[tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Typical:
    """What is typical of the traffic, to say how long an injected delay must be.

    Attributes:
        own_us: median own work of each label of the events `[labels]`.
        trace_us: median duration of a trace by its first label `[labels]`.
    """

    own_us: npt.NDArray[np.float64]
    trace_us: npt.NDArray[np.float64]


def typical(events: Events) -> Typical:
    """Measure what is typical of *events*."""
    whole = events.trace_us
    first = events.label[events.offsets[:-1]]
    own = np.zeros(len(events.labels))
    trace = np.full(len(events.labels), float(np.median(whole)))
    for label in np.unique(events.label):
        own[label] = np.median(events.self_us[events.label == label])
    for label in np.unique(first):
        trace[label] = np.median(whole[first == label])
    return Typical(own, trace)


Injection = Callable[[Events, Typical, np.random.Generator], tuple[Events, tuple[int, ...]] | None]


def _take(trace: Events, rows: Ints, parent: Ints) -> Events:
    """Give a trace of chosen *rows* in a new order, with the *parent* rows of the new order."""
    return replace(
        trace,
        offsets=np.array([0, len(rows)]),
        span=np.arange(len(rows)),
        label=trace.label[rows],
        self_us=trace.self_us[rows],
        duration_us=trace.duration_us[rows],
        start=trace.start[rows],
        parent=parent,
        service=trace.service[rows],
        instance=trace.instance[rows],
        callee=trace.callee[rows],
        root=np.zeros(1, np.int64),
    )


def _moved(parent: Ints, rows: Ints) -> Ints:
    place = np.full(len(parent) + 1, -1)
    place[rows] = np.arange(len(rows))
    return place[parent[rows]]


def _end(trace: Events, row: int) -> int:
    """Give the row behind the subtree of *row*."""
    inside = {row}
    stop = row + 1
    while stop < len(trace) and int(trace.parent[stop]) in inside:
        inside.add(stop)
        stop += 1
    return stop


def replaced(trace: Events, _typical: Typical, random: np.random.Generator) -> tuple[Events, tuple[int, ...]] | None:
    """Another known label stands at one place (the paper's structural injection)."""
    row = int(random.integers(len(trace)))
    others = np.setdiff1d(np.flatnonzero(_typical.own_us > 0), trace.label[row])
    if not len(others):
        return None
    label = trace.label.copy()
    label[row] = random.choice(others)
    return replace(trace, label=label), (row,)


def missing(trace: Events, _typical: Typical, random: np.random.Generator) -> tuple[Events, tuple[int, ...]] | None:
    """A call was not made: its span and all below are not there; the caller is to blame."""
    rows = np.flatnonzero(trace.parent >= 0)
    if not len(rows):
        return None
    row = int(random.choice(rows))
    kept = np.concatenate((np.arange(row), np.arange(_end(trace, row), len(trace))))
    return _take(trace, kept, _moved(trace.parent, kept)), (int(trace.parent[row]),)


def extra(trace: Events, _typical: Typical, random: np.random.Generator) -> tuple[Events, tuple[int, ...]] | None:
    """A call was made that does not belong there: a copy of one span of the trace under another."""
    caller, copied = int(random.integers(len(trace))), int(random.integers(len(trace)))
    at = _end(trace, caller)
    rows = np.concatenate((np.arange(at), [copied], np.arange(at, len(trace))))
    place = np.arange(len(trace) + 1)
    place[at:] += 1
    place[-1] = -1
    parent = place[trace.parent[rows]]
    parent[at] = caller
    return _take(trace, rows, parent), (at,)


def aborted(trace: Events, _typical: Typical, random: np.random.Generator) -> tuple[Events, tuple[int, ...]] | None:
    """The trace ends early: nothing comes after one of its events; whoever should have called next is to blame, or it."""
    if len(trace) < 3:
        return None
    kept = np.arange(int(random.integers(1, len(trace))))
    return _take(trace, kept, trace.parent[kept]), (int(trace.parent[len(kept)]), len(kept) - 1)


def swapped(trace: Events, _typical: Typical, random: np.random.Generator) -> tuple[Events, tuple[int, ...]] | None:
    """Two neighbouring calls of one caller that wait for each other come in the other order."""
    pairs = []
    last: dict[int, int] = {}
    for row, caller in enumerate(trace.parent.tolist()):
        before = last.get(caller, -1)
        if caller >= 0 and before >= 0 and trace.label[before] != trace.label[row]:
            waits = trace.start[before] + trace.duration_us[before] * 1e3 <= trace.start[row]
            if waits:
                pairs.append((before, row))
        last[caller] = row
    if not pairs:
        return None
    first, second = pairs[int(random.integers(len(pairs)))]
    stop = _end(trace, second)
    rows = np.concatenate(
        (np.arange(first), np.arange(second, stop), np.arange(first, second), np.arange(stop, len(trace)))
    )
    return _take(trace, rows, _moved(trace.parent, rows)), (first, first + stop - second)


def stall(trace: Events, known: Typical, random: np.random.Generator) -> tuple[Events, tuple[int, ...]] | None:
    """One span's own work takes 2 to 5 typical durations of the whole trace longer."""
    return _longer(trace, int(random.integers(len(trace))), known.trace_us[trace.label[0]] * random.uniform(2, 5))


def slowdown(trace: Events, known: Typical, random: np.random.Generator) -> tuple[Events, tuple[int, ...]] | None:
    """One span's own work takes 2 to 5 times its own typical time longer (the paper's response-time injection)."""
    row = int(random.integers(len(trace)))
    return _longer(trace, row, known.own_us[trace.label[row]] * random.uniform(2, 5))


def _longer(trace: Events, row: int, more_us: float) -> tuple[Events, tuple[int, ...]]:
    own, duration = trace.self_us.copy(), trace.duration_us.copy()
    own[row] += more_us
    cursor = row
    while cursor >= 0:
        duration[cursor] += more_us
        cursor = int(trace.parent[cursor])
    return replace(trace, self_us=own, duration_us=duration), (row,)


KINDS: Final[dict[str, Injection]] = {
    "replaced": replaced,
    "missing": missing,
    "extra": extra,
    "aborted": aborted,
    "swapped": swapped,
    "stall": stall,
    "slowdown": slowdown,
}
"""Every kind that a detector is tried with."""


def inject(events: Events, kind: str, count: int, random: np.random.Generator) -> Injected | None:
    """Inject anomalies of one *kind* into copies of *count* random traces; None where the traffic has no place for it."""
    complete = np.flatnonzero((events.orphans == 0) & (np.diff(events.offsets) > 0))
    if not len(complete):
        return None
    known = typical(events)
    parts: list[Events] = []
    rows: list[tuple[int, ...]] = []
    for _ in range(count * _TRIES):
        if len(parts) == count:
            break
        trace = select(events, random.choice(complete, 1))
        # Verdicts name spans by their place in the trace; here that is their row.
        trace = replace(trace, span=np.arange(len(trace)), root=np.zeros(1, np.int64))
        found = KINDS[kind](trace, known, random)
        if found is not None:
            parts.append(found[0])
            rows.append(found[1])
    return Injected(concatenate(parts), rows) if parts else None
