"""What the paper's models must beat: an n-gram model of labels, and the quantiles of each label's own response times."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from otel_tracead.evaluation.sequence_models import TOP, Forecast
from otel_tracead.traces.windows import Windows

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_BACK_OFF: Final = 0.4  # of an event that the shorter context adds to the counts of the longer one
_CELLS: Final = 1 << 22  # probabilities that are held at one time


@dataclass(frozen=True, slots=True)
class _Counts:
    """How often which label followed contexts of one length.

    Attributes:
        keys: of the contexts, sorted; see `NGram` `[contexts]`.
        first: first row of each context `[contexts + 1]`, of
        label: labels that followed, and
        count: how often.
    """

    keys: Ints
    first: Ints
    label: Ints
    count: Floats


class NGram:
    """Labels by how often they followed the last few ones in training; a shorter context helps where a longer one is rare.

    Implements `otel_tracead.evaluation.sequence_models.SequenceModel`.

    Args:
        windows: to count in.
        labels: size of the dictionary.
        order: events that are looked at, the next one included.

    Attributes:
        name: as the tables name it.
    """

    def __init__(self, windows: Windows, labels: int, order: int = 4) -> None:
        self.name = f"{order}-gram"
        self._labels, self._order = labels, order
        following, _ = windows.following
        counted = windows.forecast
        self._levels: list[_Counts] = []
        for level in range(order):
            keys = self._keys(windows.label, level)[counted]
            known, context = np.unique(keys, return_inverse=True)
            self._levels.append(_count(known, context, following[counted], labels))

    def _keys(self, label: Ints, level: int) -> Ints:
        """Give one number for the last *level* labels at each position; -1 where training had not even the later ones `[n, T]`."""
        if level == 0:
            return np.zeros(label.shape, np.int64)
        later = self._contexts(label, level - 1)
        oldest = np.full(label.shape, self._labels)  # what stands before the first event counts as one more label
        oldest[:, level - 1 :] = label[:, : label.shape[1] - level + 1]
        return np.where(later >= 0, later * (self._labels + 1) + oldest, -1)

    def _contexts(self, label: Ints, level: int) -> Ints:
        """Give the index of the last *level* labels at each position among those that training had, else -1 `[n, T]`."""
        keys, known = self._keys(label, level), self._levels[level].keys
        place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        return np.where(known[place] == keys, place, -1)

    def forecast(self, windows: Windows) -> Forecast:
        """Forecast every position of *windows*; see `SequenceModel.forecast`."""
        contexts = np.stack([self._contexts(windows.label, level) for level in range(self._order)], axis=-1)
        following, _ = windows.following
        distinct, place = np.unique(contexts.reshape(-1, self._order), axis=0, return_inverse=True)
        place, came = place.reshape(-1), following.reshape(-1)
        top = np.full((len(place), TOP), -1)
        rank = np.zeros(len(place), np.int64)
        order = np.argsort(place, kind="stable")
        bounds = np.searchsorted(place[order], np.arange(len(distinct) + 1))
        for first, probability in self._probabilities(distinct):
            rows = order[bounds[first] : bounds[first + len(probability)]]
            own = probability[place[rows] - first]
            rank[rows] = (own > np.take_along_axis(own, came[rows, None], 1)).sum(1)
            best = np.argsort(-probability, axis=1, kind="stable")[:, :TOP]
            top[rows, : best.shape[1]] = best[place[rows] - first]
        shape = windows.label.shape
        return Forecast(top.reshape(*shape, TOP), rank.reshape(shape), None)

    def _probabilities(self, contexts: Ints) -> Iterator[tuple[int, Floats]]:
        """Give the probability of each label after *contexts* (index at each level), some rows at a time."""
        step = max(1, _CELLS // self._labels)
        for first in range(0, len(contexts), step):
            some = contexts[first : first + step]
            probability = np.full((len(some), self._labels), 1.0 / self._labels)
            for level, counts in enumerate(self._levels):
                found = np.flatnonzero(some[:, level] >= 0)
                index = some[found, level]
                size = counts.first[index + 1] - counts.first[index]
                row = np.repeat(found, size)
                source = np.arange(size.sum()) + np.repeat(counts.first[index] - np.cumsum(size) + size, size)
                probability[found] *= _BACK_OFF
                probability[row, counts.label[source]] += counts.count[source]
                probability[found] /= probability[found].sum(1, keepdims=True)
            yield first, probability


def _count(keys: Ints, context: Ints, following: Ints, labels: int) -> _Counts:
    pairs, count = np.unique(context * labels + following, return_counts=True)
    first = np.searchsorted(pairs // labels, np.arange(len(keys) + 1))
    return _Counts(keys, first, pairs % labels, count.astype(np.float64))


class TimeQuantile:
    """Response times by the share of their label's in training that were shorter; knows nothing of what came before.

    Implements `otel_tracead.evaluation.sequence_models.SequenceModel`. The deviation is that of a Gaussian at the same
    share, so that one threshold means the same interval for all models; beyond the longest time it grows with its logarithm.

    Args:
        windows: to measure.
        labels: size of the dictionary.

    Attributes:
        name: as the tables name it.
    """

    def __init__(self, windows: Windows, labels: int) -> None:
        self.name = "quantile of the label"
        inside = windows.inside
        label, time_ms = windows.label[inside], windows.time_ms[inside]
        order = np.lexsort((time_ms, label))
        self._time_ms = time_ms[order]
        self._first = np.searchsorted(label[order], np.arange(labels + 1))

    def forecast(self, windows: Windows) -> Forecast:
        """Forecast every position of *windows*; see `SequenceModel.forecast`."""
        label, time_ms = windows.following
        deviation = np.zeros(label.shape)
        for one in np.unique(label[windows.followed]).tolist():
            own = self._time_ms[self._first[one] : self._first[one + 1]]
            if len(own):  # of a label that training did not see nothing is known
                cells = label == one
                deviation[cells] = _deviation(own, time_ms[cells])
        return Forecast(None, None, deviation)


def _deviation(known: Floats, time_ms: Floats) -> Floats:
    shorter = np.searchsorted(known, time_ms, side="left")
    beyond = np.log(np.maximum(time_ms, known[-1]) / max(known[-1], np.finfo(float).tiny)) if known[-1] > 0 else 0.0
    beyond = np.where(time_ms > known[-1], beyond, 0.0)
    return np.asarray(ndtri((shorter + 0.5) / (len(known) + 1)) + beyond)
