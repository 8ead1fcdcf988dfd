"""Whose child each span is, for the spans of many traces at once; ids may repeat, and parents may go round in circles."""

import secrets
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]

_SALT = np.uint64(secrets.randbits(64) | 1)  # nobody can make ids of two traces meet in one key
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 by the golden ratio: neighbours land far from each other


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
    return np.concatenate(([True], column[1:] != column[:-1]))[: len(column)]


def _key(trace: Ints, span_id: Words) -> Words:
    """Mix a trace's index into a span id: one sortable number for both."""
    return span_id ^ (trace.astype(np.uint64) * _SALT)


def find_parents(spans: Spans) -> tuple[Ints, Bools]:
    """Find each span's parent, -1 where there is none, and the spans that are repeats of others."""
    parent, several = _look_up(
        _key(spans.trace, spans.span_id), _key(spans.trace, spans.parent_id), spans.parent_id != 0
    )
    repeated = np.zeros(len(spans), np.bool_)
    if several:
        parent = _shared_parents(spans, repeated)
    parent[(parent == np.arange(len(spans))) | repeated] = -1
    return parent, repeated


def _look_up(key: Words, wanted: Words, asked: Bools) -> tuple[Ints, bool]:
    """Give the place in *key* of each *wanted* one that is *asked* for, else -1; and whether a key stands twice.

    By a table of hashes, which costs a third of sorting all keys. Those that lost their place to another are sorted.
    """
    n = len(key)
    bits = (4 * n).bit_length()
    table = np.zeros(1 << bits, np.int64)
    slot = _slot(key, bits)
    table[slot] = np.arange(n)
    winner = table[slot]
    lost = np.flatnonzero(winner != np.arange(n))
    lost_key = key[lost]
    place = table[_slot(wanted, bits)]
    found = asked & (key[place] == wanted) if n else asked
    parent = np.where(found, place, -1)
    if not len(lost):
        return parent, False
    order = np.argsort(lost_key)
    sorted_key = lost_key[order]
    several = bool((key[winner[lost]] == lost_key).any() or (sorted_key[1:] == sorted_key[:-1]).any())
    rest = np.flatnonzero(asked & ~found)
    near = np.minimum(np.searchsorted(sorted_key, wanted[rest]), len(lost) - 1)
    hit = sorted_key[near] == wanted[rest]
    parent[rest[hit]] = lost[order[near[hit]]]
    return parent, several


def _slot(key: Words, bits: int) -> Ints:
    return ((key * _SPREAD) >> np.uint64(64 - bits)).view(np.int64)


def _shared_parents(spans: Spans, repeated: Bools) -> Ints:
    """Find parents where spans have one id: mark those that are *repeated*; children belong to a server's half."""
    key = _key(spans.trace, spans.span_id)
    order = np.argsort(key, kind="stable")
    sorted_key = key[order]
    client_half = _shared(spans, sorted_key, order, repeated)
    # The last of those that share an id: children of a shared Zipkin span are its server half's.
    wanted = _key(spans.trace, spans.parent_id)
    place = np.searchsorted(sorted_key, wanted, side="right") - 1
    found = (place >= 0) & (sorted_key[np.maximum(place, 0)] == wanted) & (spans.parent_id != 0)
    parent = np.where(found, order[np.maximum(place, 0)], -1).astype(np.int64)
    parent[list(client_half)] = list(client_half.values())
    return parent


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


def cut_cycles(spans: Spans, parent: Ints) -> Ints:
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
    return cut_cycles(spans, parent)
