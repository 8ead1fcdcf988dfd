"""What is tried: a detector that judges traces as they would come, in the order of time and some of them at once."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from otel_tracead.detection.detector import DetectionSettings, Judged, ModelDetector
from otel_tracead.detection.rules import Rules
from otel_tracead.detection.scorer import Scorer
from otel_tracead.detection.verdicts import ModelInfo
from otel_tracead.traces.encoding import Events, select
from otel_tracead.traces.labels import LabelTemplate
from otel_tracead.traces.sequences import Order
from otel_tracead.training.learning import Learned

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_TOGETHER: Final = 8192
"""Spans that are judged at once, as `otel-tracead score` does."""


@dataclass(slots=True)
class Seen:
    """What a detector said of a stream.

    Attributes:
        marked: which traces `[traces]`.
        score: how strong each trace speaks `[traces]`.
        slow: how strong each event's time speaks, comparable between labels `[m]`.
        blamed: rows, counted from the trace's first, that were marked; of the marked traces that were asked for.
        cpu_s: what scoring took, without words.
    """

    marked: Bools
    score: Floats
    slow: Floats
    blamed: dict[int, frozenset[int]]
    cpu_s: float = 0.0


class Candidate(Protocol):
    """What the table is made of."""

    def stream(self, events: Events, asked: Ints) -> Seen:
        """Judge *events* in the order of time, by a detector that has seen nothing yet; of traces *asked*, say which spans."""

    def ranks(self, events: Events) -> Ints:
        """Say how many labels were more probable than the one that came `[m]`."""


@dataclass(frozen=True, slots=True)
class Model:
    """What was learned, as a candidate.

    Attributes:
        learned: from training traces.
        settings: what a user may decide.
    """

    learned: Learned
    settings: DetectionSettings = field(default_factory=DetectionSettings)

    def detector(self) -> ModelDetector:
        """Make a detector that has seen nothing yet."""
        learned = self.learned
        return ModelDetector(
            dictionary=learned.dictionary,
            calibration=learned.calibration,
            scorer=Scorer(learned.network, state=learned.architecture.state, provider="cpu"),
            template=LabelTemplate(),
            order=Order.TREE,
            info=ModelInfo("targets", "0"),
            settings=self.settings,
        )

    def stream(self, events: Events, asked: Ints) -> Seen:
        """Judge *events*; see `Candidate.stream`."""
        seen = Seen(np.zeros(events.traces, np.bool_), np.zeros(events.traces), np.zeros(len(events)), {})
        detector, rules = self.detector(), Rules(self.settings, self.learned.calibration)
        wanted = np.isin(np.arange(events.traces), asked)
        for chosen, rows in in_time(events):
            part = select(events, chosen)
            began = time.process_time()
            judged = detector.assess(part)
            seen.cpu_s += time.process_time() - began
            seen.score[chosen] = judged.score
            seen.slow[rows] = judged.surprise.time[_places(judged)]
            marked = rules.anomalous(judged) & (judged.foreign <= self.settings.unknown_labels)
            seen.marked[chosen] = marked
            if not (marked & wanted[chosen]).any():
                continue
            # Words cost most of the time: as if the others were not marked.
            few = replace(judged, score=np.where(wanted[chosen], judged.score, 0.0))
            for place, verdict in enumerate(detector.verdicts(few)):
                if verdict.anomalous:
                    spans = part.span[part.offsets[place] : part.offsets[place + 1]]
                    blamed = np.flatnonzero(np.isin(spans, list(verdict.spans)))
                    seen.blamed[int(chosen[place])] = frozenset(blamed.tolist())
        return seen

    def ranks(self, events: Events) -> Ints:
        """Rank labels; see `Candidate.ranks`. One that was never seen comes behind all others."""
        detector = self.detector()
        scorer = Scorer(self.learned.network, state=self.learned.architecture.state, provider="cpu")
        out = np.zeros(len(events), np.int64)
        for chosen, rows in in_time(events):
            judged = detector.assess(select(events, chosen))
            known = judged.known
            rank = scorer.surprise(known.label, known.scaled, judged.events.offsets, ranks=True).rank[_places(judged)]
            out[rows] = np.where(known.unseen, len(self.learned.dictionary), rank)
        return out


def _places(judged: Judged) -> Ints:
    """Give the position of each event: there is one more a trace, its end `[m]`."""
    return np.arange(len(judged.events)) + judged.events.trace


def in_time(events: Events) -> Iterator[tuple[Ints, Ints]]:
    """Give traces in the order of time, as many as are judged together, and their rows."""
    order = np.argsort(events.began, kind="stable")
    lengths = np.diff(events.offsets)
    run = np.cumsum(lengths[order]) // _TOGETHER
    for chosen in np.split(order, np.flatnonzero(np.diff(run)) + 1):
        inside = np.concatenate(([0], np.cumsum(lengths[chosen])))
        rows = np.arange(inside[-1]) + np.repeat(events.offsets[:-1][chosen] - inside[:-1], lengths[chosen])
        yield chosen, rows
