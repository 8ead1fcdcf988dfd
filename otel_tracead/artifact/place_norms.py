"""What is usual at a place: one service's own work, or the calls to one service; measured on normal traffic.

The measure is the evidence of a trace's spans at a place (see `otel_tracead.detection.places`): if all is normal its mean
is about 1, with the exponential distribution's spread. What differs from that from minute to minute, and from one part of
the traffic to another, is measured here, so that it counts as normal.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

NOWHERE: Final = -1
_FEWEST_IN_MINUTE: Final = 3
_FEWEST_MINUTES: Final = 5
_LEAST_VARIANCE: Final = 0.1  # load comes and goes, more than some minutes show
_UNKNOWN_VARIANCE: Final = 0.16
_PRIOR_BLOCKS: Final = 3.0
_LEAST_BLOCK_VARIANCE: Final = 0.6  # of some hours of one day nobody can tell what another day will be like


@dataclass(slots=True)
class PlaceNorms:
    """What is usual at each place.

    Attributes:
        of_label: the place of each label of the dictionary, -1 = none `[labels]`.
        mean: mean evidence of a trace `[places]`.
        spread: how much the mean of a minute differs from it, as a standard deviation `[places]`.
        day: how much the mean of another time of measuring differs from it, likewise `[places]`.
    """

    of_label: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    mean: Floats = field(default_factory=lambda: np.zeros(0))
    spread: Floats = field(default_factory=lambda: np.zeros(0))
    day: Floats = field(default_factory=lambda: np.zeros(0))

    def problems(self) -> dict[str, bool]:
        """Say which values could not be used."""
        numbers = (self.mean, self.spread, self.day)
        return {
            "a label is at a place that is not there": bool(
                ((self.of_label < NOWHERE) | (self.of_label >= len(self.mean))).any()
            ),
            "what is usual at a place is no positive number": not all(
                (np.isfinite(one) & (one >= 0)).all() for one in numbers
            ),
        }

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Give the arrays by the names that they have in `calibration.npz`."""
        return {
            "place_of_label": self.of_label,
            "place_mean": self.mean,
            "place_spread": self.spread,
            "place_day": self.day,
        }


def learn(place: Ints, evidence: Floats, minute: Ints, block: Ints, of_label: Ints) -> PlaceNorms:
    """Measure what is usual from the evidence of normal traces at places.

    Args:
        place: of each measurement `[n]`.
        evidence: of one trace there, in nats `[n]`.
        minute: when `[n]`.
        block: which part of the traffic it belongs to `[n]`.
        of_label: the place of each label `[labels]`.
    """
    places = int(of_label.max(initial=-1)) + 1
    count = np.bincount(place, minlength=places)
    mean = np.where(count > 0, np.bincount(place, weights=evidence, minlength=places) / np.maximum(count, 1), 1.0)
    within = _between(place, evidence, minute, mean, places, fewest=_FEWEST_IN_MINUTE, groups=_FEWEST_MINUTES)
    spread = np.where(np.isfinite(within), np.maximum(within, 0.0) + _LEAST_VARIANCE, _UNKNOWN_VARIANCE)
    own = _between(place, evidence, block, mean, places, fewest=_FEWEST_IN_MINUTE, groups=2)
    known = np.isfinite(own)
    everywhere = float(np.maximum(own[known], 0.0).mean()) if known.any() else 0.0
    blocks = len(np.unique(block))
    # Few blocks say little of one place: what is seen at all of them counts, too.
    day = (blocks * np.where(known, np.maximum(own, 0.0), everywhere) + _PRIOR_BLOCKS * everywhere) / (
        blocks + _PRIOR_BLOCKS
    )
    return PlaceNorms(of_label, mean, np.sqrt(spread), np.sqrt(np.maximum(day, _LEAST_BLOCK_VARIANCE)))


def _between(
    place: Ints, evidence: Floats, group: Ints, mean: Floats, places: int, *, fewest: int, groups: int
) -> Floats:
    """Give the variance of the groups' true means at each place, less what chance brings; NaN where there are too few."""
    if not len(place):
        return np.full(places, np.nan)
    _, dense = np.unique(group, return_inverse=True)
    wide = int(dense.max()) + 1
    pairs, inverse = np.unique(place * wide + dense, return_inverse=True)
    n = np.bincount(inverse)
    own = np.bincount(inverse, weights=evidence) / n
    at, enough = pairs // wide, n >= fewest
    squared = np.where(enough, n * ((own - mean[at]) ** 2 - mean[at] ** 2 / n), 0.0)
    weight = np.bincount(at, weights=np.where(enough, n, 0), minlength=places)
    several = np.bincount(at, weights=enough, minlength=places) >= groups
    total = np.bincount(at, weights=squared, minlength=places)
    return np.asarray(np.where(several, total / np.maximum(weight, 1), np.nan))
