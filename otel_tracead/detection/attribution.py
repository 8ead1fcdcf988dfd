"""Attributes what speaks against anomalous traces to the spans to blame, with the numbers that their verdicts carry.

All anomalous traces of a batch are gone through together, as far as arrays go: one at a time, calls into numpy would cost
more than the rest of judging as soon as one trace in twenty is marked.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from otel_tracead.artifact.calibration import CHANNELS, Calibration
from otel_tracead.detection.evidence import LABEL, PLACE, STEP, TIME, Judged, NewSteps
from otel_tracead.detection.explanation import StructuralMark, Transitions, blame_steps, names
from otel_tracead.detection.grammar import Grammar
from otel_tracead.detection.packing import rows_of
from otel_tracead.detection.response_times import ResponseTimes
from otel_tracead.detection.rules import Rules
from otel_tracead.detection.scorer import Details, Scorer, Surprise, normalised
from otel_tracead.detection.trace_verdicts import level
from otel_tracead.detection.verdicts import AnomalyType, SpanVerdict
from otel_tracead.traces.dictionary import END_ID, Dictionary
from otel_tracead.traces.labels import is_failure

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_fails: Final = lru_cache(maxsize=1 << 12)(is_failure)


@dataclass(frozen=True, slots=True)
class Explained:
    """What an anomalous trace comes to.

    Attributes:
        spans: the verdicts of the spans to blame, by index.
        missing: labels that should have come and did not.
    """

    spans: dict[int, SpanVerdict]
    missing: tuple[str, ...]


@dataclass(slots=True)
class _Marks:
    """Rows of one trace to blame, counted from its first event.

    Attributes:
        rules: for its calls, by the rules of calls.
        network: for its label, by the network alone: the position that was surprising.
        slow: for its time: the channel that says so.
    """

    rules: dict[int, StructuralMark]
    network: dict[int, int]
    slow: dict[int, int]

    @property
    def rows(self) -> list[int]:
        """All of them, in order."""
        return sorted({*self.rules, *self.network, *self.slow})


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
    marks: _Marks
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


@dataclass(slots=True)
class _Chosen:
    """Some traces of a batch, with their events one behind the other.

    Attributes:
        traces: which they are `[t]`.
        first: row of the first event of each in the batch `[t]`, and
        last: the one behind its last `[t]`.
        begin: where the events of each begin here `[t + 1]`.
        strengths: of each event by channel, in the channel's decades `[channels, n]`.
        new: the new steps of these traces, with rows of the batch.
        of_new: which of the traces each of them belongs to `[new]`.
        decades: how strong each of them is `[new]`.
    """

    traces: Ints
    first: Ints
    last: Ints
    begin: Ints
    strengths: Floats
    new: NewSteps
    of_new: Ints
    decades: Floats


class Attribution:
    """Finds the spans to blame in anomalous traces.

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
        self._transitions = Transitions(calibration, dictionary)
        self._grammar = grammar
        self._times = ResponseTimes(calibration, rules)

    def normal(self, judged: Judged, trace: int) -> dict[int, SpanVerdict]:
        """Give every span of a trace a verdict as if it were normal: its own evidence may be explained by another span."""
        strongest = self._choose(judged, np.array([trace])).strengths.max(axis=0)
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
        chosen = self._choose(judged, traces)
        marks = self._marks(judged, chosen)
        remembered = _remembered(judged.surprise)
        details = self._details(judged, chosen, marks, remembered)
        blamed = [_Mark(trace, row, one, details[trace]) for trace, one in enumerate(marks) for row in one.rows]
        return self._explained(judged, chosen, blamed, remembered)

    def _details(self, judged: Judged, chosen: _Chosen, marks: list[_Marks], remembered: Ints) -> list[Details | None]:
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
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        rows = np.arange(offsets[-1]) + np.repeat(chosen.first[unclear] - offsets[:-1], lengths)
        known = judged.known
        found = self._scorer.details(known.label[rows], known.scaled[rows], offsets, np.arange(len(unclear)))
        details: list[Details | None] = [None] * len(marks)
        for trace, one in zip(unclear.tolist(), found, strict=True):
            details[trace] = one
        return details

    def _choose(self, judged: Judged, traces: Ints) -> _Chosen:
        """Gather what speaks against the events of *traces*."""
        events, found = judged.events, judged.evidence
        first, last = events.offsets[traces], events.offsets[traces + 1]
        rows, begin = rows_of(traces, events.offsets)
        raw = np.zeros((len(CHANNELS), len(rows)))
        for channel, values in ((LABEL, found.label), (TIME, found.time), (PLACE, found.place)):
            raw[channel] = values[rows]
        place = np.full(events.traces, -1)
        place[traces] = np.arange(len(traces))
        of_new = place[found.new.trace]
        ours = np.flatnonzero(of_new >= 0)
        new, of_new = NewSteps(*(column[ours] for column in found.new)), of_new[ours]
        to = np.where(new.event >= 0, new.event, new.caller)
        there = to >= 0
        at = to[there] - (first - begin[:-1])[of_new[there]]
        np.maximum.at(raw[STEP], at, found.step[ours][there])
        return _Chosen(
            traces,
            first,
            last,
            begin,
            self._calibration.all_decades(raw),
            new,
            of_new,
            self._calibration.decades(found.step[ours], STEP),
        )

    def _marks(self, judged: Judged, chosen: _Chosen) -> list[_Marks]:
        """Find the rows of each trace that are to blame."""
        wanted = np.full(len(chosen.traces), self._rules.wanted)
        if self._rules.calibrated:
            # The strongest always counts: the threshold is on the trace's scale, which was rounded once more.
            wanted = np.minimum(wanted, judged.channels[:, chosen.traces].max(axis=0))
        return [
            _Marks(rules, network, slow)
            for (rules, network), slow in zip(
                self._structural_rows(judged, chosen, wanted), self._slow_rows(judged, chosen, wanted), strict=True
            )
        ]

    def _structural_rows(
        self, judged: Judged, chosen: _Chosen, wanted: Floats
    ) -> list[tuple[dict[int, StructuralMark], dict[int, int]]]:
        if self._rules.top_k is not None:
            return [({}, self._unlikely_rows(judged, trace)) for trace in chosen.traces.tolist()]
        strong = np.flatnonzero(chosen.decades >= wanted[chosen.of_new])
        new: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        columns = (chosen.new.caller, chosen.new.before, chosen.new.event)
        offset = chosen.first[chosen.of_new[strong]]
        steps = np.stack([np.maximum(column[strong] - offset, -1) for column in columns], axis=1)
        for trace, (caller, before, came) in zip(chosen.of_new[strong].tolist(), steps.tolist(), strict=True):
            new[trace].append((caller, before, came))
        over = _first_of_each(chosen.strengths[LABEL] >= np.repeat(wanted, np.diff(chosen.begin)), chosen.begin)
        ending = self._calibration.decades(judged.evidence.ending[chosen.traces], LABEL) >= wanted
        found: list[tuple[dict[int, StructuralMark], dict[int, int]]] = []
        for trace, (first, last) in enumerate(zip(chosen.first.tolist(), chosen.last.tolist(), strict=True)):
            rules: dict[int, StructuralMark] = {}
            network: dict[int, int] = {}
            if trace in new:
                rules = self._by_steps(judged, first, last, new[trace])
            elif over[trace] >= 0:
                network = {over[trace]: over[trace]}
            elif ending[trace]:
                network = {last - first - 1: last - first}
            found.append((rules, network))
        return found

    def _unlikely_rows(self, judged: Judged, trace: int) -> dict[int, int]:
        first, last = judged.events.offsets[trace : trace + 2].tolist()
        positions = self._rules.unlikely(judged, trace, trace + 1)
        # The end of a trace is no span: the last one stands for it, unless it is to blame itself.
        return {min(position, last - first - 1): position for position in np.flatnonzero(positions)[::-1].tolist()}

    def _by_steps(
        self, judged: Judged, first: int, last: int, new: list[tuple[int, int, int]]
    ) -> dict[int, StructuralMark]:
        events = judged.events
        marks = blame_steps(
            new,
            judged.known.label[first:last],
            np.maximum(events.parent[first:last] - first, -1),
            self._transitions,
            np.array([_fails(events.labels[one]) for one in events.label[first:last].tolist()]),
            self._grammar.usual,
        )
        return {mark.row: mark for mark in marks}

    def _slow_rows(self, judged: Judged, chosen: _Chosen, wanted: Floats) -> list[dict[int, int]]:
        """Give the rows of each trace with a response-time anomaly, and the channel that says so."""
        if self._rules.confidence is not None:
            return [
                dict.fromkeys(np.flatnonzero(self._rules.long(judged, trace, trace + 1)).tolist(), TIME)
                for trace in chosen.traces.tolist()
            ]
        lengths = np.diff(chosen.begin)
        of_row, by_row = np.repeat(np.arange(len(lengths)), lengths), np.repeat(wanted, lengths)
        slow: list[dict[int, int]] = [{} for _ in lengths]
        rows = np.flatnonzero(chosen.strengths[TIME] >= by_row)
        for trace, row in zip(of_row[rows].tolist(), (rows - chosen.begin[of_row[rows]]).tolist(), strict=True):
            slow[trace][row] = TIME
        for trace in np.unique(of_row[chosen.strengths[PLACE] >= by_row]).tolist():
            first, last = int(chosen.first[trace]), int(chosen.last[trace])
            place, tail = judged.evidence.place_of[first:last], judged.evidence.tail[first:last]
            strong = chosen.strengths[PLACE, chosen.begin[trace] : chosen.begin[trace + 1]] >= wanted[trace]
            for one in np.unique(place[strong]).tolist():
                members = np.flatnonzero(place == one)
                if not any(row in slow[trace] for row in members.tolist()):
                    slow[trace][int(members[np.argmax(tail[members])])] = PLACE
        return slow

    def _explained(self, judged: Judged, chosen: _Chosen, blamed: list[_Mark], remembered: Ints) -> list[Explained]:
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
        self, judged: Judged, chosen: _Chosen, slow: list[_Mark], remembered: Ints
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


def _first_of_each(holds: npt.NDArray[np.bool_], begin: Ints) -> list[int]:
    """Give the first place of each part at which it *holds*, counted from where the part begins; -1 = nowhere.

    Args:
        holds: `[n]`.
        begin: of each part, and the end of the last `[parts + 1]`.
    """
    where = np.append(np.flatnonzero(holds), len(holds))
    found = where[np.searchsorted(where, begin[:-1])]
    first: list[int] = np.where(found < begin[1:], found - begin[:-1], -1).tolist()
    return first
