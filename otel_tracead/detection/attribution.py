"""Attributes what speaks against an anomalous trace to the spans to blame, with the numbers that their verdicts carry."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.artifact.calibration import CHANNELS, Calibration
from otel_tracead.detection import mixture
from otel_tracead.detection.evidence import (
    LABEL,
    PLACE,
    SCALE_FLOOR,
    STEP,
    TIME,
    Judged,
    from_scaled,
    long_time,
    rules_of_calls,
    typical_trace,
)
from otel_tracead.detection.explanation import (
    StructuralMark,
    Transitions,
    blame_steps,
    bound,
    names,
)
from otel_tracead.detection.rules import Rules
from otel_tracead.detection.scorer import LONG, Details, Scorer
from otel_tracead.detection.trace_verdicts import level
from otel_tracead.detection.verdicts import AnomalyType, SpanVerdict
from otel_tracead.traces.dictionary import END_ID, Dictionary
from otel_tracead.traces.labels import is_failure

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_BELOW: Final = 1.0 - 1e-9


@dataclass(slots=True)
class _Marks:
    """Rows to blame, counted from the trace's first event.

    Attributes:
        rules: for its calls, by the rules of calls.
        network: for its label, by the network alone: the position that was surprising.
        slow: for its time: the channel that says so.
    """

    rules: dict[int, StructuralMark]
    network: dict[int, int]
    slow: dict[int, int]


@dataclass(frozen=True, slots=True)
class Explained:
    """What an anomalous trace comes to.

    Attributes:
        spans: the verdicts of the spans to blame, by index.
        missing: labels that should have come and did not.
    """

    spans: dict[int, SpanVerdict]
    missing: tuple[str, ...]


class Attribution:
    """Finds the spans to blame in anomalous traces.

    Args:
        dictionary: of the model.
        calibration: of the model.
        scorer: of the model's network.
        rules: from when on something counts.
    """

    def __init__(self, dictionary: Dictionary, calibration: Calibration, scorer: Scorer, rules: Rules) -> None:
        self._dictionary = dictionary
        self._calibration = calibration
        self._scorer = scorer
        self._rules = rules
        self._transitions = Transitions(calibration, dictionary)
        self._grammar = rules_of_calls(calibration)

    def normal(self, judged: Judged, trace: int) -> dict[int, SpanVerdict]:
        """Give every span of a trace a verdict as if it were normal: its own evidence may be explained by another span."""
        strongest = self._strengths(judged, trace).max(axis=0)
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
        strengths = [self._strengths(judged, trace) for trace in traces.tolist()]
        marks = [self._marks(judged, trace, own) for trace, own in zip(traces.tolist(), strengths, strict=True)]
        unclear = np.array([bool(one.slow or one.network) for one in marks], np.bool_)
        known = judged.known
        detailed = iter(self._scorer.details(known.label, known.scaled, judged.events.offsets, traces[unclear]))
        details = [next(detailed) if one else None for one in unclear.tolist()]
        return [self._explain(judged, *one) for one in zip(traces.tolist(), strengths, marks, details, strict=True)]

    def _explain(
        self, judged: Judged, trace: int, strengths: Floats, marks: _Marks, details: Details | None
    ) -> Explained:
        first, last = judged.events.offsets[trace : trace + 2].tolist()
        rows = sorted({*marks.rules, *marks.network, *marks.slow})
        structural = float(judged.channels[[LABEL, STEP], trace].max())
        strongest = [
            max(
                structural if row in marks.rules or row in marks.network else 0.0,
                float(strengths[[TIME, PLACE], row].max()) if row in marks.slow else 0.0,
            )
            for row in rows
        ]
        scores = np.maximum(self._calibration.trace_tail.strength(np.array(strongest)), self._rules.threshold)
        spans: dict[int, SpanVerdict] = {}
        missing: list[str] = []
        for row, score in zip(rows, scores.tolist(), strict=True):
            values: dict[str, object] = {}
            kind = AnomalyType.STRUCTURAL if row not in marks.slow else AnomalyType.RESPONSE_TIME
            if row in marks.slow and (row in marks.rules or row in marks.network):
                kind = AnomalyType.BOTH
            if row in marks.rules:
                mark = marks.rules[row]
                values |= self._by_rules(judged, first + row, mark)
                missing.extend(names(mark.missing, self._dictionary))
            elif row in marks.network and details is not None:
                position = marks.network[row]
                values |= self._by_network(judged, trace, position, details)
                if position == last - first:
                    missing.extend(names(tuple(details.top[position][:1].tolist()), self._dictionary, END_ID))
            if row in marks.slow and details is not None:
                values |= self._times(judged, first, first + row, details.mixture[row], marks.slow[row])
            span = int(judged.events.span[first + row])
            values["level"] = level(score, self._rules.threshold)
            spans[span] = SpanVerdict(anomalous=True, type=kind, score=score, **values)  # type: ignore[arg-type]
        return Explained(spans, tuple(dict.fromkeys(missing)))

    def _strengths(self, judged: Judged, trace: int) -> Floats:
        """Give the strength of each event of a trace by channel, in the channel's decades `[channels, n]`."""
        first, last = judged.events.offsets[trace : trace + 2].tolist()
        rows = slice(first, last)
        decades, found = self._calibration.decades, judged.evidence
        strengths = np.zeros((len(CHANNELS), last - first))
        for channel, values in ((LABEL, found.label), (TIME, found.time), (PLACE, found.place)):
            strengths[channel] = decades(values[rows], channel)
        ours = found.steps.of(trace, first, last)
        ours = ours[found.new[ours]]
        to = np.where(found.steps.event[ours] >= 0, found.steps.event[ours], found.steps.caller[ours])
        np.maximum.at(strengths[STEP], to[to >= 0] - first, decades(found.step[ours[to >= 0]], STEP))
        return strengths

    def _marks(self, judged: Judged, trace: int, strengths: Floats) -> _Marks:
        # The strongest always counts: the threshold is on the trace's scale, which was rounded once more.
        wanted = self._rules.wanted
        if self._rules.calibrated:
            wanted = min(wanted, float(judged.channels[:, trace].max()))
        by_rules, by_network = self._structural_rows(judged, trace, strengths, wanted)
        return _Marks(by_rules, by_network, self._slow_rows(judged, trace, strengths, wanted))

    def _structural_rows(
        self, judged: Judged, trace: int, strengths: Floats, wanted: float
    ) -> tuple[dict[int, StructuralMark], dict[int, int]]:
        events, found = judged.events, judged.evidence
        first, last = events.offsets[trace : trace + 2].tolist()
        if self._rules.top_k is not None:
            positions = self._rules.unlikely(judged, trace, trace + 1)
            # The end of a trace is no span: the last one stands for it, unless it is to blame itself.
            rows = {min(position, last - first - 1): position for position in np.flatnonzero(positions)[::-1].tolist()}
            return {}, rows
        decades = self._calibration.decades
        ours = found.steps.of(trace, first, last)
        ours = ours[found.new[ours]]
        strong = ours[decades(found.step[ours], STEP) >= wanted]
        if len(strong):
            columns = (found.steps.caller, found.steps.before, found.steps.event)
            new = np.stack([np.maximum(column[strong] - first, -1) for column in columns], axis=1).tolist()
            parent = np.maximum(events.parent[first:last] - first, -1)
            marks = blame_steps(
                [(caller, before, came) for caller, before, came in new],
                judged.known.label[first:last],
                parent,
                self._transitions,
                np.array([is_failure(events.labels[one]) for one in events.label[first:last].tolist()]),
                self._grammar.usual,
            )
            return {mark.row: mark for mark in marks}, {}
        over = np.flatnonzero(strengths[LABEL] >= wanted)
        if len(over):
            return {}, {int(over[0]): int(over[0])}
        ending = float(decades(found.ending[trace : trace + 1], LABEL)[0])
        return {}, {last - first - 1: last - first} if ending >= wanted else {}

    def _slow_rows(self, judged: Judged, trace: int, strengths: Floats, wanted: float) -> dict[int, int]:
        """Give the rows with a response-time anomaly, and the channel that says so."""
        first, last = judged.events.offsets[trace : trace + 2].tolist()
        if self._rules.confidence is not None:
            return dict.fromkeys(np.flatnonzero(self._rules.long(judged, trace, trace + 1)).tolist(), TIME)
        slow = dict.fromkeys(np.flatnonzero(strengths[TIME] >= wanted).tolist(), TIME)
        place = judged.evidence.place_of[first:last]
        tail = judged.evidence.tail[first:last]
        for one in np.unique(place[strengths[PLACE] >= wanted]).tolist():
            members = np.flatnonzero(place == one)
            if not any(row in slow for row in members.tolist()):
                slow[int(members[np.argmax(tail[members])])] = PLACE
        return slow

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

    def _times(
        self, judged: Judged, first: int, row: int, predicted: npt.NDArray[np.float32], channel: int
    ) -> dict[str, object]:
        """Give what was expected of the response time of the span in *row*, whose trace begins at *first*, and the bound.

        Both in milliseconds.
        """
        events, known, calibration = judged.events, judged.known, self._calibration
        label = int(known.label[row])
        center, scale = float(calibration.center[label]), max(float(calibration.scale[label]), SCALE_FLOOR)
        # Told as of today, so with the drift; worked out as in training, so without it.
        own, drifted = float(known.own_us[row]), 10.0 ** float(known.shift[row])
        raw = float(events.self_us[row])
        covered = float(events.duration_us[row]) - raw
        here = known.label[row : row + 1]
        expected = min(float(from_scaled(np.array([mixture.median(predicted)]), here, calibration)[0]), own)
        long = mixture.exceeded_by(predicted[None], LONG)
        long_us = from_scaled(long, here, calibration)
        typical = typical_trace(known.label[first : first + 1], calibration)

        def strength(own_us: Floats) -> Floats:
            if self._rules.confidence is not None:
                surprise = mixture.surprise(predicted, (np.log10(1.0 + own_us) - center) / scale)
                return np.where(surprise > self._rules.longest_nats, self._rules.wanted, 0.0)
            return calibration.decades(long_time(own_us, long_us, typical), TIME)

        upper = bound(strength, expected, own, self._rules.wanted) if channel == TIME else expected
        expected, upper = ((1.0 + one) * drifted - 1.0 for one in (expected, upper))
        observed_ms = (covered + raw) / 1e3
        upper_ms = min((covered + upper) / 1e3, observed_ms * _BELOW)
        return {"expected_ms": min((covered + expected) / 1e3, upper_ms), "upper_ms": upper_ms}
