"""Learns the call trees of normal traces, and which siblings wait for each other, from measured intervals.

The paper reads both from the softmax, for pairs and with probability exactly 1 (its section on concurrent and dependent
events). Here the spans' own times are looked at instead: siblings share a clock, so whether two calls overlapped, and which
began first, is seen in each trace; the network, which sees concurrent siblings in one fixed order, no longer knows it.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.artifact.call_paths import (
    DEEPEST,
    MOST_CALLS,
    MOST_OPERATIONS,
    MOST_PAIRS,
    MOST_PLACES,
    PLACE_COLUMNS,
    CallPaths,
)
from otel_tracead.traces.dictionary import RARE_ID, Dictionary
from otel_tracead.traces.encoding import Events
from otel_tracead.traces.labels import CALLEE, stem, with_callee

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

RAREST: Final = 0.01
"""Calls that a smaller share of a caller's events makes are counted and not listed."""
_LOOKED_AT: Final = 2000  # events of one place whose calls are compared with each other
_FARTHEST: Final = 64  # siblings that began before, with which one is compared
_SHARE: Final = 0.5  # of the shorter of two siblings that must overlap, as where sequences are ordered
_SHORTEST_NS: Final = 2_000
_SINGLE: Final = 5


def call_name(label: str) -> str:
    """Give a label without its status: a call that fails stands at the same place as one that does not."""
    call, _, callee = label.partition(CALLEE)
    return with_callee(stem(call) or call, callee)


def learn(events: Events, dictionary: Dictionary) -> CallPaths:
    """Learn the call trees of normal traces.

    A trace with several roots or orphans is left out if a span's parent is missing in it: it may lack more than that.

    Args:
        events: of normal traces.
        dictionary: whose labels the places have; spans with other labels, and what they call, have no place.
    """
    label = _labels(events, dictionary)
    tops = np.bincount(events.trace[events.parent < 0], minlength=events.traces)
    whole = (events.orphans == 0) | (tops == 1)
    here = whole[events.trace]
    places, place = _places(events, label, here, len(dictionary))
    rows = np.flatnonzero((place >= 0) & (events.parent >= 0))
    rows = rows[_chosen(place, len(places))[events.parent[rows]]]
    siblings = _Siblings(events, place, rows)
    places[:, 4], places[:, 5] = siblings.repeated(len(places))
    return CallPaths(
        places=places,
        pairs=siblings.pairs(),
        totals=np.array([events.traces, whole.sum(), here.sum(), (place >= 0).sum()], np.int64),
    )


def _labels(events: Events, dictionary: Dictionary) -> Ints:
    """Give each event the first index among the labels that differ in their status only, `RARE_ID` if none has one."""
    indices: dict[str, int] = {}
    for index, name in enumerate(dictionary.labels[RARE_ID + 1 :], RARE_ID + 1):
        indices.setdefault(call_name(name), index)
    return np.array([indices.get(call_name(name), RARE_ID) for name in events.labels], np.int64)[events.label]


def _depths(parent: Ints) -> Ints:
    """Give the depth of each event, 0 = no parent; each round doubles how far up one looks."""
    n = len(parent)
    up = np.append(np.where(parent >= 0, parent, n), n)
    depth = (up != n).astype(np.int64)
    while bool((up < n).any()):
        depth += depth[up]
        up = up[up]
    return np.asarray(depth[:n])


def _places(events: Events, label: Ints, here: Flags, labels: int) -> tuple[Ints, Ints]:
    """Lay out the places, level by level.

    Returns:
        The table of `CallPaths`, its columns of order still 0, and the place of each event, -1 = none `[m]`.
    """
    place = np.full(len(label), -1, np.int64)
    depth = _depths(events.parent)
    table = np.zeros((0, PLACE_COLUMNS), np.int64)
    for level in range(min(int(depth.max(initial=0)), DEEPEST - 1) + 1):
        rows = np.flatnonzero(here & (depth == level))
        parent = events.parent[rows]
        if level:
            rows, parent = rows[place[parent] >= 0], parent[place[parent] >= 0]
        caller = place[parent] if level else np.full(len(rows), -1, np.int64)
        key, index, count = np.unique((caller + 1) * labels + label[rows], return_inverse=True, return_counts=True)
        under, own = key // labels - 1, key % labels
        made = np.unique(index * (len(label) + 1) + parent) // (len(label) + 1) if level else index
        callers = np.bincount(made, minlength=len(key))
        kept = _listed(under, own, callers, count, table, MOST_PLACES - len(table))
        if level:
            np.add.at(table[:, 6], under[~kept], 1)
        number = np.where(kept, len(table) + np.cumsum(kept) - 1, -1)
        place[rows] = number[index]
        rest = np.zeros((int(kept.sum()), PLACE_COLUMNS - 4), np.int64)
        table = np.vstack((table, np.column_stack((under[kept], own[kept], callers[kept], count[kept], rest))))
        if not kept.any():
            break
    return table, place


def _listed(under: Ints, own: Ints, callers: Ints, count: Ints, table: Ints, room: int) -> Flags:
    """Say which new places are listed: no rare calls, the most frequent of each caller, and as many as there is room for."""
    kept = own > RARE_ID
    most = MOST_OPERATIONS
    if len(table):
        kept &= callers >= RAREST * table[under, 3]
        most = MOST_CALLS
    order = np.lexsort((own, -callers, under, ~kept))
    first = np.searchsorted(under[order][: int(kept.sum())], under)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    kept &= rank - first < most
    if kept.sum() > room:
        kept[np.argsort(np.where(kept, -count, 1), kind="stable")[max(room, 0) :]] = False
    return kept


def _chosen(place: Ints, places: int) -> Flags:
    """Choose at most some events of each place, evenly: enough to say how its calls lie to each other."""
    rows = np.flatnonzero(place >= 0)
    rows = rows[np.argsort(place[rows], kind="stable")]
    count = np.bincount(place[rows], minlength=places)
    rank = np.arange(len(rows)) - (np.cumsum(count) - count)[place[rows]]
    chosen = np.zeros(len(place), np.bool_)
    chosen[rows[rank % -(-count // _LOOKED_AT)[place[rows]] == 0]] = True
    return chosen


class _Siblings:
    """Calls of the same callers, as *rows* of the events."""

    def __init__(self, events: Events, place: Ints, rows: Ints) -> None:
        self._places = int(place.max(initial=0)) + 1
        order = rows[np.lexsort((events.start[rows], events.parent[rows]))]
        _, self._caller = np.unique(events.parent[order], return_inverse=True)
        self._place, self._start = place[order], events.start[order]
        clock = events.instance[order]
        self._end = self._start + np.rint(events.duration_us[order] * 1e3).astype(np.int64)
        # One row for each caller and place; events are in order of start, so the first in the table is the first in time.
        group = self._caller * self._places + self._place
        self._group, first, index, self._count = np.unique(
            group, return_index=True, return_inverse=True, return_counts=True
        )
        self._first, self._clock = self._start[first], clock[first]
        self._last = self._first.copy()
        np.maximum.at(self._last, index, self._start)
        self._overlapping = self._overlaps()

    def _key(self, caller: Ints, one: Ints, other: Ints) -> Ints:
        return (caller * self._places + np.minimum(one, other)) * self._places + np.maximum(one, other)

    def _overlaps(self) -> Ints:
        """Find which places overlapped under which callers: sorted keys."""
        found = [np.zeros(0, np.int64)]
        active = np.arange(len(self._start))
        for lag in range(1, _FARTHEST + 1):
            active = active[active + lag < len(self._start)]
            active = active[self._caller[active] == self._caller[active + lag]]
            active = active[self._start[active + lag] < self._end[active]]
            if not len(active):
                break
            other = active + lag
            overlap = np.minimum(self._end[active], self._end[other]) - self._start[other]
            shorter = np.minimum(self._end[active] - self._start[active], self._end[other] - self._start[other])
            strong = (overlap > _SHORTEST_NS) & (overlap > _SHARE * shorter)
            found.append(
                self._key(self._caller[active[strong]], self._place[active[strong]], self._place[other[strong]])
            )
        return np.unique(np.concatenate(found))

    def repeated(self, places: int) -> tuple[Ints, Ints]:
        """Count for each place the callers that made the call several times, and those where such calls overlapped."""
        several = self._group[self._count > 1] % self._places
        one, other = self._overlapping // self._places % self._places, self._overlapping % self._places
        return np.bincount(several, minlength=places), np.bincount(one[one == other], minlength=places)

    def pairs(self) -> Ints:
        """Count in which order two places came under one caller; see `CallPaths`.

        Where there are enough, only callers count that made each of the two calls once: with several of a kind, the first
        of them tells less. Two calls that begin at one time and do not overlap (whole milliseconds) tell nothing.
        """
        seen = self._seen_together()
        pair, index = np.unique(seen[:, 0], return_inverse=True)
        size = len(pair)
        again = _sums(index, seen[:, 4], size)
        single = _sums(index, seen[:, 2], size)
        counted = (seen[:, 2] > 0) | (single < _SINGLE)[index]
        seen, index = seen[counted], index[counted]
        how = np.bincount(index * 3 + seen[:, 1], minlength=3 * size).reshape(-1, 3)
        apart = _sums(index, seen[:, 3], size)
        table = np.column_stack((pair // self._places, pair % self._places, how.sum(axis=1), how[:, 1:], apart, again))
        kept = np.sort(np.argsort(-table[:, 2], kind="stable")[:MOST_PAIRS])
        return np.asarray(table[kept], np.int64)

    def _seen_together(self) -> Ints:
        """Give one row for each caller and two places under it `[n, 5]`.

        Columns: the pair; 0 where they overlapped, 1 where the place with the lower number began first, 2 where the other
        did; whether each came once; whether in different processes; whether the first came again after the other.
        """
        caller, place = self._group // self._places, self._group % self._places
        order = np.lexsort((place, self._first, caller))
        caller, place, first, last = caller[order], place[order], self._first[order], self._last[order]
        once, clock = self._count[order] == 1, self._clock[order]
        parts = [np.zeros((0, 5), np.int64)]
        for lag in range(1, MOST_CALLS):
            one = np.flatnonzero(caller[lag:] == caller[:-lag])
            if not len(one):
                break
            other = one + lag
            overlapping = _member(self._overlapping, self._key(caller[one], place[one], place[other]))
            how = np.where(overlapping, 0, np.where(place[one] < place[other], 1, 2))
            rows = (
                self._key(np.zeros(len(one), np.int64), place[one], place[other]),
                how,
                once[one] & once[other],
                clock[one] != clock[other],
                ~overlapping & (last[one] > first[other]),
            )
            parts.append(np.column_stack(rows)[overlapping | (first[one] < first[other])])
        return np.vstack(parts)


def _sums(index: Ints, what: Ints, size: int) -> Ints:
    return np.bincount(index, weights=what, minlength=size).astype(np.int64)


def _member(ordered: Ints, wanted: Ints) -> Flags:
    if not len(ordered):
        return np.zeros(len(wanted), np.bool_)
    place = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    return np.asarray(ordered[place] == wanted)
