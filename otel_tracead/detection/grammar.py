"""Which calls follow which under a caller: the rule that finds what a network finds surprising only in part.

A *step* is (caller's label, the labels of the calls before, the label that came); the end of a caller's calls is a step
to `!0`. A step that training never showed is new. How many calls before are looked at is chosen for each
caller: as many as leave normal traffic without new steps, measured by leaving out one trace at a time (Good and Turing:
what was seen in one trace only is what the next trace may bring).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.detection.usual_traces import UsualTraces

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

NO_CALLER: Final = -3
ORDERS: Final = (1, 2, 3, 4, 6, 8, 12)
_SALT: Final = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER: Final = np.uint64(0xBF58476D1CE4E5B9)
_SHIFT: Final = np.uint64(29)
_REMEMBERED: Final = 1 << 14  # runs of calls; a later one takes the place of another


@dataclass(slots=True)
class Steps:
    """Steps of many traces; all of them are one for each event, one for the end of each event's calls, one for each trace's end.

    Attributes:
        caller: row of the calling event, -1 = the trace itself `[s]`.
        before: row of the call before, -1 = none `[s]`.
        event: row of the event that came, -1 = the end `[s]`.
        trace: `[s]`.
        links: row of the call before each event, -1 = none `[m]`.
    """

    caller: Ints
    before: Ints
    event: Ints
    trace: Ints
    links: Ints


@dataclass(slots=True)
class Calls:
    """Who calls whom in which order: what the steps of many traces are read from, without writing all of them down.

    Callers are numbered: the events by their rows, and behind them the traces themselves.

    Attributes:
        trace: of each event `[m]`.
        parent: row of each event's parent, -1 = none `[m]`.
        caller: who calls each event `[m]`.
        order: rows, caller by caller, the calls of each in their order `[m]`.
        first: where in `order` the calls of each caller that makes any begin `[callers that call]`.
        before: row of the call before each event, then of the last call of each caller; -1 = none `[m + callers]`.
    """

    trace: Ints
    parent: Ints
    caller: Ints
    order: Ints
    first: Ints
    before: Ints

    def __len__(self) -> int:
        """Count the steps."""
        return len(self.before)

    @property
    def callers(self) -> int:
        """Count the events and traces."""
        return len(self.before) - len(self.parent)

    def trace_of(self, index: Ints) -> Ints:
        """Give the trace of each step of *index* `[s]`."""
        m = len(self.parent)
        event = np.minimum(np.where(index < m, index, index - m), m)
        return np.where(event < m, np.append(self.trace, -1)[event], index - 2 * m)

    def steps(self, index: Ints) -> Steps:
        """Write the steps of *index* down."""
        m = len(self.parent)
        came = index < m
        event = np.where(came, index, -1)
        caller = np.where(came, np.append(self.parent, -1)[event], np.where(index < 2 * m, index - m, -1))
        return Steps(caller, self.before[index], event, self.trace_of(index), self.before[:m])


def calls(parent: Ints, offsets: Ints) -> Calls:
    """Lay out the calls of traces from each event's parent row `[m]` and the first row of each trace."""
    m = len(parent)
    traces = len(offsets) - 1
    trace = np.repeat(np.arange(traces), offsets[1:] - offsets[:-1])
    caller = np.where(parent >= 0, parent, trace + m)
    order = np.argsort(caller, kind="stable")
    ordered = caller[order]
    change = np.empty(m, np.bool_)
    change[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=change[1:])
    first = np.flatnonzero(change)
    before = np.full(2 * m + traces, -1, np.int64)
    before[order[1:]] = np.where(change[1:], -1, order[:-1])
    before[m + ordered] = order  # the last one of each caller stays
    return Calls(trace, parent, caller, order, first, before)


def steps(parent: Ints, offsets: Ints) -> Steps:
    """Give all steps of traces from each event's parent row `[m]` and the first row of each trace."""
    found = calls(parent, offsets)
    return found.steps(np.arange(len(found)))


def _mix(state: Hashes, value: Ints) -> Hashes:
    mixed = value.astype(np.uint64)  # arrays wrap around without a word
    mixed += _SALT
    mixed ^= state
    mixed *= _MULTIPLIER
    mixed ^= mixed >> _SHIFT
    return mixed


def _hash(found: Steps, label: Ints, order: Ints | int) -> tuple[Hashes, Hashes]:
    """Hash each step, and its context (all but what came), with the calls before up to *order* `[s]`."""
    labels = np.concatenate((label, [-2]))  # -1 indexes it: nothing there
    context = _mix(np.zeros(len(found.caller), np.uint64), np.where(found.caller >= 0, labels[found.caller], -3))
    order = np.broadcast_to(order, len(context))
    going = np.flatnonzero((found.before >= 0) & (order > 0))
    cursor = found.before[going]
    for depth in range(1, int(np.max(order, initial=0)) + 1):
        context[going] = _mix(context[going], labels[cursor])
        cursor = found.links[cursor]
        further = (cursor >= 0) & (order[going] > depth)
        going, cursor = going[further], cursor[further]
        if not len(going):
            break
    came = np.where(found.event >= 0, labels[found.event], 0)
    return _mix(context, came), context


@dataclass(slots=True)
class Grammar:
    """What training showed. Not thread-safe: it remembers runs of calls that it found nothing new in.

    Attributes:
        order: how many calls before count, for each caller's label `[dictionary]`; the last one is the trace itself.
        seen: hashes of the steps seen, sorted.
        contexts: hashes of the contexts of order 1, sorted, and
        counts: how often each came.
        transitions: (caller label or -3, label before or -2, label that came or 0, count), one a row `[t, 4]`.
        traces: in which nothing was new.
    """

    order: Ints
    seen: Hashes
    contexts: Hashes
    counts: Ints
    transitions: Ints
    traces: UsualTraces = field(init=False, repr=False, compare=False)
    _usual: Hashes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Begin with no memory."""
        self.traces = UsualTraces()
        self._usual = np.zeros(_REMEMBERED, np.uint64)

    def new_steps(self, found: Calls, label: Ints) -> tuple[Ints, npt.NDArray[np.float64]]:
        """Find the steps that training never showed.

        Most callers make calls that some caller of that name made before: these are recognised at once, without a look
        at each step.

        Args:
            found: the calls.
            label: dictionary index of each event `[m]`.

        Returns:
            Their indices in order `[new]`, and how strong each is: log10 of how often its context came `[new]`.
        """
        runs = _runs(found, label)
        slot = (runs & np.uint64(_REMEMBERED - 1)).astype(np.int64)
        usual = self._usual[slot] == runs
        callers = np.flatnonzero(~usual)
        if not len(callers):
            return callers, np.zeros(0)
        asked = np.concatenate((np.flatnonzero(~usual[found.caller]), len(label) + callers))
        rows = found.steps(asked)
        order = self.order[np.where(rows.caller >= 0, label[rows.caller], -1)] if len(label) else self.order[-1]
        step, _ = _hash(rows, label, order)
        new = np.flatnonzero(~_member(self.seen, step))
        usual[callers] = True
        usual[_callers(found, asked[new])] = False
        learned = callers[usual[callers]]
        self._usual[slot[learned]] = runs[learned]
        _, context = _hash(found.steps(asked[new]), label, 1)
        return asked[new], np.log10(2.0 + _count(self.contexts, self.counts, context))

    def usual(self, caller: int, sequences: Sequence[Sequence[int]]) -> npt.NDArray[np.bool_]:
        """Say of each of some *sequences* of calls whether *caller* could make them without a new step `[n]`.

        Args:
            caller: its label; -3 = the trace itself.
            sequences: labels of the calls, in their order `[n][calls]`.
        """
        head = [] if caller == NO_CALLER else [caller]
        label = np.array([one for sequence in sequences for one in (*head, *sequence)], np.int64)
        lengths = np.array([len(head) + len(sequence) for sequence in sequences], np.int64)
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        first = np.repeat(offsets[:-1], lengths)
        rows = np.arange(len(label))
        parent = np.where((rows > first) & bool(head), first, -1)
        found = calls(parent, offsets)
        new, _ = self.new_steps(found, label)
        made = found.steps(new)
        theirs = made.caller == np.append(offsets[:-1], 0)[made.trace] if head else made.caller < 0
        return np.asarray(np.bincount(made.trace[theirs], minlength=len(sequences)) == 0)


def _runs(found: Calls, label: Ints) -> Hashes:
    """Hash the calls of each caller with the caller's label; a caller without calls has a run, too `[callers]`."""
    m = len(label)
    runs = np.zeros(found.callers, np.uint64)
    if m:
        lengths = np.append(found.first[1:], m) - found.first
        place = np.arange(m) - np.repeat(found.first, lengths)
        parts = _mix(place.astype(np.uint64) * _SALT, label[found.order])
        runs[found.caller[found.order[found.first]]] = np.add.reduceat(parts, found.first)
    names = np.full(found.callers, NO_CALLER)
    names[:m] = label
    return _mix(runs, names)


def _callers(found: Calls, index: Ints) -> Ints:
    """Give the number of the caller of each step of *index* `[s]`."""
    m = len(found.parent)
    return np.where(index < m, np.append(found.caller, 0)[np.minimum(index, m)], index - m)


def _member(ordered: Hashes, wanted: Hashes) -> npt.NDArray[np.bool_]:
    if not len(ordered):
        return np.zeros(len(wanted), np.bool_)
    place = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    return np.asarray(ordered[place] == wanted)


def _count(ordered: Hashes, counts: Ints, wanted: Hashes) -> Ints:
    if not len(ordered):
        return np.zeros(len(wanted), np.int64)
    place = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    return np.where(ordered[place] == wanted, counts[place], 0)


def learn(
    label: Ints, parent: Ints, offsets: Ints, *, labels: int, budget: float
) -> tuple[Grammar, npt.NDArray[np.float64]]:
    """Learn the grammar of normal traces.

    Args:
        label: dictionary index of each event `[m]`.
        parent: row of each event's parent `[m]`.
        offsets: first row of each trace.
        labels: size of the dictionary.
        budget: the share of normal traces that a longer look back may make new, over all callers.

    Returns:
        The grammar, and for each trace the strength of its strongest new step had the trace been left out `[traces]`.
    """
    found = steps(parent, offsets)
    traces = len(offsets) - 1
    caller = np.where(found.caller >= 0, label[found.caller], labels)
    _, one = _hash(found, label, 1)
    contexts, place, counts = np.unique(one, return_inverse=True, return_counts=True)
    best = np.full(labels + 1, ORDERS[0], np.int64)
    chosen_step, _ = _hash(found, label, 1)
    lone = _lone(chosen_step, found.trace)
    new = _traces_by_caller(lone, caller, found.trace, labels + 1)
    active = np.ones(labels + 1, np.bool_)
    left = budget * traces
    for order in ORDERS[1:]:
        step, _ = _hash(found, label, order)
        lone_here = _lone(step, found.trace)
        new_here = _traces_by_caller(lone_here, caller, found.trace, labels + 1)
        # All callers live on one budget, those that ask for least first: most look back for nothing.
        more = np.where(active, new_here - new, 0)
        asked = np.argsort(more, kind="stable")
        spent = np.cumsum(np.maximum(more[asked], 0))
        active[asked] &= (more[asked] <= 0) | (spent <= left)
        left -= float(np.maximum(more[active], 0).sum())
        new = np.where(active, new_here, new)
        take = active[caller]
        chosen_step = np.where(take, step, chosen_step)
        lone = np.where(take, lone_here, lone)
        best[active] = order
    strength = np.zeros(traces)
    np.maximum.at(strength, found.trace[lone], np.log10(1.0 + counts[place[lone]]))
    label_or = np.concatenate((label, [-2]))
    rows = np.stack(
        (
            np.where(found.caller >= 0, label_or[found.caller], -3),
            label_or[found.before],
            np.where(found.event >= 0, label_or[found.event], 0),
        ),
        axis=1,
    )
    distinct, times = np.unique(rows, axis=0, return_counts=True)
    grammar = Grammar(
        order=best,
        seen=np.unique(chosen_step),
        contexts=contexts,
        counts=counts.astype(np.int64),
        transitions=np.concatenate((distinct, times[:, None]), axis=1).astype(np.int64),
    )
    return grammar, strength


def _lone(step: Hashes, trace: Ints) -> npt.NDArray[np.bool_]:
    """Mark the steps that came in one trace only."""
    order = np.lexsort((trace, step))
    step_here, trace_here = step[order], trace[order]
    change = np.concatenate(([True], step_here[1:] != step_here[:-1]))
    group = np.cumsum(change) - 1
    first = trace_here[change]
    several = np.zeros(len(first), np.bool_)
    several[group[trace_here != first[group]]] = True
    lone = np.empty(len(step), np.bool_)
    lone[order] = ~several[group]
    return lone


def _traces_by_caller(lone: npt.NDArray[np.bool_], caller: Ints, trace: Ints, callers: int) -> Ints:
    pairs = np.unique(caller[lone] * (trace.max() + 1 if len(trace) else 1) + trace[lone])
    return np.bincount(pairs // (trace.max() + 1 if len(trace) else 1), minlength=callers)
