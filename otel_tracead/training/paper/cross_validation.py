"""Which width, and which layer to join the modalities in? Chosen by cross-validation, as the paper says."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from otel_tracead.traces.windows import Windows
from otel_tracead.training.paper.architecture import Join
from otel_tracead.training.paper.models import MULTIMODAL, train_model
from otel_tracead.training.paper.recipe import WindowRecipe
from otel_tracead.training.side_by_side import Progress, side_by_side

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One choice for the multimodal LSTM.

    Attributes:
        units: width of its layers.
        join: where the modalities join.
    """

    units: int
    join: Join


@dataclass(frozen=True, slots=True)
class Validated:
    """How one candidate did on the folds that it was not fitted to; a number each.

    Attributes:
        candidate: which one.
        accuracy: share of the next labels that were the most probable ones `[folds]`.
        squared_error: mean, of scaled response times `[folds]`.
        epochs: that were fitted `[folds]`.
        seconds: that fitting took `[folds]`.
    """

    candidate: Candidate
    accuracy: Floats
    squared_error: Floats
    epochs: Floats
    seconds: Floats


def cross_validate(
    windows: Windows,
    labels: int,
    candidates: Sequence[Candidate],
    recipe: WindowRecipe,
    *,
    folds: int = 3,
    progress: Progress = lambda _share: None,
    workers: int | None = 1,
) -> list[Validated]:
    """Fit each candidate without each fold of the traces and try it on that fold.

    Args:
        windows: of normal traces.
        labels: size of the dictionary.
        candidates: to choose from.
        recipe: how to fit; its seed also divides the traces.
        folds: how many parts.
        progress: told the share that is done.
        workers: how many at a time, a process each; None: as many as there are cores. Two that share a core each count
            the seconds of both.

    Returns:
        One result for each candidate, the best first: by accuracy, then by squared error.
    """
    traces = np.random.default_rng(recipe.seed).permutation(np.unique(windows.trace))
    parts = [np.isin(windows.trace, part) for part in np.array_split(traces, folds)]
    pieces = [partial(_try_out, windows, labels, one, part, recipe) for one in candidates for part in parts]
    found = np.array(side_by_side(pieces, progress, workers)).reshape(len(candidates), folds, -1)
    results = [Validated(one, *columns.T) for one, columns in zip(candidates, found, strict=True)]
    return sorted(results, key=lambda one: (-one.accuracy.mean(), one.squared_error.mean()))


def _try_out(
    windows: Windows,
    labels: int,
    candidate: Candidate,
    part: npt.NDArray[np.bool_],
    recipe: WindowRecipe,
    progress: Progress,
) -> tuple[float, float, float, float]:
    architecture = MULTIMODAL.architecture(labels, windows.label.shape[1], candidate.units, candidate.join)
    model = train_model("candidate", windows.take(np.flatnonzero(~part)), architecture, recipe, progress)
    own = windows.take(np.flatnonzero(part))
    first, squared = model.accuracy(own), model.squared_error(own)
    return first, squared, float(model.epochs), model.seconds
