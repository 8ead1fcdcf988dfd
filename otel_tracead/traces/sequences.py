"""Spans of many traces, as columns, become sequences: tree order, self times, siblings. No Python object a span.

Order: depth first, siblings by start (they share a clock), concurrent siblings by label, so that neither clock skew
between hosts nor which of two concurrent calls came first changes a sequence (PAPER.md, "What measuring told us").
The paper's own order, by start time, is `Order.START`.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_CONCURRENT_SHARE = 0.5  # of the shorter of two siblings that must overlap; clocks in microseconds overlap by one
_CONCURRENT_NS = 2_000
_SPAN_OF_TIME = np.int64(1) << 42  # ns, over an hour: the longest child time that is told apart within one parent
_ASYNC = 1.05  # a remote child that outlasts its caller was not waited for


class Order(StrEnum):
    """How the events of a trace are ordered."""

    TREE = "tree"
    START = "start"


@dataclass(slots=True)
class Spans:
    """Columns of the spans of many traces; spans of a trace stand together.

    Attributes:
        trace: index of the trace, non-decreasing `[n]`.
        span_id: `[n]` uint64.
        parent_id: `[n]` uint64, 0 = none.
        start: ns `[n]`.
        end: ns `[n]`; before the start counts as a duration of 0.
        server: whether the span is the server's or consumer's half of a call `[n]` (kind SERVER or CONSUMER).
        clock: index of the process whose clock the span was timed with `[n]`.
        label: any integers that order concurrent siblings and tell duplicates apart `[n]`.
    """

    trace: Ints
    span_id: npt.NDArray[np.uint64]
    parent_id: npt.NDArray[np.uint64]
    start: Ints
    end: Ints
    server: npt.NDArray[np.bool_]
    clock: Ints
    label: Ints

    def __len__(self) -> int:
        """Count the spans."""
        return len(self.trace)


@dataclass(slots=True)
class Sequences:
    """Where each span stands in its trace. Indices are those of the columns in `Spans`.

    Attributes:
        order: span indices, trace after trace, in sequence order `[m]`; repeated spans are left out, so m <= n.
        offsets: start of each trace in `order` `[traces + 1]`.
        parent: index of the parent span, -1 for a root, an orphan or a repeated span `[n]`.
        callee: index of the first child in another process, -1 if none `[n]`.
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
    twice (same id, label and times) is taken once, and the halves of a shared Zipkin span become parent and child.
    """
    n = len(spans)
    duration = np.maximum(spans.end - spans.start, 0)
    parent, repeated = _parents(spans)
    depth, parent = _depths(spans, parent, repeated)
    kept = np.flatnonzero(~repeated)
    # Siblings, by start: roots and orphans of a trace are siblings of each other, under the place -1 - trace.
    under = np.where(parent >= 0, parent, -1 - spans.trace)
    by_start = kept[np.lexsort((spans.start[kept], under[kept]))]
    if order is Order.TREE:
        ranked = _concurrent_by_label(spans, duration, under, by_start)
        sequence = _depth_first(parent, depth, under, ranked, n)
    else:
        sequence = kept[np.lexsort((depth[kept], spans.start[kept], spans.trace[kept]))]
    count = np.bincount(spans.trace[kept], minlength=traces)
    offsets = np.concatenate(([0], np.cumsum(count)))
    without_parent = spans.parent_id == 0
    roots = np.bincount(spans.trace[kept][without_parent[kept]], minlength=traces)
    orphan = (parent < 0) & ~without_parent & ~repeated
    has_parent = kept[parent[kept] >= 0]
    children = np.bincount(parent[has_parent], minlength=n)
    self_time, callee = _self_time(spans, duration, parent, has_parent)
    return Sequences(
        order=sequence,
        offsets=offsets.astype(np.int64),
        parent=parent,
        callee=callee,
        duration=duration,
        self_time=self_time,
        children=children.astype(np.int64),
        depth=depth,
        root=_root(spans, without_parent, kept, traces),
        roots=roots.astype(np.int64),
        orphans=np.bincount(spans.trace[orphan], minlength=traces).astype(np.int64),
    )


def _key(trace: Ints, span_id: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Mix a trace's index into a span id: one sortable number for both (span ids are random, 64 bits)."""
    with np.errstate(over="ignore"):
        return span_id ^ (trace.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))


def _parents(spans: Spans) -> tuple[Ints, npt.NDArray[np.bool_]]:
    n = len(spans)
    key = _key(spans.trace, spans.span_id)
    order = np.argsort(key, kind="stable")
    sorted_key = key[order]
    repeated = np.zeros(n, np.bool_)
    same = np.flatnonzero(sorted_key[1:] == sorted_key[:-1]) + 1
    shared_parent: dict[int, int] = {}
    if len(same):
        order, repeated, shared_parent = _shared(spans, key, order, repeated)
    # The last of those that share an id: children of a shared Zipkin span are its server half's.
    wanted = _key(spans.trace, spans.parent_id)
    place = np.searchsorted(sorted_key, wanted, side="right") - 1
    found = (place >= 0) & (sorted_key[np.maximum(place, 0)] == wanted) & (spans.parent_id != 0)
    parent = np.where(found, order[np.maximum(place, 0)], -1).astype(np.int64)
    if shared_parent:
        parent[list(shared_parent)] = list(shared_parent.values())
    itself = parent == np.arange(n)
    parent[itself | repeated] = -1
    return parent, repeated


def _shared(
    spans: Spans, key: npt.NDArray[np.uint64], order: Ints, repeated: npt.NDArray[np.bool_]
) -> tuple[Ints, npt.NDArray[np.bool_], dict[int, int]]:
    """Sort out spans with one id: repeats are dropped from the sequence, a server half hangs under its client half."""
    order = np.lexsort((spans.start, spans.server, key)).astype(np.int64)
    sorted_key = key[order]
    chain: dict[int, int] = {}
    starts = np.flatnonzero(np.concatenate(([True], sorted_key[1:] != sorted_key[:-1])))
    ends = np.concatenate((starts[1:], [len(order)]))
    for first, last in zip(starts[ends - starts > 1].tolist(), ends[ends - starts > 1].tolist(), strict=True):
        members = order[first:last].tolist()
        seen: dict[tuple[int, ...], int] = {}
        distinct: list[int] = []
        for member in members:
            identity = (int(spans.label[member]), int(spans.start[member]), int(spans.end[member]))
            if identity in seen:
                repeated[member] = True
            else:
                seen[identity] = member
                distinct.append(member)
        client = distinct[0]
        for member in distinct[1:]:
            if spans.server[member] and not spans.server[client]:
                chain[member] = client
        # Children must find a span that is in the sequence: repeats go to the front of their id's run.
        order[first:last] = [m for m in members if repeated[m]] + distinct
    return order, repeated, chain


def _depths(spans: Spans, parent: Ints, repeated: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
    n = len(spans)
    depth = np.full(n, -1, np.int64)
    depth[(parent < 0)] = 0
    waiting = np.flatnonzero(parent >= 0)
    level = 0
    while len(waiting):
        ready = depth[parent[waiting]] == level
        if not ready.any():
            # A cycle: cut it at its earliest span (the first trace's, then on).
            earliest = waiting[np.lexsort((spans.start[waiting], spans.trace[waiting]))[0]]
            parent[earliest] = -1
            depth[earliest] = 0
            waiting = waiting[waiting != earliest]
            level = 0
            continue
        depth[waiting[ready]] = level + 1
        waiting = waiting[~ready]
        level += 1
        if not (depth[parent[waiting]] == level).any() and len(waiting) and (depth[parent[waiting]] >= 0).any():
            level = int(depth[parent[waiting]][depth[parent[waiting]] >= 0].min())
    depth[repeated] = 0
    return depth, parent


def _concurrent_by_label(spans: Spans, duration: Ints, under: Ints, by_start: Ints) -> Ints:
    """Reorder runs of concurrent siblings by label; all other siblings stay ordered by start."""
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
    run = np.concatenate(([0], np.cumsum(~concurrent)))
    return by_start[np.lexsort((spans.start[by_start], spans.label[by_start], run))]


def _depth_first(parent: Ints, depth: Ints, under: Ints, ranked: Ints, n: int) -> Ints:
    """Give preorder from siblings in order: a span's place is its parent's, plus its earlier siblings' subtrees."""
    by_level = ranked[np.argsort(depth[ranked], kind="stable")]
    levels = np.concatenate(([0], np.cumsum(np.bincount(depth[by_level]))))
    size = np.ones(n, np.int64)
    for level in range(len(levels) - 2, 0, -1):
        members = by_level[levels[level] : levels[level + 1]]
        size += (
            np.bincount(parent[members], weights=size[members], minlength=n).astype(np.int64)
            if len(members) * 8 > n
            else 0
        )
        if len(members) * 8 <= n:
            np.add.at(size, parent[members], size[members])
    # `ranked` is sorted by `under`, and roots' places are negative, the last trace first: sort those by trace.
    own = size[ranked]
    total = np.cumsum(own) - own
    group_start = np.concatenate(([True], under[ranked][1:] != under[ranked][:-1]))
    first = total[group_start]
    offset = np.empty(n, np.int64)
    offset[ranked] = total - first[np.cumsum(group_start) - 1]
    place = np.empty(n, np.int64)
    roots = by_level[: levels[1]] if len(levels) > 1 else by_level
    trace = -1 - under[roots]
    sizes = np.bincount(trace, weights=size[roots]).astype(np.int64)
    place[roots] = offset[roots] + (np.cumsum(sizes) - sizes)[trace]
    for level in range(1, len(levels) - 1):
        members = by_level[levels[level] : levels[level + 1]]
        place[members] = place[parent[members]] + 1 + offset[members]
    sequence = np.empty(len(ranked), np.int64)
    sequence[place[ranked]] = ranked
    return sequence


def _self_time(spans: Spans, duration: Ints, parent: Ints, has_parent: Ints) -> tuple[Ints, Ints]:
    """Take from each span's duration what its children cover, each child measured on one clock only.

    Children in the span's own process are cut to its interval and counted once where they overlap. Of children in
    another process only durations are comparable: their union, on their own clock, unless they outlast the caller.
    """
    n = len(spans)
    callee = np.full(n, -1, np.int64)
    if not len(has_parent):
        return duration, callee
    owner = parent[has_parent]
    local = spans.clock[has_parent] == spans.clock[owner]
    order = np.lexsort((spans.start[has_parent], spans.clock[has_parent], owner))
    child, owner, local = has_parent[order], owner[order], local[order]
    clock = spans.clock[child]
    new_group = np.concatenate(([True], (owner[1:] != owner[:-1]) | (clock[1:] != clock[:-1])))
    group = np.cumsum(new_group) - 1
    base = np.where(local, spans.start[owner], spans.start[child[new_group]][group])
    bound = np.minimum(np.where(local, duration[owner], _SPAN_OF_TIME - 1), _SPAN_OF_TIME - 1)
    begin = np.clip(spans.start[child] - base, 0, bound)
    finish = np.clip(spans.start[child] + duration[child] - base, 0, bound)
    waited = local | (duration[child] <= _ASYNC * duration[owner])
    finish = np.where(waited, finish, begin)
    floor = group * _SPAN_OF_TIME
    reach = np.maximum.accumulate(floor + finish)
    before = np.concatenate(([0], reach[:-1]))
    covered = np.maximum(floor + finish - np.maximum(floor + begin, before), 0)
    total = np.bincount(owner, weights=covered, minlength=n).astype(np.int64)
    remote = np.flatnonzero(~local)
    # The first remote child by start: written last, so that it stays.
    late_first = remote[np.argsort(-spans.start[child[remote]], kind="stable")]
    callee[owner[late_first]] = child[late_first]
    return np.maximum(duration - total, 0), callee


def _root(spans: Spans, without_parent: npt.NDArray[np.bool_], kept: Ints, traces: int) -> Ints:
    order = kept[np.lexsort((spans.start[kept], ~without_parent[kept], spans.trace[kept]))]
    root = np.full(traces, -1, np.int64)
    first = np.concatenate(([True], spans.trace[order][1:] != spans.trace[order][:-1]))
    root[spans.trace[order][first]] = order[first]
    return root
