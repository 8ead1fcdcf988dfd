"""Finds the events to blame in anomalous traces: for the calls around them, for their label, or for their time.

All anomalous traces of a batch are gone through together, as far as arrays go: one at a time, calls into numpy would cost
more than the rest of judging as soon as one trace in twenty is marked.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.artifact.calibration import CHANNELS, Calibration
from otel_tracead.detection.evidence import LABEL, PLACE, STEP, TIME, Judged, NewSteps
from otel_tracead.detection.explanation import StructuralMark, Transitions, blame_steps
from otel_tracead.detection.grammar import Grammar
from otel_tracead.detection.packing import rows_of
from otel_tracead.detection.rules import Rules
from otel_tracead.traces.dictionary import Dictionary
from otel_tracead.traces.labels import is_failure

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_fails: Final = lru_cache(maxsize=1 << 12)(is_failure)


@dataclass(slots=True)
class Marks:
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


@dataclass(slots=True)
class Chosen:
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


class Blame:
    """Finds the rows to blame in some traces of a batch.

    Which of the new steps of one trace is to blame, `otel_tracead.detection.explanation.blame_steps` says.

    Args:
        dictionary: of the model.
        calibration: of the model.
        grammar: of the calibration.
        rules: from when on something counts.
    """

    def __init__(self, dictionary: Dictionary, calibration: Calibration, grammar: Grammar, rules: Rules) -> None:
        self._calibration = calibration
        self._rules = rules
        self._transitions = Transitions(calibration, dictionary)
        self._grammar = grammar

    def choose(self, judged: Judged, traces: Ints) -> Chosen:
        """Gather what speaks against the events of *traces* `[t]`."""
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
        return Chosen(
            traces,
            first,
            last,
            begin,
            self._calibration.all_decades(raw),
            new,
            of_new,
            self._calibration.decades(found.step[ours], STEP),
        )

    def marks(self, judged: Judged, chosen: Chosen) -> list[Marks]:
        """Find the rows of each of the *chosen* traces that are to blame, trace by trace in their order."""
        wanted = np.full(len(chosen.traces), self._rules.wanted)
        if self._rules.calibrated:
            # The strongest always counts: the threshold is on the trace's scale, which was rounded once more.
            wanted = np.minimum(wanted, judged.channels[:, chosen.traces].max(axis=0))
        return [
            Marks(rules, network, slow)
            for (rules, network), slow in zip(
                self._structural_rows(judged, chosen, wanted), self._slow_rows(judged, chosen, wanted), strict=True
            )
        ]

    def _structural_rows(
        self, judged: Judged, chosen: Chosen, wanted: Floats
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

    def _slow_rows(self, judged: Judged, chosen: Chosen, wanted: Floats) -> list[dict[int, int]]:
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
