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
    """Give -ln of the predicted probability of a time at least as long, as the network's own output has it `[..., n]`.

    Args:
        mixture: log weights, means and log scales of each prediction `[..., 3 * components]`.
        scaled: times `[..., n]`.
    """
    weight, mean, log_scale = (part[..., None, :] for part in np.split(mixture.astype(np.float64), 3, axis=-1))
    beyond = weight - np.logaddexp(0.0, (scaled[..., None] - mean) * np.exp(-log_scale))
    return np.asarray(-np.logaddexp.reduce(beyond, axis=-1))


def median(mixture: Mixture) -> Floats:
    """Give the median of each prediction `[...]`."""
    means = np.split(mixture.astype(np.float64), 3, axis=-1)[1]
    low, high = means.min(axis=-1) - 1.0, means.max(axis=-1) + 1.0
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


def first(holds: Callable[[Floats], npt.NDArray[np.bool_]], low: Floats, high: Floats) -> Floats:
    """Find from where on between *low* and *high* `[...]` it holds; *high* where it never does.

    Args:
        holds: says of points `[..., points]` where it holds.
        low: where to begin to look.
        high: where to stop.
    """
    for _ in range(_ROUNDS):
        grid = np.linspace(low, high, _GRID, axis=-1)
        held = holds(grid)
        at = np.where(held.any(axis=-1), held.argmax(axis=-1), _GRID)[..., None]
        low = np.take_along_axis(grid, np.clip(at - (at < _GRID), 0, _GRID - 1), axis=-1)[..., 0]
        high = np.take_along_axis(grid, np.minimum(at, _GRID - 1), axis=-1)[..., 0]
    return high
