"""How strong is a statistic? Survival functions that were measured on normal traffic, in units of -log10.

A tail turns a raw statistic x into -log10 of the share of normal cases that are at least as strong: 1 means one in
ten, 2 one in a hundred. Between measured quantiles it is interpolated; beyond the last one it goes on with the slope of
the mean excess (an exponential tail), at most three decades further.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

STEP: Final = 0.25
"""Decades between two knots."""
KNOTS: Final = 17
_BEYOND: Final = 3.0
_MOST: Final = 1e200  # a statistic of inf; inf itself would make inf / inf
_WIDE: Final = 32  # knots of a row with padding
_HALVES: Final = (16, 8, 4, 2, 1)
_FEW: Final = 300
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
    _pieces: "_Pieces" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Lay the pieces out for `strength`."""
        self._pieces = _Pieces.of(self.knots, self.slope)

    def strength(self, x: Floats, row: npt.NDArray[np.int64] | int = 0) -> Floats:
        """Give -log10 survival of each of *x* `[n]` under the row of each `[n]` (or one row for all)."""
        pieces = self._pieces
        x = np.minimum(x, _MOST)
        below: Ints = self.knots[row].searchsorted(x) if isinstance(row, int) else self._count_below(x, row)
        piece = row * (KNOTS + 1) + below
        beyond = x - pieces.start.take(piece)
        further = np.minimum(beyond * pieces.slope.take(piece), _BEYOND)
        beyond /= pieces.width.take(piece)
        beyond += pieces.knot.take(below)
        beyond *= STEP
        beyond += further
        beyond[below == 0] = 0.0
        return np.asarray(beyond)

    def _count_below(self, x: Floats, row: Ints) -> Ints:
        """Count the knots of its row that each of *x* is above."""
        if len(x) < _FEW:
            return np.asarray(np.add.reduce(x[:, None] > self.knots[row], axis=1, dtype=np.int64))
        begin = row * _WIDE
        at = begin.copy()
        # By halving: a fifth of the time where there are many, three times as long where there are few.
        for step in _HALVES:
            at += np.multiply(x > self._pieces.padded.take(at + (step - 1)), step)
        return np.asarray(at - begin)

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


@dataclass(frozen=True, slots=True)
class _Pieces:
    """The straight pieces of survival functions: for each row the one below its first knot, and one above each knot.

    Attributes:
        padded: the knots of each row, and inf up to a power of two `[rows * _WIDE]`.
        start: the statistic where each piece begins `[rows * (KNOTS + 1)]`.
        width: the statistic that takes one step more `[rows * (KNOTS + 1)]`; inf where nothing was measured.
        slope: decades a unit `[rows * (KNOTS + 1)]`; 0 where there is a width.
        knot: the knot where a piece begins, by the count of knots below `[KNOTS + 1]`.
    """

    padded: Floats
    start: Floats
    width: Floats
    slope: Floats
    knot: Floats

    @classmethod
    def of(cls, knots: Floats, slope: Floats) -> "_Pieces":
        rows = len(knots)
        padded = np.full((rows, _WIDE), np.inf)
        padded[:, :KNOTS] = knots
        ends = padded[:, : KNOTS + 1]
        start = np.concatenate((ends[:, :1], ends[:, :KNOTS]), axis=1)
        measured = np.isfinite(ends) & (ends > start)
        measured[:, 0] = False
        with np.errstate(invalid="ignore"):
            width = np.where(measured, ends - start, np.inf)
        slopes = np.where(measured, 0.0, slope[:, None])
        start[~np.isfinite(start)] = 0.0  # nobody is above it
        knot = np.maximum(np.arange(KNOTS + 1) - 1.0, 0.0)
        return cls(padded.ravel(), start.ravel(), width.ravel(), slopes.ravel(), knot)


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
