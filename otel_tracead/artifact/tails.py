"""How strong is a statistic? Survival functions that were measured on normal traffic, in units of -log10.

A tail turns a raw statistic x into -log10 of the share of normal cases that are at least as strong: 1 means one in
ten, 2 one in a hundred. Between measured quantiles it is interpolated; beyond the last one it goes on with the slope of
the mean excess (an exponential tail), at most three decades further.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

STEP: Final = 0.25
"""Decades between two knots."""
KNOTS: Final = 17
_BEYOND: Final = 3.0
_FEWEST: Final = 8  # cases beyond the last knot
_EXCESS: Final = 24  # cases from which the slope is estimated


@dataclass(slots=True)
class Tails:
    """Survival functions, one a row.

    Attributes:
        knots: the statistic at a survival of 10**(-STEP * j), increasing `[rows, KNOTS]`; inf where unmeasured.
        slope: decades for each unit of the statistic beyond the last measured knot `[rows]`.
    """

    knots: Floats
    slope: Floats

    def strength(self, x: Floats, row: npt.NDArray[np.int64] | int = 0) -> Floats:
        """Give -log10 survival of each of *x* `[n]` under the row of each `[n]` (or one row for all)."""
        slope = self.slope[row]
        if isinstance(row, int):
            below = np.searchsorted(self.knots[row], x, side="left")
        else:
            below = np.count_nonzero(x[:, None] > self.knots[row], axis=1)
        low = np.maximum(below - 1, 0)
        high = np.minimum(below, KNOTS - 1)
        first, second = self.knots[row, low], self.knots[row, high]
        inside = np.isfinite(second) & (second > first) & (below < KNOTS)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(inside, (x - first) / (second - first), 0.0)
            further = np.minimum((x - first) * slope, _BEYOND)
        strength = STEP * (low + np.where(inside, share, further))
        strength = np.where(inside, strength, STEP * low + further)
        return np.where(below == 0, 0.0, strength)

    def inverse(self, strength: float, row: int = 0) -> float:
        """Give the smallest statistic that is at least as strong as *strength*; inf where none is."""
        knots = self.knots[row]
        measured = int(np.isfinite(knots).sum())
        place = strength / STEP
        if place <= measured - 1:
            return float(np.interp(place, np.arange(measured), knots[:measured]))
        further = strength - STEP * (measured - 1)
        if further > _BEYOND or self.slope[row] <= 0:
            return float("inf")
        return float(knots[measured - 1] + further / self.slope[row])


def measure(x: Floats) -> tuple[Floats, float]:
    """Measure one survival function on *x* `[n]`: its knots `[KNOTS]` and its slope."""
    ordered = np.sort(x)
    n = len(ordered)
    knots = np.full(KNOTS, np.inf)
    if n == 0:
        knots[0] = 0.0
        return knots, 1.0
    for j in range(KNOTS):
        survivors = n * 10.0 ** (-STEP * j)
        if j and survivors < _FEWEST:
            break
        knots[j] = ordered[max(0, min(n - 1, int(np.ceil(n - survivors))))]
    last = int(np.isfinite(knots).sum()) - 1
    beyond = min(n, max(_FEWEST, _EXCESS))
    base = ordered[n - beyond]
    excess = float((ordered[n - beyond :] - base).mean())
    spread = max(float(knots[last] - knots[0]), 1e-3)
    slope = 1.0 / (np.log(10.0) * max(excess, 0.02 * spread, 1e-6))
    return knots, float(slope)


def measure_rare(x: Floats) -> tuple[Floats, float]:
    """Measure a statistic that is 0 but for rare cases: the share of cases, one more than were seen, and no slope."""
    ordered = np.sort(x)[::-1]
    n = len(ordered)
    knots = np.full(KNOTS, np.inf)
    for j in range(KNOTS):
        # The smallest value that at most this share of cases reaches.
        allowed = int(np.floor((n + 1) * 10.0 ** (-STEP * j))) - 1
        if allowed < 0:
            break
        knots[j] = max(float(ordered[allowed]), 0.0) if allowed < n else 0.0
    return knots, 0.0


def single(x: Floats) -> Tails:
    """Measure *x* as the only row."""
    knots, slope = measure(x)
    return Tails(knots[None], np.array([slope]))


def by_group(x: Floats, group: Ints, groups: int, *, fewest: int, wider: Ints | None = None) -> Tails:
    """Measure one row a group.

    A group with fewer than *fewest* cases gets the row of all cases of its wider group, or of all cases where these are few, too.

    Args:
        x: the statistic of each case `[n]`.
        group: of each case `[n]`.
        groups: how many there are.
        fewest: cases that a row of its own takes.
        wider: the wider group of each group, -1 = none `[groups]`.
    """
    everything, slope = measure(x)
    knots = np.tile(everything, (groups, 1))
    slopes = np.full(groups, slope)
    if wider is not None:
        for index, own in _grouped(x, wider[group]):
            if index >= 0 and len(own) >= fewest:
                members = wider == index
                knots[members], slopes[members] = measure(own)
    for index, own in _grouped(x, group):
        if len(own) >= fewest:
            knots[index], slopes[index] = measure(own)
    return Tails(knots, slopes)


def _grouped(x: Floats, group: Ints) -> Iterator[tuple[int, Floats]]:
    order = np.argsort(group, kind="stable")
    names, begins = np.unique(group[order], return_index=True)
    for name, part in zip(names.tolist(), np.split(order, begins[1:]), strict=len(x) > 0):
        yield name, x[part]
