"""Which span is to blame, and in what words: from the evidence of one anomalous trace to its span verdicts.

One anomaly marks one event: what merely follows from it (the calls after an extra one, the callers above an abort, the
parents whose time contains a slow child) is left alone.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.artifact.calibration import Calibration
from otel_tracead.detection.grammar import NO_CALLER
from otel_tracead.detection.mixture import first
from otel_tracead.traces.dictionary import RARE_ID, Dictionary

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_NOTHING_BEFORE: Final = -2
_NONE: Final = (NO_CALLER, _NOTHING_BEFORE)
_LONGEST_GAP: Final = 3
_LIKELY: Final = 0.05
_MOST_CHAINS: Final = 24
_TOP: Final = 3


Usual = Callable[[int, Sequence[Sequence[int]]], npt.NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the rules of calls expect at one place.

    Attributes:
        rank: how many labels came more often there than the one that came; the size of the dictionary where nothing
            ever came there.
        probability: how often the one that came did.
        expected: the labels that came most often there, best first (dictionary indices).
    """

    rank: int
    probability: float
    expected: tuple[int, ...]


class Transitions:
    """How often which label followed which under a caller; the same rows as `Calibration.transitions`."""

    def __init__(self, calibration: Calibration, dictionary: Dictionary) -> None:
        self._labels = len(dictionary)
        self._after: dict[tuple[int, int], dict[int, int]] = defaultdict(dict)
        for caller, before, came, count in calibration.transitions.tolist():
            self._after[(caller, before)][came] = count

    def expectation(self, caller: int, before: int, came: int) -> Expectation:
        """Say what was expected under *caller* after *before* (-3 and -2 where there is none), and how *came* ranks."""
        counts = self._after.get((caller, before), {})
        total = sum(counts.values())
        own = counts.get(came, 0)
        ranked = sorted(counts, key=lambda label: (-counts[label], label))
        rank = sum(count > own for count in counts.values()) if counts else self._labels
        return Expectation(rank, own / total if total else 0.0, tuple(ranked[:_TOP]))

    def gaps(self, caller: int, before: int, came: int) -> Iterator[tuple[int, ...]]:
        """Give chains of usual calls that would make *came* usual after *before*, the shortest and most usual first."""
        frontier: list[tuple[int, ...]] = [()]
        for _ in range(_LONGEST_GAP):
            longer: list[tuple[int, ...]] = []
            for chain in frontier:
                counts = self._after.get((caller, chain[-1] if chain else before), {})
                total = sum(counts.values())
                for label in sorted(counts, key=lambda one: (-counts[one], one)):
                    if label == 0 or counts[label] < _LIKELY * total:
                        continue
                    grown = (*chain, label)
                    if came in self._after.get((caller, label), {}):
                        yield grown
                    longer.append(grown)
            frontier = longer[:50]


@dataclass(frozen=True, slots=True)
class StructuralMark:
    """One structural anomaly of a trace.

    Attributes:
        row: the event to blame.
        expectation: what was expected there, by the rules of calls; where labels are missing, how `!0` ranks there.
        missing: labels that should have come (dictionary indices).
    """

    row: int
    expectation: Expectation
    missing: tuple[int, ...]


def blame_steps(
    new: list[tuple[int, int, int]],
    label: Ints,
    parent: Ints,
    transitions: Transitions,
    failed: npt.NDArray[np.bool_],
    usual: Usual,
) -> list[StructuralMark]:
    """Find the events to blame for the new steps of one trace.

    What makes a caller's calls usual again is what is wrong with them: two neighbours that change places, else a chain of
    calls that is put in (they are missing), else the call that came is one too many.

    A failure travels up: each caller of a failed call often fails in turn. Where a new step is a failed event, the last
    failed call below it is to blame.

    Args:
        new: (caller row or -1, row of the call before or -1, row that came or -1 for the end) of each new step.
        label: dictionary index of each event of the trace.
        parent: row of each event's caller, -1 = none.
        transitions: of the model.
        failed: whether each event's label says that it failed.
        usual: says of a caller's label and some sequences of calls which of them have no new step.
    """
    children: dict[int, list[int]] = defaultdict(list)
    for row, caller in enumerate(parent.tolist()):
        children[caller].append(row)
    previous = {row: before for calls in children.values() for before, row in zip([-1, *calls], calls, strict=False)}
    strange = {came for _, _, came in new if came >= 0}
    ended = {caller for caller, _, came in new if came < 0}
    marks: dict[int, StructuralMark] = {}
    done: set[int] = set()
    # In order of the trace: the first new step of a caller's calls explains those after it.
    for caller, before, came in sorted(new, key=lambda step: step[2] if step[2] >= 0 else len(label) + step[0]):
        if caller in done or _below(caller, strange, parent):
            continue
        if came < 0 and caller >= 0 and _cut_below(caller, ended, children):
            continue  # its last call was cut off, and that one is to blame
        done.add(caller)
        caller_label = int(label[caller]) if caller >= 0 else NO_CALLER
        before_label = int(label[before]) if before >= 0 else _NOTHING_BEFORE
        came_label = int(label[came]) if came >= 0 else 0
        calls = children[caller]
        place = calls.index(came) if came >= 0 else len(calls)
        gaps = transitions.gaps(caller_label, before_label, came_label)
        missing = _missing(label[calls].tolist(), place, caller_label, gaps, usual)
        expectation = transitions.expectation(caller_label, before_label, 0 if missing else came_label)
        if came < 0 or missing:
            if not missing:
                missing = tuple(one for one in expectation.expected[:1] if one)
            row = caller if caller >= 0 else before if before >= 0 else max(came, 0)
        else:
            row = _source(came, failed, children)
            if row != came:
                at = (int(parent[row]), previous[row])
                caller_label, before_label = (
                    int(label[one]) if one >= 0 else none for one, none in zip(at, _NONE, strict=True)
                )
                expectation = transitions.expectation(caller_label, before_label, int(label[row]))
        if row not in marks or (missing and not marks[row].missing):
            marks[row] = StructuralMark(row, expectation, missing)
    return list(marks.values())


def _swapped(calls: list[int], at: int, caller: int, usual: Usual) -> bool:
    """Say whether the call at *at* and its neighbour would be usual in the other order."""
    first = min(at, len(calls) - 2)
    if first < 0 or calls[first] == calls[first + 1]:
        return False
    other = [*calls[:first], calls[first + 1], calls[first], *calls[first + 2 :]]
    return bool(usual(caller, [other])[0])


def _missing(calls: list[int], at: int, caller: int, gaps: Iterable[tuple[int, ...]], usual: Usual) -> tuple[int, ...]:
    """Choose the chain of calls that is missing before *at*, if one is.

    None where two calls changed places. Else the first of *gaps* that makes all calls usual; else the first that makes the
    next one usual and does not come later anyway: a call that comes later is not missing but out of order.
    """
    if at < len(calls) and (calls[at] == RARE_ID or _swapped(calls, at, caller, usual)):
        return ()
    chains = list(islice(gaps, _MOST_CHAINS))
    if not chains:
        return ()
    whole = usual(caller, [[*calls[:at], *chain, *calls[at:]] for chain in chains])
    if whole.any():
        return chains[int(np.argmax(whole))]
    later = set(calls[at:])
    return next((chain for chain in chains if later.isdisjoint(chain)), ())


def _source(row: int, failed: npt.NDArray[np.bool_], children: dict[int, list[int]]) -> int:
    """Follow a failure from *row* down to the last failed call that made no failed call itself."""
    while failed[row]:
        below = [child for child in children[row] if failed[child]]
        if not below:
            break
        row = below[-1]
    return row


def _below(row: int, strange: set[int], parent: Ints) -> bool:
    """Whether *row* or a caller above it is itself new: then what it calls was never to be expected."""
    while row >= 0:
        if row in strange:
            return True
        row = int(parent[row])
    return False


def _cut_below(caller: int, ended: set[int], children: dict[int, list[int]]) -> bool:
    row = caller
    while children[row]:
        row = children[row][-1]
        if row in ended:
            return True
    return False


def names(indices: tuple[int, ...], dictionary: Dictionary, without: int | None = None) -> tuple[str, ...]:
    """Give the labels of dictionary indices, but of *without*; the end is `!0`."""
    return tuple(dictionary.labels[index] for index in indices if index != without and index < len(dictionary))


def bound(strength: Callable[[Floats], Floats], low: Floats, high: Floats, wanted: float) -> Floats:
    """Find the times between *low* and *high* (µs) from which on `strength(times)` reaches *wanted*; *low* where it is above *high* `[n]`.

    Args:
        strength: says how strong times `[points, n]` are; it grows along the points.
        low: where to begin to look `[n]`.
        high: where to stop `[n]`.
        wanted: to be reached.
    """
    high = np.maximum(low, high)
    # Times spread over decades.
    found = first(lambda log: strength(10.0**log - 1.0) >= wanted, np.log10(1.0 + low), np.log10(1.0 + high))
    return np.where(low < high, np.minimum(10.0**found - 1.0, high), low)
