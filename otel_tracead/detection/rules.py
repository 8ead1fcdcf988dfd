"""From when on something counts as an anomaly: the calibrated budget, or the paper's two rules instead."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from otel_tracead.artifact.calibration import Calibration
from otel_tracead.detection.evidence import LABEL, PLACE, STEP, TIME, Judged

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionSettings:
    """What the user decides about verdicts (contract, section 2).

    Attributes:
        false_positive_rate: the share of normal traces that may be marked.
        unknown_labels: a trace with a larger share of labels that are not the model's traffic is unscored.
        top_k: the paper's structural rule instead of the calibrated one: every event whose label is not among the
            *top_k* most probable ones is anomalous. None = calibrated.
        confidence: the paper's response-time rule instead of the calibrated one: every event whose time lies above the
            central interval of this probability is anomalous. None = calibrated.
    """

    false_positive_rate: float = 0.01
    unknown_labels: float = 0.2
    top_k: int | None = None
    confidence: float | None = None


@dataclass(slots=True)
class Rules:
    """The settings in a model's terms.

    With one of the paper's rules a trace is anomalous if one of its events is; the budget then holds no longer. Scores
    stay calibrated, but that of a marked span is at least the threshold, and that of a trace without one is below it.

    Attributes:
        settings: what the user decided.
        calibration: of the model.
        threshold: on the scale of scores.
        wanted: the same on the scale of a channel: a trace's score is a growing function of it.
    """

    settings: DetectionSettings
    calibration: Calibration
    threshold: float = field(init=False)
    wanted: float = field(init=False)

    def __post_init__(self) -> None:
        """Work out the thresholds."""
        self.threshold = float(-np.log10(self.settings.false_positive_rate))
        self.wanted = self.calibration.trace_tail.inverse(self.threshold)

    @property
    def below(self) -> float:
        """The highest score of what is not marked."""
        return float(np.nextafter(self.threshold, 0.0))

    @property
    def top_k(self) -> int | None:
        """The paper's structural rule, if it was chosen."""
        return self.settings.top_k

    @property
    def confidence(self) -> float | None:
        """The paper's response-time rule, if it was chosen."""
        return self.settings.confidence

    @property
    def calibrated(self) -> bool:
        """Whether the budget decides alone."""
        return self.top_k is None and self.confidence is None

    @property
    def longest_nats(self) -> float:
        """The surprise of a time at the upper end of the paper's interval."""
        return float(-np.log((1.0 - (self.confidence or 0.0)) / 2.0))

    def unlikely(self, judged: Judged, first: int, last: int) -> Bools:
        """Mark the positions (see `Surprise`) whose label is not among the *top_k* most probable ones.

        A label that was never seen is not among them; in a trace with orphans nothing else is marked.

        Args:
            judged: the traces.
            first: the first trace to look at.
            last: the one behind the last.
        """
        events, offsets = judged.events, judged.surprise.offsets[first : last + 1]
        rows = slice(events.offsets[first], events.offsets[last])
        unlikely: Bools = judged.surprise.rank[offsets[0] : offsets[-1]] >= (self.top_k or 0)
        unlikely &= np.repeat(events.orphans[first:last] == 0, np.diff(offsets))
        ends = np.zeros(len(unlikely), np.bool_)
        ends[offsets[1:] - offsets[0] - 1] = True
        unlikely[~ends] |= judged.known.strange[rows]
        return unlikely

    def long(self, judged: Judged, first: int, last: int) -> Bools:
        """Mark the events of the traces from *first* to before *last* whose time lies above the predicted interval."""
        rows = np.arange(judged.events.offsets[first], judged.events.offsets[last])
        lengths = np.diff(judged.events.offsets[first : last + 1])
        at = rows + np.repeat(np.arange(first, last), lengths)
        return np.asarray(judged.surprise.time[at] > self.longest_nats)

    def anomalous(self, judged: Judged) -> Bools:
        """Say which traces are anomalous `[traces]`."""
        if self.calibrated:
            return np.asarray(judged.score >= self.threshold)
        traces = judged.events.traces
        if self.top_k is not None:
            trace = np.repeat(np.arange(traces), np.diff(judged.surprise.offsets))
            structural = np.bincount(trace[self.unlikely(judged, 0, traces)], minlength=traces) > 0
        else:
            structural = judged.channels[[LABEL, STEP]].max(axis=0) >= self.wanted
        if self.confidence is not None:
            slow = np.bincount(judged.events.trace[self.long(judged, 0, traces)], minlength=traces) > 0
        else:
            slow = judged.channels[[TIME, PLACE]].max(axis=0) >= self.wanted
        return np.asarray(structural | slow)
