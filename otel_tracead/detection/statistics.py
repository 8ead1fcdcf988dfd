"""The statistics of the check, each by its name: how sure a share is, how well scores tell two groups apart, which of two finds more."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri
from scipy.stats import beta, binom

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

CONFIDENCE: Final = 0.95


class Estimate(NamedTuple):
    """A number, and the 95 % confidence interval around it."""

    value: float
    low: float
    high: float


def share(count: int, of: int) -> Estimate:
    """Estimate a share from *count* cases *of* so many, with the exact interval (Clopper and Pearson, 1934)."""
    if not of:
        return Estimate(0.0, 0.0, 1.0)
    out = (1.0 - CONFIDENCE) / 2.0
    low = float(beta.ppf(out, count, of - count + 1)) if count else 0.0
    high = float(beta.ppf(1.0 - out, count + 1, of - count)) if count < of else 1.0
    return Estimate(count / of, low, high)


def at_least(count: int, of: int) -> float:
    """Give the one-sided lower 95 % bound of a share (Clopper and Pearson, 1934)."""
    return float(beta.ppf(1.0 - CONFIDENCE, count, of - count + 1)) if count else 0.0


def fewest_cases(most: float) -> int:
    """Give how many cases it takes to be 95 % sure that a share is below *most* when none is seen (the rule of three)."""
    if most >= 1.0:
        return 1
    return int(np.ceil(np.log(1.0 - CONFIDENCE) / np.log1p(-most)))


def auc(normal: Floats, anomalous: Floats) -> Estimate:
    """Estimate the area under the ROC curve, ties counted half, with the interval of Hanley and McNeil (1982)."""
    if not len(normal) or not len(anomalous):
        return Estimate(0.5, 0.0, 1.0)
    ordered = np.sort(normal)
    below = np.searchsorted(ordered, anomalous, side="left")
    equal = np.searchsorted(ordered, anomalous, side="right") - below
    area = float((below + 0.5 * equal).mean() / len(ordered))
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    n, m = len(ordered), len(anomalous)
    variance = (area * (1 - area) + (m - 1) * (q1 - area**2) + (n - 1) * (q2 - area**2)) / (n * m)
    wide = float(ndtri((1.0 + CONFIDENCE) / 2.0) * np.sqrt(max(variance, 0.0)))
    return Estimate(area, max(area - wide, 0.0), min(area + wide, 1.0))


def precision(recall: float, false_alarms: float, prevalence: float) -> float:
    """Give the share of marked traces that are anomalous where a share of *prevalence* of all traces is."""
    alarms = recall * prevalence + false_alarms * (1 - prevalence)
    return recall * prevalence / alarms if alarms else 0.0


def f1(recall: float, false_alarms: float, prevalence: float) -> float:
    """Give the harmonic mean of recall and precision where a share of *prevalence* of all traces is anomalous."""
    hit = precision(recall, false_alarms, prevalence)
    return 2 * hit * recall / (hit + recall) if hit + recall else 0.0


def f1_always(prevalence: float) -> float:
    """Give the F1 of marking every trace."""
    return 2 * prevalence / (1 + prevalence)


def finds_more(one: Bools, other: Bools) -> float:
    """Give the probability that *other* finds so many more of the same cases by chance (exact one-sided McNemar test)."""
    only_one, only_other = int((one & ~other).sum()), int((other & ~one).sum())
    return float(binom.sf(only_other - 1, only_one + only_other, 0.5)) if only_other else 1.0
