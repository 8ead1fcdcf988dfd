"""The numbers beside the paper's network: min-max scales, Gaussians over squared errors, and how odd normal traces are."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.artifact.arrays import FILE, Arrays, pack, tail_problems
from otel_tracead.artifact.tails import Tails
from otel_tracead.errors import ArtifactError
from otel_tracead.traces.windows import Windows

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_FEWEST: Final = 10  # times of a label for a range, and errors for a Gaussian, of its own
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
    """Measure the scale of each label's times in *windows*.

    Few times, or equal ones, say little of how far times of their label lie apart: there the range is at least as wide as
    the longest of them. The paper has no such labels: all of its come more than 1,000 times.
    """
    inside = windows.inside
    label, time_ms = windows.label[inside], windows.time_ms[inside]
    low, high = np.full(labels, np.inf), np.full(labels, -np.inf)
    np.minimum.at(low, label, time_ms)
    np.maximum.at(high, label, time_ms)
    unseen = ~np.isfinite(low)
    low[unseen], high[unseen] = time_ms.min(initial=np.inf), time_ms.max(initial=-np.inf)
    low, high = np.where(np.isfinite(low), low, 0.0), np.where(np.isfinite(high), high, 1.0)
    unsure = (np.bincount(label, minlength=labels) < _FEWEST) | (high == low)
    return MinMax(low, np.maximum(np.where(unsure, high, high - low), _RESOLUTION_MS))


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


@dataclass(frozen=True, slots=True)
class PaperCalibration:
    """What `calibration.npz` holds for a model of the preset `paper`.

    Attributes:
        scale: of response times.
        errors: of forecasts of response times.
        channel_tails: of the strongest evidence of a training trace: row 0 surprise at a label, row 1 deviation of a time.
        trace_tail: of the stronger of the two.
    """

    scale: MinMax
    errors: ErrorGaussians
    channel_tails: Tails
    trace_tail: Tails

    def dump(self) -> bytes:
        """Encode as `.npz`, the same bytes for the same numbers."""
        return pack(
            {
                "low_ms": self.scale.low_ms,
                "range_ms": self.scale.range_ms,
                "error_mean": self.errors.mean,
                "error_spread": self.errors.spread,
                "channel_knots": self.channel_tails.knots,
                "channel_slope": self.channel_tails.slope,
                "trace_knots": self.trace_tail.knots,
                "trace_slope": self.trace_tail.slope,
            }
        )


def load(content: bytes, labels: int) -> PaperCalibration:
    """Decode `calibration.npz` for a dictionary of *labels* labels; nothing in it is executed.

    Raises:
        ArtifactError: a missing array, a wrong type, shape or value, or more bytes than an artifact may have.
    """
    arrays = Arrays(content)
    loaded = PaperCalibration(
        MinMax(arrays.take("low_ms", labels), arrays.take("range_ms", labels)),
        ErrorGaussians(arrays.take("error_mean", labels), arrays.take("error_spread", labels)),
        arrays.tails("channel", 2),
        arrays.tails("trace", 1),
    )
    ranges = np.stack((loaded.scale.range_ms, loaded.errors.spread))
    lows = np.stack((loaded.scale.low_ms, loaded.errors.mean))
    problems = tail_problems((loaded.channel_tails, loaded.trace_tail)) | {
        "a scale is no positive number": not (np.isfinite(ranges) & (ranges > 0)).all(),
        "a shortest time or a mean error is no finite number": not np.isfinite(lows).all(),
    }
    for problem, found in problems.items():
        if found:
            raise ArtifactError(f"{FILE}: {problem}")
    return loaded
