"""The plain rule that a detector must beat: each label's own usual times, and nothing else."""

import numpy as np
import numpy.typing as npt

from otel_tracead.artifact import tails
from otel_tracead.artifact.tails import Tails
from otel_tracead.traces.encoding import Events

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_FEWEST = 100  # times of a label for quantiles of its own
_LEAST_SPREAD = 0.05  # decades
_LONGER = 1e-6  # what a spread more tells where the tails tell nothing more


class QuantileRule:
    """Says how unusual the longest own work of a trace is among the normal times of its label.

    Quantiles are those of log own work, beyond the largest ones with an exponential tail; a label that is too rare for
    its own shares those of all labels, on the scale of its own median and spread.

    Args:
        normal: traces that are taken for normal.
    """

    def __init__(self, normal: Events) -> None:
        label, time = normal.label, np.log10(1.0 + normal.self_us)
        self._place = {name: place for place, name in enumerate(normal.labels)}
        self._center = np.zeros(len(normal.labels) + 1)
        self._spread = np.full(len(normal.labels) + 1, np.inf)  # of a label that was never seen nothing is unusual
        order = np.argsort(label, kind="stable")
        bounds = np.searchsorted(label[order], np.arange(len(normal.labels) + 1))
        for one in np.unique(label).tolist():
            own = time[order[bounds[one] : bounds[one + 1]]]
            self._center[one] = np.median(own)
            self._spread[one] = max(1.4826 * float(np.median(np.abs(own - self._center[one]))), _LEAST_SPREAD)
        scaled = (time - self._center[label]) / self._spread[label]
        self._tails: Tails = tails.by_group(scaled, label, len(normal.labels) + 1, fewest=_FEWEST)

    def score(self, events: Events) -> Floats:
        """Give -log10 of the share of normal times that are as long, of the most unusual event of each trace `[traces]`."""
        unseen = len(self._center) - 1
        label = np.array([self._place.get(name, unseen) for name in events.labels], np.int64)[events.label]
        scaled = (np.log10(1.0 + events.self_us) - self._center[label]) / self._spread[label]
        strength = self._tails.strength(scaled, label) + _LONGER * np.maximum(scaled, 0.0)
        strength[np.isinf(self._spread[label])] = 0.0
        best = np.zeros(events.traces)
        np.maximum.at(best, events.trace, strength)
        return best
