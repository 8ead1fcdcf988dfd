"""Spans of many traces, as columns, become sequences: tree order, self times, siblings. No Python object a span.

Order: depth first, siblings by start (they share a clock), concurrent siblings by label, so that neither clock skew
between hosts nor which of two concurrent calls came first changes a sequence (PAPER.md, "What measuring told us").
The paper's own order, by start time, is `Order.START`.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from otel_tracead.traces.parents import Bools, Ints, Spans, changes, cut_cycles, find_parents

_CONCURRENT_SHARE = 0.5  # of the shorter of two siblings that must overlap; clocks in microseconds overlap by one
_CONCURRENT_NS = 2_000
_SPAN_OF_TIME = 1 << 42  # ns, over an hour: the longest child time that is told apart within one parent
_NEVER = np.iinfo(np.int64).max
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
        children: how many `[n]`.
        depth: 0 for a root `[n]`.
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
    children: Ints
    depth: Ints
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
    depth = cut_cycles(spans, parent)
    kept = np.flatnonzero(~repeated)
    # Roots and orphans of a trace are siblings of each other, under a place that no span has.
    under = np.where(parent >= 0, parent + traces, spans.trace)
    by_start = _by_start(spans, kept, under)
    self_time, callee = _self_time(spans, duration, parent, by_start[parent[by_start] >= 0])
    count = np.bincount(spans.trace[kept], minlength=traces)
    offsets = np.concatenate(([0], np.cumsum(count))).astype(np.int64)
    if order is Order.TREE:
        ranked = _concurrent_by_label(spans, duration, callee, under, by_start)
        sequence = _depth_first(spans.trace, parent, under, ranked, offsets)
    else:
        sequence = kept[
            np.lexsort((spans.span_id[kept], spans.label[kept], depth[kept], spans.start[kept], spans.trace[kept]))
        ]
    top = (parent < 0) & ~repeated
    root = top & (spans.parent_id == 0)
    orphan = top & (spans.parent_id != 0)
    children = np.bincount(parent[parent >= 0], minlength=len(spans))
    return Sequences(
        order=sequence,
        offsets=offsets,
        parent=parent,
        callee=callee,
        duration=duration,
        self_time=self_time,
        children=children.astype(np.int64),
        depth=depth,
        root=_verdict_span(spans, root, repeated, traces),
        roots=np.bincount(spans.trace[root], minlength=traces).astype(np.int64),
        orphans=np.bincount(spans.trace[orphan], minlength=traces).astype(np.int64),
    )


def _stably(order: Ints, key: Ints) -> Ints:
    """Sort *order* by the key of each, not negative, and leave those of one key as they stand.

    numpy sorts 16 bits by radix, at a tenth of the price of `np.lexsort`.
    """
    largest, done = int(key.max(initial=0)), 0
    while done == 0 or largest >> done:
        order = order[np.argsort((key[order] >> done).astype(np.uint16), kind="stable")]
        done += 16
    return order


def _by_start(spans: Spans, kept: Ints, under: Ints) -> Ints:
    """Order siblings by start; those of one start by label, whichever came first."""
    by_start = _stably(kept[np.argsort(spans.start[kept])], under)
    before, after = by_start[:-1], by_start[1:]
    tied = (spans.start[before] == spans.start[after]) & (under[before] == under[after])
    if tied.any():
        places = _with_next(tied)
        rows = by_start[places]
        by_start[places] = rows[
            np.lexsort((rows, spans.span_id[rows], spans.label[rows], spans.start[rows], under[rows]))
        ]
    return by_start


def _with_next(pairs: Bools) -> Ints:
    """Give the places that are one of a marked pair of neighbours, *pairs* `[n - 1]`."""
    return np.flatnonzero(np.append(pairs, False) | np.concatenate(([False], pairs)))


def _concurrent_by_label(spans: Spans, duration: Ints, callee: Ints, under: Ints, by_start: Ints) -> Ints:
    """Reorder runs of concurrent siblings by label, then by what they call; all other siblings stay ordered by start."""
    if len(by_start) < 2:
        return by_start
    before, after = by_start[:-1], by_start[1:]
    overlap = np.minimum(spans.end[before], spans.end[after]) - spans.start[after]
    shorter = np.minimum(duration[before], duration[after])
    concurrent = (
        (under[before] == under[after])
        & (spans.clock[before] == spans.clock[after])
        & (overlap > _CONCURRENT_NS)
        & (overlap > _CONCURRENT_SHARE * shorter)
    )
    if not concurrent.any():
        return by_start
    places = _with_next(concurrent)
    run = np.concatenate(([0], np.cumsum(~concurrent)))[places]
    rows = by_start[places]
    called = callee[rows]
    called_label = np.where(called >= 0, spans.label[called], -1)
    ranked = by_start.copy()
    ranked[places] = rows[np.lexsort((called_label, spans.label[rows], run))]
    return ranked


def _depth_first(trace: Ints, parent: Ints, under: Ints, ranked: Ints, offsets: Ints) -> Ints:
    """Give preorder from siblings in order.

    Each span points to the one behind it: its first child, else the next sibling of the nearest one above it, or itself,
    that has one. Each round doubles how far is looked, so that neither depth nor size costs more than its logarithm.
    """
    n = len(parent)
    first = changes(under[ranked])
    sibling = np.full(n + 1, n, np.int64)  # the place n is behind the last
    sibling[ranked[:-1]] = np.where(first[1:], n, ranked[1:])
    climb = np.where(sibling[:-1] < n, np.arange(n), parent)
    climb = np.append(np.where(climb < 0, n, climb), n)
    while ((higher := climb[climb]) != climb).any():
        climb = higher
    behind = sibling[climb]
    heads = ranked[first]
    above = parent[heads]
    behind[above[above >= 0]] = heads[above >= 0]
    left = np.ones(n + 1, np.int64)  # how many spans of the trace come from here on
    left[n] = 0
    while (behind < n).any():
        left += left[behind]
        behind = behind[behind]
    sequence = np.empty(len(ranked), np.int64)
    sequence[offsets[trace[ranked] + 1] - left[ranked]] = ranked
    return sequence


def _self_time(spans: Spans, duration: Ints, parent: Ints, child: Ints) -> tuple[Ints, Ints]:
    """Take from each span's duration what its children cover, each child measured on one clock only.

    Children in the span's own process are cut to its interval and counted once where they overlap. Of children in
    another process only durations are comparable: their union, on their own clock, unless they outlast the caller.
    *child* are those that have a parent, the children of one in order of their starts.
    """
    n = len(spans)
    callee = np.full(n, -1, np.int64)
    if not len(child):
        return duration, callee
    child = _stably(_stably(child, spans.clock), parent)
    owner, clock = parent[child], spans.clock[child]
    local = clock == spans.clock[owner]
    new_group = changes(owner) | changes(clock)
    group = np.cumsum(new_group) - 1
    base = np.where(local, spans.start[owner], spans.start[child[new_group]][group])
    longest = min(_SPAN_OF_TIME, np.iinfo(np.int64).max // (len(clock) + 1))
    bound = np.minimum(np.where(local, duration[owner], longest - 1), longest - 1)
    begin = np.clip(spans.start[child] - base, 0, bound)
    finish = np.clip(spans.start[child] + duration[child] - base, 0, bound)
    waited = local | (duration[child] <= _ASYNC * duration[owner])
    finish = np.where(waited, finish, begin)
    floor = group * longest
    reach = np.maximum.accumulate(floor + finish)
    before = np.concatenate(([0], reach[:-1]))
    covered = np.maximum(floor + finish - np.maximum(floor + begin, before), 0)
    total = np.bincount(owner, weights=covered, minlength=n).astype(np.int64)
    _first_by_label(spans, child[~local], owner[~local], callee)
    return np.maximum(duration - total, 0), callee


def _first_by_label(spans: Spans, child: Ints, owner: Ints, first: Ints) -> None:
    """Write the first *child* by label of each *owner* to *first*: clocks of other processes do not compare."""
    first[owner] = child
    several = np.bincount(owner, minlength=len(first))[owner] > 1
    if several.any():
        child, owner = child[several], owner[several]
        back = np.lexsort((spans.span_id[child], spans.label[child]))[::-1]  # the first is written last and stays
        first[owner[back]] = child[back]


def _verdict_span(spans: Spans, root: Bools, repeated: Bools, traces: int) -> Ints:
    """Give the earliest root of each trace, else its earliest span; of several at once the one with the least id."""
    found = np.full(traces, -1, np.int64)
    begins = changes(spans.trace)
    first, group = np.flatnonzero(begins), np.cumsum(begins) - 1
    if not len(first):
        return found
    able = np.where(np.logical_or.reduceat(root, first)[group], root, ~repeated)
    start = np.where(able, spans.start, _NEVER)
    earliest = np.minimum.reduceat(start, first)
    chosen = np.flatnonzero(start == earliest[group])
    if len(chosen) > len(first):
        chosen = chosen[np.lexsort((spans.span_id[chosen], spans.trace[chosen]))[::-1]]  # the first is written last
    found[spans.trace[chosen]] = chosen
    return found
