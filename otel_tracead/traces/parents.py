"""Whose child each span is, for the spans of many traces at once; ids may repeat, and parents may go round in circles."""

import secrets
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]

# Arrays, which numpy takes faster than numbers.
_SALT = np.array(secrets.randbits(64) | 1, np.uint64)  # nobody can make ids of two traces meet in one key
_SPREAD = np.array(0x9E3779B97F4A7C15, np.uint64)  # 2^64 by the golden ratio: neighbours land far from each other
_NONE = np.array(0, np.uint64)
_FEW = 500  # spans that are sorted in less time than a table is made for them


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
    span_id: Words
    parent_id: Words
    start: Ints
    end: Ints
    server: Bools
    clock: Ints
    label: Ints

    def __len__(self) -> int:
        """Count the spans."""
        return len(self.trace)


def changes(column: npt.NDArray[Any]) -> Bools:
    """Mark where a value differs from the one before; the first does."""
    found = np.empty(len(column), np.bool_)
    found[:1] = True
    np.not_equal(column[1:], column[:-1], out=found[1:])
    return found


def with_none(column: Ints) -> Ints:
    """Put a -1 behind a *column* of places, where whoever looks for the place -1 finds it."""
    longer = np.empty(len(column) + 1, np.int64)
    longer[:-1] = column
    longer[-1] = -1
    return longer


def find_parents(spans: Spans) -> tuple[Ints, Bools | None]:
    """Find each span's parent, -1 where there is none, and the spans that are repeats of others, None if there is none."""
    salt = spans.trace.view(np.uint64) * _SALT  # with a trace's index in it one number stands for both
    key, wanted = spans.span_id ^ salt, spans.parent_id ^ salt
    parent, twice = _look_up(key, wanted)
    own = np.arange(len(parent))
    parent[(spans.parent_id == _NONE) | (parent == own)] = -1
    if not len(twice):
        return parent, None
    repeated = np.zeros(len(spans), np.bool_)
    shared = np.zeros(int(spans.trace[-1]) + 1, np.bool_)
    shared[spans.trace[twice]] = True
    _shared_parents(spans, key, wanted, shared[spans.trace].nonzero()[0], parent, repeated)
    parent[(parent == own) | repeated] = -1
    return parent, repeated


def _look_up(key: Words, wanted: Words) -> tuple[Ints, Ints]:
    """Give the place in *key* of each *wanted* one, else -1; and of each key that stands more than once all places but one.

    By a table of hashes, which costs a third of sorting all keys. Those that lost their place to another are sorted.
    """
    n = len(key)
    if n < _FEW:
        return _look_up_sorted(key, wanted)
    bits = (4 * n).bit_length()
    shift = np.uint64(64 - bits)
    table = np.zeros(1 << bits, np.int64)
    slot = _slot(key, shift)
    table[slot] = own = np.arange(n)
    winner = table[slot]
    lost = (winner != own).nonzero()[0]
    place = table[_slot(wanted, shift)]
    found = key[place] == wanted
    place[~found] = -1
    if not len(lost):
        return place, lost
    rest, lost_key = (~found).nonzero()[0], key[lost]
    later, twice = _look_up_sorted(lost_key, wanted[rest])
    there = (later >= 0).nonzero()[0]
    place[rest[there]] = lost[later[there]]
    return place, lost[np.append(twice, (key[winner[lost]] == lost_key).nonzero()[0])]


def _look_up_sorted(key: Words, wanted: Words) -> tuple[Ints, Ints]:
    """Do as `_look_up`, by sorting."""
    order = key.argsort()
    in_order = key[order]
    near = np.minimum(in_order.searchsorted(wanted), len(key) - 1)
    place = order[near]
    place[in_order[near] != wanted] = -1
    return place, order[1:][(in_order[1:] == in_order[:-1]).nonzero()[0]]


def _slot(key: Words, shift: np.uint64) -> Ints:
    return ((key * _SPREAD) >> shift).view(np.int64)


def _shared_parents(spans: Spans, key: Words, wanted: Words, rows: Ints, parent: Ints, repeated: Bools) -> None:
    """Find the *parent* of each of *rows*, whole traces with spans of one id: children belong to a server's half.

    Marks those that are *repeated*.
    """
    order = rows[key[rows].argsort(kind="stable")]
    sorted_key = key[order]
    client_half = _shared(spans, sorted_key, order, repeated)
    # The last of those that share an id: children of a shared Zipkin span are its server half's.
    place = sorted_key.searchsorted(wanted[rows], side="right") - 1
    found = (place >= 0) & (sorted_key[place] == wanted[rows]) & (spans.parent_id[rows] != 0)
    parent[rows] = np.where(found, order[place], -1)
    parent[list(client_half)] = list(client_half.values())


def _shared(spans: Spans, sorted_key: Words, order: Ints, repeated: Bools) -> dict[int, int]:
    """Sort out spans with one id: mark those that repeat others, and give the client half of each server half.

    In *order* the one that their children belong to is put last.
    """
    columns = (spans.server, spans.start, spans.end, spans.label, spans.parent_id, spans.clock)
    chain: dict[int, int] = {}
    starts = np.flatnonzero(changes(sorted_key))
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


def cut_cycles(spans: Spans, parent: Ints) -> None:
    """Take from the earliest span of each cycle its *parent*.

    Each round doubles how far up one looks, so that a chain of 10,000 spans takes 14.
    """
    n = len(spans)
    up = with_none(parent)  # so that what is above -1 is -1
    for _ in range(n.bit_length() + 1):
        if up.max() < 0:
            return
        up = up[up]
    # Whoever has come n steps up and is at no end walks in a cycle, where it is now.
    rank = np.empty(n, np.int64)
    rank[np.lexsort((spans.span_id, spans.label, spans.start))] = np.arange(n)
    cycle = np.unique(up[up >= 0])
    earliest, up = rank.copy(), parent.copy()
    for _ in range(n.bit_length()):
        earliest[cycle] = np.minimum(earliest[cycle], earliest[up[cycle]])
        up[cycle] = up[up[cycle]]
    parent[cycle[rank[cycle] == earliest[cycle]]] = -1


def depths(parent: Ints) -> Ints:
    """Give the depth of each span, 0 = no *parent*; there are no cycles."""
    up = with_none(parent)
    depth: Ints = (up >= 0).astype(np.int64)
    while up.max() >= 0:
        depth += depth[up]
        up = up[up]
    return depth[:-1]
