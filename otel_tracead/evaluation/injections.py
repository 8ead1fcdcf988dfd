"""Anomalies of known kinds, put into copies of normal traces: what a detector is tried with.

The kinds are those of the paper (a label replaced, a response time made longer) and those that users meet: calls that
are missing, extra, aborted or out of order, and stalls. Each works on traces in either order of events, and on
traffic whose clock counts whole milliseconds.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.traces.editing import below, callers, longer, moved, take
from otel_tracead.traces.encoding import Events, concatenate, select

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_TRIES: Final = 20
_MILLISECOND_US: Final = 1000.0


@dataclass(slots=True)
class Injected:
    """Copies of normal traces with one anomaly each.

    Attributes:
        events: the traces.
        blame: the rows of each trace, counted from its first, any of which is rightly to blame.
        source: the trace that each is a copy of `[traces]`.
    """

    events: Events
    blame: list[tuple[int, ...]]
    source: Ints


@dataclass(frozen=True, slots=True)
class Typical:
    """What is typical of the traffic, to say how long an injected delay must be.

    Attributes:
        own_us: median own work of each label of the events `[labels]`.
        trace_us: median duration of a trace by its first label `[labels]`.
        example: service, instance and callee of an event of each label; -1 where there is none `[3, labels]`.
        tick_us: what the clock counts in: 1000 where all times are whole milliseconds, else 0.
    """

    own_us: Floats
    trace_us: Floats
    example: Ints
    tick_us: float


def typical(events: Events) -> Typical:
    """Measure what is typical of *events*."""
    whole, labels = events.trace_us, len(events.labels)
    first = events.label[events.offsets[:-1]]
    used, row = np.unique(events.label, return_index=True)
    example = np.full((3, labels), -1)
    example[:, used] = events.service[row], events.instance[row], events.callee[row]
    whole_ms = bool((events.self_us % _MILLISECOND_US == 0).all() and (events.duration_us % _MILLISECOND_US == 0).all())
    return Typical(
        own_us=_medians(events.self_us, events.label, labels, 0.0),
        trace_us=_medians(whole, first, labels, float(np.median(whole)) if len(whole) else 0.0),
        example=example,
        tick_us=_MILLISECOND_US if whole_ms else 0.0,
    )


def _medians(values: Floats, group: Ints, groups: int, otherwise: float) -> Floats:
    """Give the median of the *values* of each group `[groups]`, and *otherwise* where it has none."""
    ordered = values[np.lexsort((values, group))]
    count = np.bincount(group, minlength=groups)
    first = np.cumsum(count) - count
    out = np.full(groups, otherwise)
    some = count > 0
    low, high = first[some] + (count[some] - 1) // 2, first[some] + count[some] // 2
    out[some] = (ordered[low] + ordered[high]) / 2
    return out


Injection = Callable[[Events, Typical, np.random.Generator], tuple[Events, tuple[int, ...]] | None]


def replaced(trace: Events, known: Typical, random: np.random.Generator) -> tuple[Events, tuple[int, ...]] | None:
    """Another known call stands at one place (the paper's structural injection), and takes as long as is usual of it."""
    row = int(random.integers(len(trace)))
    others = np.setdiff1d(np.flatnonzero(known.example[0] >= 0), trace.label[row])
    if not len(others):
        return None
    chosen = random.choice(others)
    columns = [column.copy() for column in (trace.label, trace.service, trace.instance, trace.callee)]
    for column, value in zip(columns, (chosen, *known.example[:, chosen].tolist()), strict=True):
        column[row] = value
    label, service, instance, callee = columns
    other = replace(trace, label=label, service=service, instance=instance, callee=callee)
    return longer(other, row, known.own_us[chosen] - trace.self_us[row]), (row,)


def missing(trace: Events, _known: Typical, random: np.random.Generator) -> tuple[Events, tuple[int, ...]] | None:
    """A call was not made: its span and all below are not there; the caller is to blame."""
    rows = np.flatnonzero(trace.parent >= 0)
    if not len(rows):
        return None
    row = int(random.choice(rows))
    kept = np.flatnonzero(~below(trace, row))
    return take(trace, kept, moved(trace.parent, kept)), (int(np.searchsorted(kept, trace.parent[row])),)


def extra(trace: Events, _known: Typical, random: np.random.Generator) -> tuple[Events, tuple[int, ...]] | None:
    """A call was made that does not belong there: a call of the trace, with all below, comes again under some caller.

    Where it comes right behind calls that look the same, nobody can say which of them is too many.
    """
    calls = np.flatnonzero(trace.parent >= 0)
    copied = int(random.choice(calls)) if len(calls) else int(random.integers(len(trace)))
    caller = int(random.integers(len(trace)))
    source = np.flatnonzero(below(trace, copied))
    at = int(np.flatnonzero(below(trace, caller))[-1]) + 1
    rows = np.concatenate((np.arange(at), source, np.arange(at, len(trace))))
    place = np.arange(len(trace) + 1)
    place[at:] += len(source)
    place[-1] = -1
    parent = place[trace.parent[rows]]
    inside = slice(at, at + len(source))
    parent[inside] = at + np.searchsorted(source, trace.parent[source])
    top = at + int(np.searchsorted(source, copied))
    parent[top] = caller
    changed = take(trace, rows, parent)
    more = float(trace.duration_us[copied])
    changed.start[inside] += trace.start[caller] + round(1e3 * trace.duration_us[caller]) - trace.start[copied]
    duration = changed.duration_us
    for row in callers(changed.parent, top)[1:]:
        duration[row] += more
    return changed, (top, *_twins(changed, top))


def _twins(trace: Events, row: int) -> list[int]:
    """Give the calls right before *row*, of the same caller, that look the same with all that is below them."""
    shape = _shape(trace, row)
    twins: list[int] = []
    for before in np.flatnonzero(trace.parent[:row] == trace.parent[row])[::-1].tolist():
        if _shape(trace, before) != shape:
            break
        twins.append(before)
    return twins


def _shape(trace: Events, row: int) -> tuple[list[int], list[int]]:
    rows = np.flatnonzero(below(trace, row))
    return trace.label[rows].tolist(), np.searchsorted(rows, trace.parent[rows[1:]]).tolist()


def aborted(trace: Events, _known: Typical, random: np.random.Generator) -> tuple[Events, tuple[int, ...]] | None:
    """The trace ends early: nothing comes after one of its events; whoever should have called next is to blame, or it."""
    if len(trace) < 3:
        return None
    kept = np.arange(int(random.integers(1, len(trace))))
    caller, last = int(trace.parent[len(kept)]), len(kept) - 1
    return take(trace, kept, moved(trace.parent, kept)), (caller, last) if 0 <= caller < last else (last,)


def swapped(trace: Events, _known: Typical, random: np.random.Generator) -> tuple[Events, tuple[int, ...]] | None:
    """Two neighbouring calls of one caller, the second of which waited for the first, come in the other order."""
    pairs = []
    last: dict[int, int] = {}
    ends = trace.start + np.rint(trace.duration_us * 1e3).astype(np.int64)
    for row, caller in enumerate(trace.parent.tolist()):
        before = last.get(caller, -1)
        if caller >= 0 and before >= 0 and trace.label[before] != trace.label[row] and ends[before] <= trace.start[row]:
            pairs.append((before, row))
        last[caller] = row
    if not pairs:
        return None
    first, second = pairs[int(random.integers(len(pairs)))]
    early, late = below(trace, first), below(trace, second)
    rows = np.arange(len(trace))
    rows[early | late] = np.concatenate((np.flatnonzero(late), np.flatnonzero(early)))
    changed = take(trace, rows, moved(trace.parent, rows))
    changed.start[late[rows]] -= trace.start[second] - trace.start[first]
    changed.start[early[rows]] += ends[second] - ends[first]
    return changed, tuple(np.flatnonzero((rows == first) | (rows == second)).tolist())


def stall(trace: Events, known: Typical, random: np.random.Generator) -> tuple[Events, tuple[int, ...]] | None:
    """One span's own work takes 2 to 5 typical durations of the whole trace longer."""
    return _delayed(trace, int(random.integers(len(trace))), known.trace_us[trace.label[0]], known, random)


def slowdown(trace: Events, known: Typical, random: np.random.Generator) -> tuple[Events, tuple[int, ...]] | None:
    """One span's own work takes 2 to 5 times its own typical time longer (the paper's response-time injection)."""
    row = int(random.integers(len(trace)))
    return _delayed(trace, row, known.own_us[trace.label[row]], known, random)


def _delayed(
    trace: Events, row: int, usual_us: float, known: Typical, random: np.random.Generator
) -> tuple[Events, tuple[int, ...]] | None:
    """Make *row* longer by 2 to 5 times *usual_us*, in ticks of the clock; None where that is less than one tick."""
    more_us = float(usual_us * random.uniform(2, 5))
    if known.tick_us:
        more_us = known.tick_us * round(more_us / known.tick_us)
    return (longer(trace, row, more_us), (row,)) if more_us > 0 else None


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
STRUCTURAL: Final = ("replaced", "missing", "extra", "aborted", "swapped")
"""Those that change which calls are there, or their order."""


def inject(events: Events, kind: str, count: int, random: np.random.Generator) -> Injected | None:
    """Inject anomalies of one *kind* into copies of *count* random traces; None where the traffic has no place for it."""
    complete = np.flatnonzero((events.orphans == 0) & (np.diff(events.offsets) > 0))
    if not len(complete):
        return None
    known = typical(events)
    parts: list[Events] = []
    rows: list[tuple[int, ...]] = []
    source: list[int] = []
    for _ in range(count * _TRIES):
        if len(parts) == count:
            break
        chosen = random.choice(complete, 1)
        trace = select(events, chosen)
        # Verdicts name spans by their place in the trace; here that is their row.
        trace = replace(trace, span=np.arange(len(trace)), root=np.zeros(1, np.int64))
        found = KINDS[kind](trace, known, random)
        if found is not None:
            parts.append(found[0])
            rows.append(found[1])
            source.append(int(chosen[0]))
    return Injected(concatenate(parts), rows, np.array(source, np.int64)) if parts else None


def structures(events: Events) -> list[bytes]:
    """Give a hash of the labels and callers of each trace, in their order: equal for traces that only differ in time.

    An anomaly whose structure is one of normal traffic looks normal to every detector of structure.
    """
    parent = np.where(events.parent >= 0, events.parent - events.offsets[:-1][events.trace], -1)
    return [
        blake2b(events.label[first:last].tobytes() + parent[first:last].tobytes(), digest_size=16).digest()
        for first, last in zip(events.offsets[:-1].tolist(), events.offsets[1:].tolist(), strict=True)
    ]
