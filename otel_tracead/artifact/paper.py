"""The paper's two scales for response times: min-max by label, and a Gaussian by label over the squared errors."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.traces.windows import Windows

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_FEWEST: Final = 10  # errors of a label for a Gaussian of its own
_RESOLUTION_MS: Final = 1e-3  # of the times that spans carry
_LEAST_SPREAD: Final = 1e-9


@dataclass(frozen=True, slots=True)
class MinMax:
    """Response times of each label, scaled so that training's lie between 0 and 1; those of others may lie outside.

    Attributes:
        low_ms: shortest time of each label `[labels]`; of all together for a label without any.
        range_ms: from there to the longest; never 0 `[labels]`.
    """

    low_ms: Floats
    range_ms: Floats

    def scale(self, time_ms: Floats, label: Ints) -> Floats:
        """Scale times of labels, both of one shape."""
        return np.asarray((time_ms - self.low_ms[label]) / self.range_ms[label])

    def unscale(self, scaled: Floats, label: Ints) -> Floats:
        """Give the milliseconds of scaled times; none is less than 0."""
        return np.maximum(self.low_ms[label] + scaled * self.range_ms[label], 0.0)


def learn_min_max(windows: Windows, labels: int) -> MinMax:
    """Measure the scale of each label's times in *windows*."""
    inside = windows.inside
    label, time_ms = windows.label[inside], windows.time_ms[inside]
    low, high = np.full(labels, np.inf), np.full(labels, -np.inf)
    np.minimum.at(low, label, time_ms)
    np.maximum.at(high, label, time_ms)
    unseen = ~np.isfinite(low)
    low[unseen], high[unseen] = time_ms.min(initial=np.inf), time_ms.max(initial=-np.inf)
    low, high = np.where(np.isfinite(low), low, 0.0), np.where(np.isfinite(high), high, 1.0)
    return MinMax(low, np.maximum(high - low, _RESOLUTION_MS))


@dataclass(frozen=True, slots=True)
class ErrorGaussians:
    """The paper's normal squared errors: a Gaussian for each label.

    Attributes:
        mean: of the squared errors `[labels]`.
        spread: their standard deviation, never 0 `[labels]`.
    """

    mean: Floats
    spread: Floats

    def deviation(self, squared: Floats, label: Ints) -> Floats:
        """Give how many standard deviations squared errors lie above their label's mean, both of one shape."""
        return np.asarray((squared - self.mean[label]) / self.spread[label])


def fit_gaussians(squared: Floats, label: Ints, labels: int) -> ErrorGaussians:
    """Fit a Gaussian to the squared errors `[m]` of each label; one with few errors gets that of all together."""
    if not len(squared):
        return ErrorGaussians(np.zeros(labels), np.ones(labels))
    count = np.bincount(label, minlength=labels)
    least = np.maximum(count, 1)
    mean = np.bincount(label, weights=squared, minlength=labels) / least
    variance = np.bincount(label, weights=(squared - mean[label]) ** 2, minlength=labels) / least
    few = count < _FEWEST
    mean[few], variance[few] = squared.mean(), squared.var()
    return ErrorGaussians(mean, np.maximum(np.sqrt(variance), _LEAST_SPREAD))
