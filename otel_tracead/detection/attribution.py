"""Puts what is to be blamed in anomalous traces into the verdicts of spans, with the numbers that they carry.

What that is, `otel_tracead.detection.blame` finds. Here, too, all anomalous traces of a batch are gone through together.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from otel_tracead.artifact.calibration import Calibration
from otel_tracead.detection.blame import Blame, Chosen, Marks
from otel_tracead.detection.evidence import LABEL, PLACE, STEP, TIME, Judged
from otel_tracead.detection.explanation import StructuralMark, names
from otel_tracead.detection.grammar import Grammar
from otel_tracead.detection.packing import rows_from
from otel_tracead.detection.response_times import ResponseTimes
from otel_tracead.detection.rules import Rules
from otel_tracead.detection.scorer import Details, Scorer, Surprise, normalised
from otel_tracead.detection.trace_verdicts import level
from otel_tracead.detection.verdicts import AnomalyType, SpanVerdict
from otel_tracead.traces.dictionary import END_ID, Dictionary

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Explained:
    """What an anomalous trace comes to.

    Attributes:
        spans: the verdicts of the spans to blame, by index.
        missing: labels that should have come and did not.
    """

    spans: dict[int, SpanVerdict]
    missing: tuple[str, ...]


class _Mark(NamedTuple):
    """One row to blame.

    Attributes:
        trace: which of the traces that are explained.
        row: counted from the trace's first event.
        marks: of the trace.
        details: of the trace; None where nobody needs them.
    """

    trace: int
    row: int
    marks: Marks
    details: Details | None

    @property
    def structural(self) -> bool:
        """Whether its calls or its label are to blame."""
        return self.row in self.marks.rules or self.row in self.marks.network

    @property
    def type(self) -> AnomalyType:
        """What is wrong with it."""
        if self.row not in self.marks.slow:
            return AnomalyType.STRUCTURAL
        return AnomalyType.BOTH if self.structural else AnomalyType.RESPONSE_TIME


class Attribution:
    """Gives the spans to blame in anomalous traces their verdicts.

    Args:
        dictionary: of the model.
        calibration: of the model.
        grammar: of the calibration.
        scorer: of the model's network.
        rules: from when on something counts.
    """

    def __init__(
        self, dictionary: Dictionary, calibration: Calibration, grammar: Grammar, scorer: Scorer, rules: Rules
    ) -> None:
        self._dictionary = dictionary
        self._calibration = calibration
        self._scorer = scorer
        self._rules = rules
        self._blame = Blame(dictionary, calibration, grammar, rules)
        self._times = ResponseTimes(calibration, rules)

    def normal(self, judged: Judged, trace: int) -> dict[int, SpanVerdict]:
        """Give every span of a trace a verdict as if it were normal: its own evidence may be explained by another span."""
        strongest = self._blame.choose(judged, np.array([trace])).strengths.max(axis=0)
        scores = np.minimum(self._calibration.trace_tail.strength(strongest), self._rules.below)
        first, last = judged.events.offsets[trace : trace + 2]
        spans = judged.events.span[first:last].tolist()
        return {
            span: SpanVerdict(anomalous=False, score=score) for span, score in zip(spans, scores.tolist(), strict=True)
        }

    def explain(self, judged: Judged, traces: Ints) -> list[Explained]:
        """Find the spans of anomalous *traces* that are to blame, and the labels that are missing.

        One span of each trace has the trace's score, none a higher one.
        """
        if not len(traces):
            return []
        chosen = self._blame.choose(judged, traces)
        marks = self._blame.marks(judged, chosen)
        remembered = _remembered(judged.surprise)
        details = self._details(judged, chosen, marks, remembered)
        blamed = [_Mark(trace, row, one, details[trace]) for trace, one in enumerate(marks) for row in one.rows]
        return self._explained(judged, chosen, blamed, remembered)

    def _details(self, judged: Judged, chosen: Chosen, marks: list[Marks], remembered: Ints) -> list[Details | None]:
        """Ask the network again for what verdicts say of labels, and of times that were not *remembered*.

        It is asked no further into a trace than they speak of it.
        """
        begins = judged.surprise.offsets[chosen.traces].tolist()
        last = np.array(
            [
                max((*one.network.values(), *(row for row in one.slow if remembered[begin + row] < 0)), default=-1)
                for one, begin in zip(marks, begins, strict=True)
            ]
        )
        unclear = np.flatnonzero(last >= 0)
        if not len(unclear):
            return [None] * len(marks)
        # A position takes the event that came there; behind the last event is the end.
        lengths = np.minimum(last + 1, chosen.last - chosen.first)[unclear]
        rows, offsets = rows_from(chosen.first[unclear], lengths)
        known = judged.known
        found = self._scorer.details(known.label[rows], known.scaled[rows], offsets, np.arange(len(unclear)))
        details: list[Details | None] = [None] * len(marks)
        for trace, one in zip(unclear.tolist(), found, strict=True):
            details[trace] = one
        return details

    def _explained(self, judged: Judged, chosen: Chosen, blamed: list[_Mark], remembered: Ints) -> list[Explained]:
        """Put what is to be blamed in words."""
        of_trace = np.array([one.trace for one in blamed], np.int64)
        at = np.array([one.row for one in blamed], np.int64)
        structural = np.array([one.structural for one in blamed], np.bool_)
        slow = np.array([one.row in one.marks.slow for one in blamed], np.bool_)
        of_calls = judged.channels[[LABEL, STEP]][:, chosen.traces[of_trace]].max(axis=0)
        of_times = chosen.strengths[[TIME, PLACE]][:, chosen.begin[of_trace] + at].max(axis=0)
        strongest = np.maximum(np.where(structural, of_calls, 0.0), np.where(slow, of_times, 0.0))
        scores = np.maximum(self._calibration.trace_tail.strength(strongest), self._rules.threshold)
        rows = chosen.first[of_trace] + at
        times = iter(self._of_times(judged, chosen, [one for one in blamed if one.row in one.marks.slow], remembered))
        spans: list[dict[int, SpanVerdict]] = [{} for _ in chosen.traces]
        missing: list[list[str]] = [[] for _ in chosen.traces]
        for one, score, row, span in zip(
            blamed, scores.tolist(), rows.tolist(), judged.events.span[rows].tolist(), strict=True
        ):
            values: dict[str, object] = {}
            if one.row in one.marks.rules:
                values |= self._by_rules(judged, row, one.marks.rules[one.row])
                missing[one.trace] += names(one.marks.rules[one.row].missing, self._dictionary)
            elif one.row in one.marks.network and one.details is not None:
                position = one.marks.network[one.row]
                trace = int(chosen.traces[one.trace])
                values |= self._by_network(judged, trace, position, one.details)
                if position == int(chosen.last[one.trace] - chosen.first[one.trace]):
                    top = tuple(one.details.top[position][:1].tolist())
                    missing[one.trace] += names(top, self._dictionary, END_ID)
            if one.row in one.marks.slow:
                values["expected_ms"], values["upper_ms"] = next(times)
            values["level"] = level(score, self._rules.threshold)
            spans[one.trace][span] = SpanVerdict(anomalous=True, type=one.type, score=score, **values)  # type: ignore[arg-type]
        return [Explained(found, tuple(dict.fromkeys(some))) for found, some in zip(spans, missing, strict=True)]

    def _of_times(
        self, judged: Judged, chosen: Chosen, slow: list[_Mark], remembered: Ints
    ) -> list[tuple[float, float]]:
        """Give what was expected of the response times of spans, and the bounds that they crossed, in milliseconds."""
        if not slow:
            return []
        of_trace, row = np.array([(one.trace, one.row) for one in slow], np.int64).T
        at = remembered[judged.surprise.offsets[chosen.traces[of_trace]] + row]
        seen = iter(normalised(judged.surprise.mixture[:, at[at >= 0]]))
        predicted = np.stack(
            [
                next(seen) if one.details is None or place >= 0 else one.details.mixture[one.row]
                for one, place in zip(slow, at.tolist(), strict=True)
            ]
        )
        first = chosen.first[of_trace]
        crossed = np.array([one.marks.slow[one.row] == TIME for one in slow], np.bool_)
        return self._times.bounds(judged, first, first + row, predicted, crossed)

    def _by_rules(self, judged: Judged, row: int, mark: StructuralMark) -> dict[str, object]:
        unseen = bool(judged.known.unseen[row]) and not mark.missing
        return {
            "rank": len(self._dictionary) if unseen else mark.expectation.rank,
            "probability": 0.0 if unseen else mark.expectation.probability,
            "expected": names(mark.expectation.expected, self._dictionary),
        }

    def _by_network(self, judged: Judged, trace: int, position: int, details: Details) -> dict[str, object]:
        first, last = judged.events.offsets[trace : trace + 2].tolist()
        unseen = position < last - first and bool(judged.known.unseen[first + position])
        surprise = float(judged.surprise.label[judged.surprise.offsets[trace] + position])
        return {
            "rank": len(self._dictionary) if unseen else int(details.rank[position]),
            "probability": 0.0 if unseen else float(np.exp(-surprise)),
            "expected": names(tuple(details.top[position].tolist()), self._dictionary),
        }


def _remembered(surprise: Surprise) -> Ints:
    """Say which of the predictions that came with *surprise* is that of each position; -1 = none of them `[positions]`."""
    remembered = np.full(len(surprise.label), -1)
    remembered[surprise.exceeded] = np.arange(len(surprise.exceeded))
    return remembered
