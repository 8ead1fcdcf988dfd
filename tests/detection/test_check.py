"""The check: a detector that works passes, and each kind of detector that does not fails for a reason of its own."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
from tiny_model import shop_traces

from otel_tracead.detection.check import CheckResult, Tried, conclude, try_out
from otel_tracead.detection.detector import DetectionSettings, ModelDetector, load_detector
from otel_tracead.detection.trial import Alarms, Anomalies, Outcome
from otel_tracead.detection.verdicts import AnomalyType, SpanVerdict, TraceVerdict
from otel_tracead.evaluation.injections import structures
from otel_tracead.traces.encoding import Encoder, Events, select
from otel_tracead.traces.labels import LabelTemplate

THRESHOLD, BUDGET = 2.0, 0.01


@dataclass
class Known:
    unseen: np.ndarray


@dataclass
class Judged:
    score: np.ndarray
    known: Known


class Fake:
    """A detector whose scores are what *score* says of the traces, and that marks the first span."""

    threshold = THRESHOLD

    def __init__(self, score: Callable[[Events], np.ndarray], *, unknown: bool = False) -> None:
        self._score = score
        self._unknown = unknown

    def assess(self, events: Events) -> Judged:
        return Judged(self._score(events), Known(np.full(len(events), self._unknown)))

    def verdicts(self, judged: Judged) -> Sequence[TraceVerdict]:
        if self._unknown:
            return [TraceVerdict(verdict_span=0, complete=True, unscored="unknown_traffic") for _ in judged.score]
        mark = SpanVerdict(anomalous=True, score=9.0, type=AnomalyType.STRUCTURAL)
        return [
            TraceVerdict(verdict_span=0, complete=True, anomalous=bool(one), score=0.0, spans={0: mark} if one else {})
            for one in judged.score >= THRESHOLD
        ]


def calibrated(count: int, seed: int) -> np.ndarray:
    """Scores of normal traces as a calibrated detector gives them: one in a hundred reaches 2."""
    return -np.log10(np.random.default_rng(seed).uniform(size=count))


@pytest.fixture(scope="module")
def events() -> Events:
    return Encoder(LabelTemplate()).encode(shop_traces(seed=5, duration_s=30.0))


def tried_with(score: Callable[[Events], np.ndarray], events: Events, **options: bool) -> CheckResult:
    return conclude([try_out(lambda: Fake(score, **options), events, count=20, seed=0)], BUDGET)


def guessing(traces: Events) -> np.ndarray:
    return calibrated(traces.traces, int(traces.start[0] % 1_000_003) + len(traces))


def knowing(events: Events) -> Callable[[Events], np.ndarray]:
    """Scores of a detector that tells new structures and times above all of the normal ones."""
    seen, longest = set(structures(events)), np.max(events.self_us)

    def score(traces: Events) -> np.ndarray:
        new = np.array([one not in seen for one in structures(traces)])
        slow = np.maximum.reduceat(traces.self_us, traces.offsets[:-1]) > longest
        return np.where(new | slow, 4.0, 0.0) + guessing(traces)

    return score


def test_a_detector_that_works_passes(events) -> None:
    result = tried_with(knowing(events), events)
    assert (result.passed, result.reasons) == (True, ())
    figures = result.figures
    assert figures["auc"] > 0.9
    assert figures["clean_marked"] <= 0.03
    assert figures["recall"] > 0.8 > 0.4 > figures["plain_rule_recall"]
    assert figures["precision_at_0.01"] >= figures["precision_at_0.001"] > 0.001
    assert figures["f1_always_alarm_at_0.01"] == pytest.approx(0.02 / 1.01)
    kinds = {kind.name: kind for kind in result.findings.kinds}
    assert kinds["replaced"].tried == 20
    assert kinds["stall"].ordinary is None
    assert kinds["stall"].rule > 0.3 > kinds["swapped"].rule
    assert not kinds["slowdown"].counts


@pytest.mark.parametrize(
    ("score", "reasons"),
    [
        (guessing, ["AUC", "finds", "F1 0.0", "rule"]),
        (lambda traces: np.zeros(traces.traces), ["all scores are the same", "finds 0%"]),
        (
            lambda traces: np.full(traces.traces, 9.0),
            ["all scores are the same", "marks at least", "marking every trace"],
        ),
        # Marks everything, and every threshold would: only its scores differ a little.
        (
            lambda traces: 8.0 + 0.1 * guessing(traces),
            ["marks at least", "marking every trace", "threshold changes nothing"],
        ),
        # Ranks well, and marks nothing at any threshold.
        (lambda traces: 0.1 + np.diff(traces.offsets) / 1e6, ["finds 0%", "threshold changes nothing", "F1 0.0000"]),
    ],
    ids=["random", "constant", "constant alarm", "always alarm", "never alarm"],
)
def test_a_detector_that_does_not_work_fails_for_its_own_reasons(events, score, reasons) -> None:
    result = tried_with(score, events)
    assert not result.passed
    for expected in reasons:
        assert any(expected in reason for reason in result.reasons), (expected, result.reasons)


def test_a_detector_that_marks_too_many_normal_traces_fails_however_much_it_finds(events) -> None:
    knows = knowing(events)
    result = tried_with(lambda traces: knows(traces) + 1.5, events)
    assert result.figures["recall"] > 0.9
    assert [reason for reason in result.reasons if "3 times the budget" in reason]
    assert result.findings.alarms[0].type == "structural"
    assert any(
        sentence.startswith("Most frequent of those") and " structural at " in sentence for sentence in result.words
    )


def test_traffic_that_the_model_does_not_know_is_the_reason_before_all_others(events) -> None:
    result = tried_with(guessing, events, unknown=True)
    assert result.reasons[0].startswith("the model does not know this traffic: 100% of the traces")
    assert max(Counter(events.label.tolist()).values()) == result.findings.unknown[0][1]
    assert result.findings.unknown[0][0] in result.reasons[0]
    assert result.figures["unknown_labels"] == 1.0
    assert result.findings.kinds == ()
    assert len(result.reasons) == 1


def test_too_few_traces_tell_nothing(events) -> None:
    few = select(events, np.arange(98))
    result = tried_with(knowing(few), few)
    assert [
        reason for reason in result.reasons if reason.startswith("too few traces to tell: 98, and a budget of 1.00%")
    ]
    assert "99" in result.reasons[0]
    enough = select(events, np.arange(99))
    assert not any("too few" in reason for reason in tried_with(knowing(enough), enough).reasons)


def test_traffic_in_which_nothing_can_be_tried_fails() -> None:
    score = calibrated(500, 1)
    normal = Outcome(score, score >= THRESHOLD, np.ones(500, np.bool_), np.zeros(500))
    result = conclude([Tried(THRESHOLD, normal, {}, {}, Counter(), 500)], BUDGET)
    assert not result.passed
    assert "no anomaly could be injected into this traffic, so nothing was tried" in result.reasons


def outcome(found: np.ndarray, rule: np.ndarray) -> Anomalies:
    size = len(found)
    yes = np.ones(size, np.bool_)
    return Anomalies(np.where(found, 3.0, 1.0), found, yes, rule, yes, None)


def test_a_detector_that_loses_to_the_plain_rule_fails_and_one_that_loses_a_kind_says_so() -> None:
    score = calibrated(2000, 1)
    normal = Outcome(score, score >= THRESHOLD, np.ones(2000, np.bool_), calibrated(2000, 2))
    half, most = np.arange(100) < 50, np.arange(100) < 90
    lost = {"stall": outcome(half, np.where(most, 8.0, 0.0))}
    result = conclude([Tried(THRESHOLD, normal, lost, {}, Counter(), 1)], BUDGET)
    assert len(result.reasons) == 1
    assert "a plain rule for each label's own times finds 90.0%" in result.reasons[0]
    both = lost | {"swapped": outcome(np.ones(100, np.bool_), np.zeros(100))}
    result = conclude([Tried(THRESHOLD, normal, both, {}, Counter(), 1)], BUDGET)
    assert result.passed
    assert "Of stall alone the rule finds more: 90.0%." in result.words


def test_parts_of_the_traffic_are_judged_together() -> None:
    score = calibrated(1000, 1)
    normal = Outcome(score, score >= THRESHOLD, np.ones(1000, np.bool_), np.zeros(1000))
    marked = outcome(np.ones(30, np.bool_), np.zeros(30))
    alarm = {("a", "response_time"): Alarms(3, [1.0], [5.0])}
    one = Tried(THRESHOLD, normal, {"stall": marked}, alarm, Counter({"x": 2}), 40)
    other = replace(one, anomalous={"extra": marked, "stall": marked})
    found = conclude([one, other], BUDGET).findings
    assert (found.traces, found.spans, found.unknown, found.unknown_share) == (2000, 80, (("x", 4),), 0.05)
    assert {kind.name: kind.tried for kind in found.kinds} == {"stall": 60, "extra": 30}
    assert (found.alarms[0].traces, found.alarms[0].expected_ms, found.alarms[0].observed_ms) == (6, 1.0, 5.0)


def test_a_real_detector_is_tried_with_every_kind_and_its_budget_moves_what_it_marks(events, tiny_artifact) -> None:
    make = partial(load_detector, tiny_artifact)
    found = try_out(make, events, count=12, seed=0)
    assert set(found.anomalous) == {"replaced", "missing", "extra", "aborted", "swapped", "stall", "slowdown"}
    assert found.normal.marked.mean() < 0.1
    # Even with a random network the rules of calls find what is structural; a random detector would find 1 %.
    for kind in ("replaced", "extra", "swapped", "missing"):
        assert found.anomalous[kind].marked.mean() > 0.6, kind
    result = conclude([found], BUDGET)
    settings = DetectionSettings(false_positive_rate=0.1)
    other = try_out(partial(load_detector, tiny_artifact, settings=settings), events, count=12, seed=0)
    marked = [other.normal.marked, *(one.marked for kind, one in other.anomalous.items() if kind != "slowdown")]
    assert np.concatenate(marked).mean() == pytest.approx(result.figures["marked_at_ten_budgets"])
    assert all((other.anomalous[kind].score == found.anomalous[kind].score).all() for kind in found.anomalous)


def test_every_stream_of_traces_is_judged_by_a_detector_that_has_seen_nothing_in_the_order_of_time(events) -> None:
    seen: list[list[int]] = []

    class Recorder(Fake):
        def __init__(self) -> None:
            super().__init__(guessing)
            seen.append([])

        def assess(self, events: Events) -> Judged:
            seen[-1] += events.began.tolist()
            return super().assess(events)

    try_out(Recorder, events, count=10, seed=0)
    assert len(seen) > 1
    assert len(seen[0]) == events.traces
    assert all(starts == sorted(starts) for starts in seen)
    injected = [len(starts) - events.traces for starts in seen[1:]]
    assert sum(injected) == 70
    assert max(injected) <= max(0.02 * events.traces, 2) + 1


def test_the_detector_of_the_service_is_one_that_can_be_tried(tiny_artifact) -> None:
    detector = load_detector(tiny_artifact)
    assert isinstance(detector, ModelDetector)
    assert detector.threshold == pytest.approx(2.0)
