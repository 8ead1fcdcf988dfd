"""Tries a detector: on normal traces as they are, and on the same with anomalies of every kind among them.

Traces are judged as they would come: in the order of their time, some hundreds at once, by a detector that has seen
nothing yet; and anomalies are few among normal ones, since a detector may follow the traffic that it sees.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from otel_tracead.detection.quantile_rule import QuantileRule
from otel_tracead.detection.verdicts import TraceVerdict
from otel_tracead.evaluation.injections import KINDS, STRUCTURAL, inject, structures
from otel_tracead.traces.encoding import Events, concatenate, select

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_BATCH: Final = 512
_SHARE: Final = 0.02  # of anomalous traces among normal ones
_MOST_STREAMS: Final = 20  # in little traffic the share is larger, so that trying takes no hours


class Recognised(Protocol):
    """Which events a detector knows."""

    @property
    def unseen(self) -> Bools:
        """Whether the label of an event was not in its training at all `[m]`."""


class Assessed(Protocol):
    """What a detector knows of some traces."""

    @property
    def score(self) -> Floats:
        """-log10 of the share of normal traces that are as odd `[traces]`."""

    @property
    def known(self) -> Recognised:
        """Which of the events it knows."""


_Assessed = TypeVar("_Assessed", bound=Assessed)


class Candidate(Protocol[_Assessed]):
    """A detector as the check needs it; `ModelDetector` is one."""

    @property
    def threshold(self) -> float:
        """The score from which on a trace is marked."""

    def assess(self, events: Events) -> _Assessed:
        """Score traces."""

    def verdicts(self, judged: _Assessed) -> Sequence[TraceVerdict]:
        """Give the verdicts on them; spans are named by `Events.span`."""


@dataclass(slots=True)
class Outcome:
    """What became of some traces.

    Attributes:
        score: of each `[n]`.
        marked: which were marked `[n]`.
        scored: which got a verdict at all `[n]`.
        rule: score by the plain rule `[n]`.
    """

    score: Floats
    marked: Bools
    scored: Bools
    rule: Floats

    def __len__(self) -> int:
        """Count the traces."""
        return len(self.score)


@dataclass(slots=True)
class Anomalies(Outcome):
    """What became of traces with an anomaly of one kind.

    Attributes:
        located: whether an event that is rightly to blame is marked `[n]`.
        ordinary: whether the structure is that of a normal trace all the same `[n]`; None for kinds that leave it.
    """

    located: Bools
    ordinary: Bools | None


@dataclass(slots=True)
class Alarms:
    """Marks of one kind on normal traces.

    Attributes:
        traces: how many have such a mark.
        expected_ms: what was expected, where that is known.
        observed_ms: how long the marked spans took instead.
    """

    traces: int = 0
    expected_ms: list[float] = field(default_factory=list)
    observed_ms: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Tried:
    """What a detector did on one part of the traffic.

    Attributes:
        threshold: from which score on a trace is marked.
        normal: the traces as they are.
        anomalous: those with an anomaly, by kind; without kinds that the traffic has no place for, and without any where
            the model knows none of the traffic.
        alarms: marks on normal traces, by label and type.
        unknown: spans of normal traces with labels that the model never saw, by label.
        spans: of all normal traces.
    """

    threshold: float
    normal: Outcome
    anomalous: dict[str, Anomalies]
    alarms: dict[tuple[str, str], Alarms]
    unknown: Counter[str]
    spans: int


def try_out(
    make: Callable[[], Candidate[_Assessed]],
    events: Events,
    *,
    count: int,
    seed: int,
    reference: Events | None = None,
    progress: Callable[[float], None] = lambda _share: None,
) -> Tried:
    """Judge *events*, and *count* copies with an anomaly of each kind.

    Args:
        make: gives the detector as if it had seen nothing yet; called once for each stream of traces.
        events: normal traces, encoded with the detector's template.
        count: how many anomalies of each kind.
        seed: of what is random.
        reference: other normal traces, from which the plain rule takes what is usual; without them it takes that for
            either half of *events*, by time, from the other.
        progress: told the share that is done.
    """
    random = np.random.default_rng(seed)
    rule = _Rule(events, reference)
    detector = make()
    judged = _Stream(detector, events)
    scored = np.array([verdict.unscored is None for verdict in judged.verdicts], np.bool_)
    kinds: dict[str, tuple[Events, Ints, list[tuple[int, ...]]]] = {}
    for kind in KINDS if scored.any() else ():  # what gets no verdict gets none with an anomaly either
        injected = inject(events, kind, count, random)
        if injected is not None:
            kinds[kind] = injected.events, injected.source, injected.blame
    found = _judge_among(make, events, [part for part, _, _ in kinds.values()], random, progress)
    ordinary = set(structures(events))
    anomalous: dict[str, Anomalies] = {}
    for kind, (part, source, blame) in kinds.items():
        own = [next(found) for _ in blame]
        anomalous[kind] = Anomalies(
            score=np.array([score for score, _ in own]),
            marked=np.array([verdict.anomalous for _, verdict in own], np.bool_),
            scored=np.array([verdict.unscored is None for _, verdict in own], np.bool_),
            rule=rule.score(part, source),
            located=np.array(
                [any(row in verdict.spans for row in rows) for (_, verdict), rows in zip(own, blame, strict=True)],
                np.bool_,
            ),
            ordinary=np.array([one in ordinary for one in structures(part)], np.bool_) if kind in STRUCTURAL else None,
        )
    unknown = np.bincount(events.label[judged.unseen], minlength=len(events.labels))
    return Tried(
        threshold=float(detector.threshold),
        normal=Outcome(
            score=judged.score,
            marked=np.array([verdict.anomalous for verdict in judged.verdicts], np.bool_),
            scored=scored,
            rule=rule.score(events, np.arange(events.traces)),
        ),
        anomalous=anomalous,
        alarms=_alarms(events, judged.verdicts),
        unknown=Counter({events.labels[one]: int(unknown[one]) for one in np.flatnonzero(unknown).tolist()}),
        spans=len(events),
    )


def _by_time(events: Events) -> Ints:
    return np.argsort(events.began, kind="stable")


class _Rule:
    """The plain rule, with what is usual taken from traces that it does not judge."""

    def __init__(self, events: Events, reference: Events | None) -> None:
        self._half = np.zeros(events.traces, np.int64)
        if reference is not None:
            self._rules = [QuantileRule(reference)]
            return
        halves = np.array_split(_by_time(events), 2)
        self._half[halves[1]] = 1
        self._rules = [QuantileRule(select(events, half)) for half in reversed(halves)]

    def score(self, traces: Events, source: Ints) -> Floats:
        """Score *traces*, copies of the traces *source*."""
        scores = [rule.score(traces) for rule in self._rules]
        return np.choose(self._half[source], scores) if len(scores) > 1 else scores[0]


class _Stream:
    """Traces judged in the order of their time.

    Attributes:
        score: of each trace `[traces]`.
        verdicts: of each trace.
        unseen: whether the model never saw the label of an event `[m]`.
    """

    def __init__(self, detector: Candidate[_Assessed], events: Events) -> None:
        self.score = np.zeros(events.traces)
        self.unseen = np.zeros(len(events), np.bool_)
        by_trace: dict[int, TraceVerdict] = {}
        in_time = _by_time(events)
        for begin in range(0, len(in_time), _BATCH):
            chosen = in_time[begin : begin + _BATCH]
            judged = detector.assess(select(events, chosen))
            self.score[chosen] = judged.score
            rows = [np.arange(events.offsets[one], events.offsets[one + 1]) for one in chosen.tolist()]
            self.unseen[np.concatenate(rows)] = judged.known.unseen
            by_trace.update(zip(chosen.tolist(), detector.verdicts(judged), strict=True))
        self.verdicts = [by_trace[trace] for trace in range(events.traces)]


def _judge_among(
    make: Callable[[], Candidate[_Assessed]],
    normal: Events,
    parts: list[Events],
    random: np.random.Generator,
    progress: Callable[[float], None],
) -> Iterator[tuple[float, TraceVerdict]]:
    """Judge traces among *normal* ones, few at a time, each in its place in time; give them in their order."""
    if not parts:
        return
    traces = concatenate(parts)
    each = max(round(_SHARE * normal.traces), -(-traces.traces // _MOST_STREAMS), 1)
    mixed = random.permutation(traces.traces)
    found: dict[int, tuple[float, TraceVerdict]] = {}
    for begin in range(0, len(mixed), each):
        chosen = mixed[begin : begin + each]
        stream = _Stream(make(), concatenate([normal, select(traces, chosen)]))
        scores, verdicts = stream.score[normal.traces :].tolist(), stream.verdicts[normal.traces :]
        found.update(zip(chosen.tolist(), zip(scores, verdicts, strict=True), strict=True))
        progress((begin + len(chosen)) / len(mixed))
    yield from (found[trace] for trace in range(traces.traces))


def _alarms(events: Events, verdicts: Sequence[TraceVerdict]) -> dict[tuple[str, str], Alarms]:
    """Count the marks on normal traces by label and type, each once a trace."""
    alarms: dict[tuple[str, str], Alarms] = {}
    for trace, verdict in enumerate(verdicts):
        if not verdict.anomalous:
            continue
        first, last = events.offsets[trace : trace + 2].tolist()
        row_of = {span: first + row for row, span in enumerate(events.span[first:last].tolist())}
        counted = set()
        for span, mark in verdict.spans.items():
            if not mark.anomalous or mark.type is None:
                continue
            key = events.labels[int(events.label[row_of[span]])], mark.type.value
            own = alarms.setdefault(key, Alarms())
            if key not in counted:
                counted.add(key)
                own.traces += 1
            if mark.expected_ms is not None:
                own.expected_ms.append(mark.expected_ms)
                own.observed_ms.append(float(events.duration_us[row_of[span]]) / 1e3)
    return alarms
