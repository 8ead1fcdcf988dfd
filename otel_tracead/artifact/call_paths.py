"""The measured call trees of normal traces, as tables: places, what they call, and in which order siblings came."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.traces.dictionary import RARE_ID

Ints = npt.NDArray[np.int64]

PLACE_COLUMNS: Final = 7
PAIR_COLUMNS: Final = 7
TOTALS: Final = 4
MOST_PLACES: Final = 20_000
MOST_PAIRS: Final = 200_000
MOST_CALLS: Final = 64
"""Places below one caller; the most frequent ones are listed."""
MOST_OPERATIONS: Final = 500
DEEPEST: Final = 64
"""Levels of calls that a table holds; deeper ones are left out."""


def _table(columns: int) -> Ints:
    return np.zeros((0, columns), np.int64)


@dataclass(slots=True)
class CallPaths:
    """Call trees of all root operations; a *place* is a label under the labels of its callers, up to the root.

    Attributes:
        places: one place a row, callers before callees: row of the calling place (-1 = a root), label, how many of the
            caller's events made this call (of a root: traces), events, callers of which the order was looked at and that
            made the call several times, those of them in which such calls overlapped, and how many kinds of call below
            this place came too rarely to be listed `[places, 7]`.
        pairs: two places under one caller, how often both came and their order could be told, how often the first of
            them began before the second, how often after (in all other cases they overlapped), in how many of all cases
            they ran in different processes, whose clocks may differ, and under how many callers the one that began first
            came again after the other `[pairs, 7]`.
        totals: traces, traces that were looked at, spans of those, spans that have a place `[4]`.
    """

    places: Ints = field(default_factory=lambda: _table(PLACE_COLUMNS))
    pairs: Ints = field(default_factory=lambda: _table(PAIR_COLUMNS))
    totals: Ints = field(default_factory=lambda: np.zeros(TOTALS, np.int64))

    def __len__(self) -> int:
        """Count the places."""
        return len(self.places)

    def problems(self, labels: int) -> dict[str, bool]:
        """Say what is wrong with the values, for a dictionary of *labels* labels; shapes are right."""
        if len(self.places) > MOST_PLACES or len(self.pairs) > MOST_PAIRS:
            return {"more places or pairs of calls than a model may have": True}
        caller, label, callers, events, several, at_once, rarer = self.places.T
        if bool(((caller < -1) | (caller >= np.arange(len(caller)))).any()):
            return {"a place is called by none that stands before it": True}
        first, second, together, before, after, apart, again = self.pairs.T
        if bool(((first < 0) | (second <= first) | (second >= len(caller))).any()):
            return {"a pair speaks of a place that is not there": True}
        made = np.where(caller >= 0, events[caller], callers)
        keys = (caller + 1) * labels + label
        pairs = first * len(caller) + second
        return {
            "a place has a label that is not in the dictionary": bool(((label <= RARE_ID) | (label >= labels)).any()),
            "a call came more often, or less, than its caller allows": bool(
                ((callers < 1) | (callers > made) | (events < callers)).any()
                or ((several < 0) | (several > callers) | (at_once < 0) | (at_once > several) | (rarer < 0)).any()
            ),
            "a place stands twice": len(np.unique(keys)) < len(keys) or len(np.unique(pairs)) < len(pairs),
            "calls lie deeper than a model may have": bool(_depth(caller) >= DEEPEST),
            "a caller makes more kinds of call than a model may have": bool(
                np.bincount(caller[caller >= 0]).max(initial=0) > MOST_CALLS or (caller < 0).sum() > MOST_OPERATIONS
            ),
            "a pair of calls has different callers": bool(
                (caller[first] != caller[second]).any() or (caller[first] < 0).any()
            ),
            "a pair of calls came in an order more often than together": bool(
                ((before < 0) | (after < 0) | (before > together) | (after > together - before)).any()
                or ((together < 1) | (apart < 0) | (apart > together)).any()
            ),
            "calls came again more often than several times": bool(
                ((again < 0) | (again > several[first] + several[second])).any()
            ),
            "a total is negative": bool((self.totals < 0).any()),
        }


def _depth(caller: Ints) -> int:
    """Count the calls below each other; callers stand before callees."""
    up, depth = caller, 0
    while depth <= DEEPEST and bool((up >= 0).any()):
        up = np.where(up >= 0, caller[up], -1)
        depth += 1
    return depth
