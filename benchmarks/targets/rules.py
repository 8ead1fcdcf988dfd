"""Plain rules that a detector has to beat: quantiles by label, n-grams, and pairs of siblings never seen."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from otel_tracead.detection import grammar
from otel_tracead.traces.encoding import Events

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

Which = Literal["own", "total"]
Against = Literal["median", "p99", "longest", "rank"]
WHICH: Final[tuple[Which, ...]] = ("own", "total")
AGAINST: Final[tuple[Against, ...]] = ("median", "p99", "longest", "rank")
_QUANTILE: Final = {"median": 0.5, "p99": 0.99, "longest": 1.0}
_BACK_OFF: Final = 0.4


@dataclass(frozen=True, slots=True)
class Quantiles:
    """How long an event took, measured against the times of its label in training.

    Attributes:
        which: an event's own work, or its response time.
        against: give the ratio to that quantile of its label's times, or the share of them that were as long (-log10).
        ordered: the training times, by label and then by length `[n]`.
        bounds: where each label's times begin in `ordered` `[labels + 1]`.
    """

    which: Which
    against: Against
    ordered: Floats
    bounds: Ints

    @classmethod
    def learn(cls, training: Events, which: Which, against: Against) -> "Quantiles":
        """Learn from normal traces."""
        us = _times(training, which)
        order = np.lexsort((us, training.label))
        labels = np.arange(len(training.labels) + 1)
        return cls(which, against, us[order], np.searchsorted(training.label[order], labels))

    def events(self, events: Events) -> Floats:
        """Say how long each event took for its label `[m]`; 0 for a label that training did not show."""
        us = _times(events, self.which)
        first, count = self.bounds[:-1][events.label], np.diff(self.bounds)[events.label]
        known = count > 0
        if self.against == "rank":
            found = np.zeros(len(us))
            for label in np.unique(events.label[known]):
                rows = np.flatnonzero(events.label == label)
                own = self.ordered[self.bounds[label] : self.bounds[label + 1]]
                longer = len(own) - np.searchsorted(own, us[rows], side="left")
                # Beyond the longest a ratio goes on, so that thresholds can tell them apart.
                beyond = np.log10(np.maximum(us[rows] / max(own[-1], 1.0), 1.0))
                found[rows] = -np.log10((longer + 1.0) / (len(own) + 1.0)) + beyond
            return found
        place = first + np.ceil(_QUANTILE[self.against] * (count - 1)).astype(np.int64)
        usual = self.ordered[np.where(known, place, 0)]
        return np.where(known, us / np.maximum(usual, 1.0), 0.0)


def _times(events: Events, which: Which) -> Floats:
    return events.self_us if which == "own" else events.duration_us


def strongest(events: Events, values: Floats) -> Floats:
    """Give the largest of each trace's *values* `[traces]`; none is empty."""
    return np.asarray(np.maximum.reduceat(values, events.offsets[:-1]))


@dataclass(frozen=True, slots=True)
class Pairs:
    """Whether a pair of neighbouring siblings (or the first, or the last) was never seen under that caller.

    Attributes:
        size: of the table of labels.
        seen: the pairs of training, as sorted numbers.
    """

    size: int
    seen: Ints

    @classmethod
    def learn(cls, training: Events) -> "Pairs":
        """Learn from normal traces."""
        size = len(training.labels) + 1
        return cls(size, np.unique(_pairs(training, size)[0]))

    def traces(self, events: Events) -> Bools:
        """Say which traces hold a pair that training never showed `[traces]`."""
        pairs, trace = _pairs(events, self.size)
        return np.bincount(trace[~np.isin(pairs, self.seen)], minlength=events.traces) > 0


def _pairs(events: Events, size: int) -> tuple[Ints, Ints]:
    steps = grammar.steps(events.parent, events.offsets)
    label = np.append(events.label, size - 1)  # -1 indexes it: nothing there
    return (label[steps.caller] * size + label[steps.before]) * size + label[steps.event], steps.trace


@dataclass(frozen=True, slots=True)
class Ngram:
    """Counts of runs of up to *order* labels, with "stupid" back-off (Brants et al., EMNLP 2007).

    Attributes:
        order: how many labels a run has at most.
        size: of the table of labels, with one more for the start and the end.
        counts: how often each label came after each run, by run.
    """

    order: int
    size: int
    counts: dict[tuple[int, ...], dict[int, int]]

    @classmethod
    def learn(cls, label: Ints, offsets: Ints, labels: int, order: int = 4) -> "Ngram":
        """Learn from sequences: *label* `[m]`, the first row of each in *offsets*."""
        found = cls(order, labels + 1, {})
        runs, times = np.unique(found._runs(label, offsets), return_counts=True)
        for run, count in zip(found._unpacked(runs), times.tolist(), strict=True):
            for start in range(order):
                after = found.counts.setdefault(run[start:-1], {})
                after[run[-1]] = after.get(run[-1], 0) + count
        return found

    def surprise(self, label: Ints, offsets: Ints) -> Floats:
        """Give -ln of the score of each label and of each sequence's end `[m + sequences]`."""
        runs, place = np.unique(self._runs(label, offsets), return_inverse=True)
        return np.array([-np.log(self._score(run)) for run in self._unpacked(runs)])[place]

    def unseen(self, label: Ints, offsets: Ints) -> Bools:
        """Say which runs of `order` labels training never showed `[m + sequences]`."""
        runs, place = np.unique(self._runs(label, offsets), return_inverse=True)
        return np.array([run[-1] not in self.counts.get(run[:-1], {}) for run in self._unpacked(runs)], np.bool_)[place]

    def among(self, label: Ints, offsets: Ints, k: int) -> Bools:
        """Say which labels are among the *k* with the highest scores after what came before `[m + sequences]`."""
        runs, place = np.unique(self._runs(label, offsets), return_inverse=True)
        best: dict[tuple[int, ...], list[int]] = {}
        found = []
        for run in self._unpacked(runs):
            context = run[:-1]
            if context not in best:
                best[context] = self._best(context, k)
            found.append(run[-1] in best[context])
        return np.array(found, np.bool_)[place]

    def _score(self, run: tuple[int, ...]) -> float:
        weight = 1.0
        for start in range(self.order):
            after = self.counts.get(run[start:-1], {})
            if run[-1] in after:
                return weight * after[run[-1]] / sum(after.values())
            weight *= _BACK_OFF
        return weight / (1.0 + sum(self.counts[()].values()))

    def _best(self, context: tuple[int, ...], k: int) -> list[int]:
        candidates: set[int] = set()
        for start in range(self.order):
            after = self.counts.get(context[start:], {})
            candidates.update(sorted(after, key=lambda label: (-after[label], label))[: 2 * k])
        return sorted(candidates, key=lambda label: (-self._score((*context, label)), label))[:k]

    def _runs(self, label: Ints, offsets: Ints) -> Ints:
        """Give each position's label and those before it as one number `[m + sequences]`; `size - 1` starts and ends."""
        lengths = np.diff(offsets)
        begins = offsets[:-1] + np.arange(len(lengths))
        padded = np.full(len(label) + len(lengths), self.size - 1)
        padded[np.arange(len(label)) + np.repeat(np.arange(len(lengths)), lengths)] = label
        age = np.arange(len(padded)) - np.repeat(begins, lengths + 1)
        run = np.zeros(len(padded), np.int64)
        for back in range(self.order - 1, -1, -1):
            shifted = np.roll(padded, back)
            run = run * self.size + np.where(age >= back, shifted, self.size - 1)
        return run

    def _unpacked(self, runs: Ints) -> list[tuple[int, ...]]:
        columns = []
        for _ in range(self.order):
            columns.append((runs % self.size).tolist())
            runs = runs // self.size
        return list(zip(*columns[::-1], strict=True))


def limit(clean: Floats, share: float) -> float:
    """Give the value above which lie at most *share* of the *clean* ones."""
    ordered = np.sort(clean)[::-1]
    return float(ordered[min(int(np.floor(share * len(ordered))), len(ordered) - 1)])
