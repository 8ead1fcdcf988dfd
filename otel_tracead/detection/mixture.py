"""The predicted distribution of a time: a mixture of logistic distributions on its label's scale."""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mixture = npt.NDArray[np.float32]

_ROUNDS: Final = 3
_GRID: Final = 65  # points a round: one part in 64**3 is exact enough
_HALVINGS: Final = 14


def surprise(mixture: Mixture, scaled: Floats) -> Floats:
    """Give -ln of the predicted probability of a time at least as long `[n]`, as the network's own output has it.

    Args:
        mixture: log weights, means and log scales of one prediction, in a row.
        scaled: times `[n]`.
    """
    weight, mean, log_scale = mixture.astype(np.float64).reshape(3, -1)
    beyond = weight - np.logaddexp(0.0, (scaled[:, None] - mean) * np.exp(-log_scale))
    return np.asarray(-np.logaddexp.reduce(beyond, axis=1))


def median(mixture: Mixture) -> float:
    """Give the median of one prediction."""
    means = mixture[len(mixture) // 3 : 2 * len(mixture) // 3]
    low, high = float(means.min()) - 1.0, float(means.max()) + 1.0
    return first(lambda scaled: surprise(mixture, scaled) >= np.log(2.0), low, high)


def exceeded_by(mixtures: Mixture, share: float) -> Floats:
    """Give the time that a *share* of at most one half is predicted to exceed `[n]`.

    Args:
        mixtures: of each prediction `[n, 3 * components]`.
        share: of 1.
    """
    weight, mean, log_scale = np.split(mixtures.astype(np.float64), 3, axis=1)
    weight, steep = np.exp(weight), np.exp(-log_scale)
    # At least one half of every component lies above its mean, and no more than the share above the others' ends.
    low, high = mean.min(axis=1), (mean + np.exp(log_scale) * np.log((1.0 - share) / share)).max(axis=1)
    with np.errstate(over="ignore"):
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            above = (weight / (1.0 + np.exp((middle[:, None] - mean) * steep))).sum(axis=1) > share
            low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.asarray(high)


def first(holds: Callable[[Floats], npt.NDArray[np.bool_]], low: float, high: float) -> float:
    """Find from where on between *low* and *high* it holds; *high* where it never does."""
    for _ in range(_ROUNDS):
        grid = np.linspace(low, high, _GRID)
        at = int(np.argmax(np.append(holds(grid), True)))
        if at in (0, _GRID):
            return float(grid[min(at, _GRID - 1)])
        low, high = float(grid[at - 1]), float(grid[at])
    return high
