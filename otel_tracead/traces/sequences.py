"""Spans of many traces, as columns, become sequences: tree order, self times, siblings. No Python object a span.

Order: depth first, siblings by start (they share a clock), concurrent siblings by label, so that neither clock skew
between hosts nor which of two concurrent calls came first changes a sequence (PAPER.md, "What measuring told us").
The paper's own order, by start time, is `Order.START`.
"""

import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_CONCURRENT_SHARE = 0.5  # of the shorter of two siblings that must overlap; clocks in microseconds overlap by one
_CONCURRENT_NS = 2_000
_SPAN_OF_TIME = 1 << 42  # ns, over an hour: the longest child time that is told apart within one parent
_SALT = np.uint64(secrets.randbits(64) | 1)  # nobody can make ids of two traces meet in one key
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
        label: integers that order concurrent siblings and tell spans of one id apart `[n]`; the same for a label wherever it
            comes, else sequences depend on what came before.
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
    n = len(spans)
    duration = np.maximum(spans.end - spans.start, 0)
    parent, repeated = _parents(spans)
    depth = _cut_cycles(spans, parent)
    kept = np.flatnonzero(~repeated)
    has_parent = kept[parent[kept] >= 0]
    self_time, callee = _self_time(spans, duration, parent, has_parent)
    # Roots and orphans of a trace are siblings of each other, under the place -1 - trace.
    under = np.where(parent >= 0, parent, -1 - spans.trace)
    if order is Order.TREE:
        by_start = _by_start(spans, kept, under)
        ranked = _concurrent_by_label(spans, duration, callee, under, by_start)
        sequence = _depth_first(parent, depth, under, ranked, n)
    else:
        sequence = kept[
            np.lexsort((spans.span_id[kept], spans.label[kept], depth[kept], spans.start[kept], spans.trace[kept]))
        ]
    count = np.bincount(spans.trace[kept], minlength=traces)
    offsets = np.concatenate(([0], np.cumsum(count)))
    top = (parent < 0) & ~repeated
    root = top & (spans.parent_id == 0)
    orphan = top & (spans.parent_id != 0)
    children = np.bincount(parent[has_parent], minlength=n)
    return Sequences(
        order=sequence,
        offsets=offsets.astype(np.int64),
        parent=parent,
        callee=callee,
        duration=duration,
        self_time=self_time,
        children=children.astype(np.int64),
        depth=depth,
        root=_verdict_span(spans, root, kept, traces),
        roots=np.bincount(spans.trace[root], minlength=traces).astype(np.int64),
        orphans=np.bincount(spans.trace[orphan], minlength=traces).astype(np.int64),
    )


def _changes(column: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Mark where a value differs from the one before; the first does."""
    return np.concatenate(([True], column[1:] != column[:-1]))[: len(column)]


def _key(trace: Ints, span_id: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Mix a trace's index into a span id: one sortable number for both."""
    with np.errstate(over="ignore"):
        return span_id ^ (trace.astype(np.uint64) * _SALT)


def _parents(spans: Spans) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Find each span's parent, -1 where there is none, and the spans that are repeats of others."""
    n = len(spans)
    key = _key(spans.trace, spans.span_id)
    order = np.argsort(key, kind="stable")
    sorted_key = key[order]
    repeated = np.zeros(n, np.bool_)
    client_half: dict[int, int] = {}
    if (sorted_key[1:] == sorted_key[:-1]).any():
        client_half = _shared(spans, sorted_key, order, repeated)
    # The last of those that share an id: children of a shared Zipkin span are its server half's.
    wanted = _key(spans.trace, spans.parent_id)
    place = np.searchsorted(sorted_key, wanted, side="right") - 1
    found = (place >= 0) & (sorted_key[np.maximum(place, 0)] == wanted) & (spans.parent_id != 0)
    parent = np.where(found, order[np.maximum(place, 0)], -1).astype(np.int64)
    if client_half:
        parent[list(client_half)] = list(client_half.values())
    parent[(parent == np.arange(n)) | repeated] = -1
    return parent, repeated


def _shared(
    spans: Spans, sorted_key: npt.NDArray[np.uint64], order: Ints, repeated: npt.NDArray[np.bool_]
) -> dict[int, int]:
    """Sort out spans with one id: mark those that repeat others, and give the client half of each server half.

    In *order* the one that their children belong to is put last.
    """
    columns = (spans.server, spans.start, spans.end, spans.label, spans.parent_id, spans.clock)
    chain: dict[int, int] = {}
    starts = np.flatnonzero(_changes(sorted_key))
    ends = np.concatenate((starts[1:], [len(order)]))
    several = ends - starts > 1
    for first, last in zip(starts[several].tolist(), ends[several].tolist(), strict=True):
        distinct: dict[tuple[int, ...], int] = {}
        repeats: list[int] = []
        for member in order[first:last].tolist():
            identity = tuple(int(column[member]) for column in columns)
            if distinct.setdefault(identity, member) != member:
                repeats.append(member)
        members = [distinct[identity] for identity in sorted(distinct)]
        client = members[0]
        if not spans.server[client]:
            chain |= {member: client for member in members[1:] if spans.server[member]}
        repeated[repeats] = True
        order[first:last] = repeats + members
    return chain


def _cut_cycles(spans: Spans, parent: Ints) -> Ints:
    """Give the depth of each span, 0 = no parent, and take from the earliest span of each cycle its *parent*.

    Each round doubles how far up one looks, so that a chain of 10,000 spans takes 14.
    """
    n = len(spans)
    up = np.append(np.where(parent >= 0, parent, n), n)  # the place n is above all
    depth: Ints = (up != n).astype(np.int64)
    for _ in range(n.bit_length() + 1):
        if not (up < n).any():
            return np.asarray(depth[:n])
        depth += depth[up]
        up = up[up]
    # Whoever has come n steps up and is at no end walks in a cycle, where it is now.
    rank = np.empty(n, np.int64)
    rank[np.lexsort((spans.span_id, spans.label, spans.start))] = np.arange(n)
    cycle = np.unique(up[up < n])
    earliest = np.append(rank, n)
    up = np.append(parent, n)
    for _ in range(n.bit_length()):
        earliest[cycle] = np.minimum(earliest[cycle], earliest[up[cycle]])
        up[cycle] = up[up[cycle]]
    parent[cycle[rank[cycle] == earliest[cycle]]] = -1
    return _cut_cycles(spans, parent)


def _by_start(spans: Spans, kept: Ints, under: Ints) -> Ints:
    """Order siblings by start; those of one start by label, whichever came first."""
    by_start = kept[np.lexsort((spans.start[kept], under[kept]))]
    before, after = by_start[:-1], by_start[1:]
    if ((spans.start[before] == spans.start[after]) & (under[before] == under[after])).any():
        by_start = kept[np.lexsort((spans.span_id[kept], spans.label[kept], spans.start[kept], under[kept]))]
    return by_start


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
    run = np.concatenate(([0], np.cumsum(~concurrent)))
    called = callee[by_start]
    called_label = np.where(called >= 0, spans.label[called], -1)
    return by_start[np.lexsort((called_label, spans.label[by_start], run))]


def _depth_first(parent: Ints, depth: Ints, under: Ints, ranked: Ints, n: int) -> Ints:
    """Give preorder from siblings in order: a span's place is its parent's, plus its earlier siblings' subtrees."""
    by_level = ranked[np.argsort(depth[ranked], kind="stable")]
    levels = np.concatenate(([0], np.cumsum(np.bincount(depth[by_level]))))
    size = np.ones(n, np.int64)
    for level in range(len(levels) - 2, 0, -1):
        members = by_level[levels[level] : levels[level + 1]]
        np.add.at(size, parent[members], size[members])
    # `ranked` is sorted by `under`, and roots' places are negative, the last trace first: sort those by trace.
    own = size[ranked]
    total = np.cumsum(own) - own
    group_start = _changes(under[ranked])
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
    new_group = _changes(owner) | _changes(clock)
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
    remote = np.flatnonzero(~local)
    # The first remote child by label, since clocks do not compare: written last, so that it stays.
    first_last = remote[np.lexsort((spans.span_id[child[remote]], spans.label[child[remote]]))[::-1]]
    callee[owner[first_last]] = child[first_last]
    return np.maximum(duration - total, 0), callee


def _verdict_span(spans: Spans, root: npt.NDArray[np.bool_], kept: Ints, traces: int) -> Ints:
    order = kept[np.lexsort((spans.span_id[kept], spans.start[kept], ~root[kept], spans.trace[kept]))]
    found = np.full(traces, -1, np.int64)
    first = _changes(spans.trace[order])
    found[spans.trace[order][first]] = order[first]
    return found
