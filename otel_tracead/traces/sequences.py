"""Spans of many traces, as columns, become sequences: tree order, self times, siblings. No Python object a span.

Order: depth first, siblings by start (they share a clock), concurrent siblings by label, so that neither clock skew
between hosts nor which of two concurrent calls came first changes a sequence (PAPER.md, "What measuring told us").
The paper's own order, by start time, is `Order.START`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from otel_tracead.traces.parents import Bools, Ints, Spans, changes, cut_cycles, depths, find_parents, with_none

_CONCURRENT_SHARE = 0.5  # of the shorter of two siblings that must overlap; clocks in microseconds overlap by one
_CONCURRENT_NS = 2_000
_SPAN_OF_TIME = 1 << 42  # ns, over an hour: the longest child time that is told apart within one parent
_LARGEST = int(np.iinfo(np.int64).max)
_FEW = 500  # keys that are sorted at once in less time than 16 bits of them after the other
_ASYNC = 1.05  # a remote child that outlasts its caller was not waited for


class Order(StrEnum):
    """How the events of a trace are ordered."""

    TREE = "tree"
    START = "start"


@dataclass(slots=True)
class Sequences:
    """Where each span stands in its trace. Indices are those of the columns in `Spans`.

    Attributes:
        order: span indices, trace after trace, in sequence order `[m]`; repeated spans are left out, so m <= n.
        offsets: start of each trace in `order` `[traces + 1]`.
        parent: index of the parent span, -1 for a root, an orphan or a repeated span `[n]`.
        callee: index of the child in another process, by label the first of several, -1 if none `[n]`.
        duration: ns `[n]`.
        self_time: duration without what children cover, ns `[n]`.
        root: the earliest root of each trace, else its earliest span `[traces]`.
        roots: spans without a parent id, of each trace `[traces]`.
        orphans: spans whose parent is not in the trace, of each trace `[traces]`.
    """

    order: Ints
    offsets: Ints
    parent: Ints
    callee: Ints
    duration: Ints
    self_time: Ints
    root: Ints
    roots: Ints
    orphans: Ints


def arrange(spans: Spans, traces: int, order: Order = Order.TREE) -> Sequences:
    """Arrange *spans* of *traces* traces into sequences.

    Never fails on what came: unknown parents make orphans, cycles are cut at their earliest span, a span that stands
    twice (the same in every column) is taken once, and the halves of a shared Zipkin span become parent and child.
    The order in which spans came means nothing.
    """
    duration = np.maximum(spans.end - spans.start, 0)
    parent, repeated = find_parents(spans)
    cut_cycles(spans, parent)
    top = (parent < 0 if repeated is None else (parent < 0) & ~repeated).nonzero()[0]
    siblings = _siblings(spans, traces, parent, repeated)
    self_time, callee = _self_time(spans, duration, parent, siblings.order[len(top) :])
    kept = spans.trace if repeated is None else spans.trace[~repeated]
    offsets = np.zeros(traces + 1, np.int64)
    np.add.accumulate(np.bincount(kept, minlength=traces), dtype=np.int64, out=offsets[1:])
    if order is Order.TREE:
        ranked = _concurrent_by_label(spans, duration, callee, siblings)
        sequence = _depth_first(spans.trace, parent, siblings.first, ranked, offsets)
    else:
        rows = np.sort(siblings.order)
        keys = (spans.span_id, spans.label, depths(parent), spans.start, spans.trace)
        sequence = rows[np.lexsort([key[rows] for key in keys])]
    is_root = spans.parent_id[top] == 0
    tops, root = spans.trace[top], top[is_root]
    roots = np.bincount(tops[is_root], minlength=traces)
    return Sequences(
        order=sequence,
        offsets=offsets,
        parent=parent,
        callee=callee,
        duration=duration,
        self_time=self_time,
        root=_verdict_span(spans, root, roots, repeated),
        roots=roots,
        orphans=np.bincount(tops, minlength=traces) - roots,
    )


def _stably(order: Ints, key: Ints) -> Ints:
    """Sort *order* by the key of each, not negative, and leave those of one key as they stand.

    numpy sorts 16 bits by radix, at a tenth of the price of `np.lexsort`.
    """
    if len(order) < _FEW:
        return order[key[order].argsort(kind="stable")]
    largest, done = int(key.max(initial=0)), 0
    while done == 0 or largest >> done:
        order = order[np.argsort((key[order] >> done).astype(np.uint16), kind="stable")]
        done += 16
    return order


class _Siblings(NamedTuple):
    """Spans in the order of their parents and, under one, of their starts; those of one start by label.

    Attributes:
        order: span indices, repeated spans left out; first the roots and orphans, trace after trace `[m]`.
        start: of each, ns `[m]`.
        first: whether it is the first under its parent, or the first of its trace's roots and orphans `[m]`.
    """

    order: Ints
    start: Ints
    first: Bools


def _siblings(spans: Spans, traces: int, parent: Ints, repeated: Bools | None) -> _Siblings:
    """Order siblings by start; those of one start by label, whichever came first."""
    # Roots and orphans of a trace are siblings of each other, under a place that no span has.
    under = np.where(parent >= 0, parent + traces, spans.trace)
    if repeated is None:
        order = spans.start.argsort()
    else:
        kept = (~repeated).nonzero()[0]
        order = kept[spans.start[kept].argsort()]
    order = _stably(order, under)
    start, first = spans.start[order], changes(under[order])
    tied = start[1:] == start[:-1]
    tied &= ~first[1:]
    if np.count_nonzero(tied):
        places = _with_next(tied)
        rows = order[places]
        order[places] = rows[np.lexsort((rows, spans.span_id[rows], spans.label[rows], spans.start[rows], under[rows]))]
    return _Siblings(order, start, first)


def _with_next(pairs: Bools) -> Ints:
    """Give the places that are one of a marked pair of neighbours, *pairs* `[n - 1]`."""
    either = np.zeros(len(pairs) + 1, np.bool_)
    either[:-1] = pairs
    either[1:] |= pairs
    return either.nonzero()[0]


def _concurrent_by_label(spans: Spans, duration: Ints, callee: Ints, siblings: _Siblings) -> Ints:
    """Reorder runs of concurrent siblings by label, then by what they call; all other siblings stay ordered by start."""
    order = siblings.order
    end, clock, took = spans.end[order], spans.clock[order], duration[order]
    overlap = np.minimum(end[:-1], end[1:])
    overlap -= siblings.start[1:]
    concurrent = overlap > _CONCURRENT_NS
    concurrent &= clock[1:] == clock[:-1]
    concurrent &= overlap > _CONCURRENT_SHARE * np.minimum(took[:-1], took[1:])
    concurrent &= ~siblings.first[1:]
    if not np.count_nonzero(concurrent):
        return order
    places = _with_next(concurrent)
    rows = order[places]
    run = np.zeros(len(order), np.int64)
    np.add.accumulate(~concurrent, dtype=np.int64, out=run[1:])
    called_label = with_none(spans.label)[callee[rows]]
    ranked = order.copy()
    ranked[places] = rows[np.lexsort((called_label, spans.label[rows], run[places]))]
    return ranked


def _depth_first(trace: Ints, parent: Ints, first: Bools, ranked: Ints, offsets: Ints) -> Ints:
    """Give preorder from siblings in order, and the *first* of each group of them.

    Each span points to the one behind it: its first child, else the next sibling of the nearest one above it, or itself,
    that has one. Each round doubles how far is looked, so that neither depth nor size costs more than its logarithm.
    """
    n = len(parent)
    sibling = np.empty(n + 1, np.int64)
    sibling[:] = -1  # none, and what is behind -1 is -1
    sibling[ranked[:-1]] = np.where(first[1:], -1, ranked[1:])
    climb = np.empty(n + 1, np.int64)
    climb[:-1] = np.where(sibling[:-1] >= 0, np.arange(n), parent)
    climb[-1] = -1
    while np.count_nonzero((higher := climb[climb]) != climb):
        climb = higher
    behind = sibling[climb]
    heads = ranked[first.nonzero()[0]]
    above = parent[heads]
    below = (above >= 0).nonzero()[0]
    behind[above[below]] = heads[below]
    left = np.ones(n + 1, np.int64)  # how many spans of the trace come from here on
    left[-1] = 0
    for _ in range(int((offsets[1:] - offsets[:-1]).max(initial=0)).bit_length()):
        left += left[behind]
        behind = behind[behind]
    sequence = np.empty(len(ranked), np.int64)
    sequence[offsets[trace[ranked] + 1] - left[ranked]] = ranked
    return sequence


def _self_time(spans: Spans, duration: Ints, parent: Ints, child: Ints) -> tuple[Ints, Ints]:
    """Take from each span's duration what its children cover, each child measured on one clock only.

    Children in the span's own process are cut to its interval and counted once where they overlap. Of children in
    another process only durations are comparable: their union, on their own clock, unless they outlast the caller.
    *child* are those that have a parent, the children of one together and in order of their starts.
    """
    n = len(spans)
    callee = np.empty(n, np.int64)
    callee[:] = -1
    if not len(child):
        return duration, callee
    owner, clock = parent[child], spans.clock[child]
    if _clocks_come_back(owner, clock):
        child = _stably(_stably(child, spans.clock), parent)
        owner, clock = parent[child], spans.clock[child]
    local = clock == spans.clock[owner]
    new_group = changes(owner)
    new_group |= changes(clock)
    group = np.add.accumulate(new_group, dtype=np.int64)
    group -= 1
    start, took, whole = spans.start[child], duration[child], duration[owner]
    longest = min(_SPAN_OF_TIME, _LARGEST // (len(child) + 1))
    bound = np.minimum(np.where(local, whole, longest - 1), longest - 1)
    begin = start - np.where(local, spans.start[owner], start[new_group.nonzero()[0]][group])
    finish = np.minimum(np.maximum(begin + took, 0), bound)
    begin = np.minimum(np.maximum(begin, 0), bound)
    finish *= local | (took <= _ASYNC * whole)  # whoever was not waited for covers nothing
    group *= longest
    begin += group
    finish += group
    reach = np.maximum.accumulate(finish)
    np.maximum(begin[1:], reach[:-1], out=begin[1:])
    finish -= begin
    covered = np.bincount(owner, weights=np.maximum(finish, 0), minlength=n).astype(np.int64)
    remote = (~local).nonzero()[0]
    _first_by_label(spans, child[remote], owner[remote], callee)
    return np.maximum(duration - covered, 0), callee


def _clocks_come_back(owner: Ints, clock: Ints) -> bool:
    """Say whether, for all that is seen, a *clock* comes again after another one, among the children of one *owner*."""
    turns = clock[1:] != clock[:-1]
    turns &= owner[1:] == owner[:-1]
    turned = owner[turns.nonzero()[0] + 1]
    return bool(np.count_nonzero(turned[1:] == turned[:-1]))


def _first_by_label(spans: Spans, child: Ints, owner: Ints, first: Ints) -> None:
    """Write the first *child* by label of each *owner* to *first*: clocks of other processes do not compare.

    The children of one owner are together.
    """
    first[owner] = child
    same = owner[1:] == owner[:-1]
    if np.count_nonzero(same):
        several = _with_next(same)
        child, owner = child[several], owner[several]
        back = np.lexsort((spans.span_id[child], spans.label[child]))[::-1]  # the first is written last and stays
        first[owner[back]] = child[back]


def _verdict_span(spans: Spans, root: Ints, roots: Ints, repeated: Bools | None) -> Ints:
    """Give the earliest of the *root*s of each trace, else its earliest span; of several at once the one with the least id."""
    found = np.empty(len(roots), np.int64)
    found[:] = -1
    found[spans.trace[root]] = root
    odd = roots != 1
    if not np.count_nonzero(odd):
        return found
    candidate = (roots == 0)[spans.trace]
    candidate[root[odd[spans.trace[root]]]] = True
    if repeated is not None:
        candidate &= ~repeated
    rows = candidate.nonzero()[0]
    trace, start = spans.trace[rows], spans.start[rows]
    begins = changes(trace)
    earliest = np.minimum.reduceat(start, begins.nonzero()[0]) if len(rows) else start
    chosen = rows[start == earliest[np.add.accumulate(begins, dtype=np.int64) - 1]]
    chosen = chosen[np.lexsort((spans.span_id[chosen], spans.trace[chosen]))[::-1]]  # the first is written last
    found[spans.trace[chosen]] = chosen
    return found
