"""The detector from bytes to verdicts, on a model of the simulated shop whose network is random."""

import random
from dataclasses import replace

import numpy as np
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tiny_model import contents_of, manifest_of, shop_traces, write_artifact

from otel_tracead.artifact import folder
from otel_tracead.artifact.manifest import ReportCard
from otel_tracead.detection.detector import DetectionSettings, ModelDetector, from_artifact, load_detector
from otel_tracead.detection.evidence import PLACE, _new_steps
from otel_tracead.detection.verdicts import AnomalyType, Level, SpanVerdict, TraceVerdict
from otel_tracead.errors import ArtifactError
from otel_tracead.traces.trace import Trace
from otel_tracead.wire.batch import Envelope

STRUCTURAL = (AnomalyType.STRUCTURAL, AnomalyType.BOTH)
TIME = (AnomalyType.RESPONSE_TIME, AnomalyType.BOTH)


@pytest.fixture(scope="module")
def artifact(tiny_artifact):
    return folder.load(tiny_artifact)


@pytest.fixture
def detector(artifact) -> ModelDetector:
    """It remembers what it saw, so each test has its own."""
    return from_artifact(artifact, DetectionSettings())


@pytest.fixture(scope="module")
def normal() -> list[Trace]:
    return shop_traces(seed=9, duration_s=25.0)


@pytest.fixture(scope="module")
def quiet(artifact, normal) -> list[Trace]:
    """Normal traces of some length that are not marked."""
    verdicts = from_artifact(artifact, DetectionSettings()).judge(normal)
    return [t for t, v in zip(normal, verdicts, strict=True) if not v.anomalous and len(t.spans) >= 8][:60]


def decoded(trace: Trace) -> list[Span]:
    return [Span.FromString(span) for span in trace.spans]


def encoded(trace: Trace, spans: list[Span], envelopes: list[Envelope] | None = None) -> Trace:
    return Trace(trace.trace_id, [span.SerializeToString() for span in spans], list(envelopes or trace.envelopes))


def duration(span: Span) -> int:
    return span.end_time_unix_nano - span.start_time_unix_nano


def leaf(spans: list[Span]) -> int:
    """Give the last span that calls nobody and is somebody's."""
    parents = {span.parent_span_id for span in spans}
    return max(
        (index for index, span in enumerate(spans) if span.span_id not in parents and span.parent_span_id),
        key=lambda index: spans[index].start_time_unix_nano,
    )


def check_contract(trace: Trace, verdict: TraceVerdict, detector: ModelDetector) -> None:
    """What section 3 of the contract says of any verdict."""
    spans = decoded(trace)
    size = len(detector._dictionary)
    marked = {index: span for index, span in verdict.spans.items() if span.anomalous}
    assert verdict.anomalous == bool(marked)
    assert verdict.anomalous == (verdict.score >= detector.threshold)
    if not verdict.anomalous:
        assert verdict.level is None
        assert not verdict.missing
        return
    assert verdict.score == max(span.score for span in marked.values())
    assert verdict.level is (Level.HIGH if verdict.score >= detector.threshold + 1 else Level.LOW)
    for index, span in marked.items():
        assert span.score >= detector.threshold
        assert span.level is (Level.HIGH if span.score >= detector.threshold + 1 else Level.LOW)
        if span.type in STRUCTURAL:
            assert 0 <= span.rank <= size
            assert 0.0 <= span.probability <= 1.0
            assert len(span.expected) <= 3
        else:
            assert (span.rank, span.probability, tuple(span.expected)) == (None, None, ())
        if span.type in TIME:
            assert 0 <= span.expected_ms <= span.upper_ms < duration(spans[index]) / 1e6
        else:
            assert (span.expected_ms, span.upper_ms) == (None, None)


def test_normal_traffic_is_mostly_not_marked(detector, normal):
    verdicts = detector.judge(normal)
    assert sum(verdict.anomalous for verdict in verdicts) / len(verdicts) < 0.03
    assert sum(verdict.unscored is not None for verdict in verdicts) <= 3
    for trace, verdict in zip(normal, verdicts, strict=True):
        check_contract(trace, verdict, detector)
        assert verdict.complete
        assert verdict.unscored is None or verdict.unknown_labels > 0.2 * len(trace.spans)
        assert not decoded(trace)[verdict.verdict_span].parent_span_id
    assert detector.model.name == "tiny"
    assert detector.model.execution_provider == "cpu"


def alone(artifact, trace: Trace):
    """Judge a trace as if no other had come."""
    return from_artifact(artifact, DetectionSettings()).judge([trace])[0]


def test_a_label_that_was_never_seen_is_found_where_it_is(artifact, detector, quiet):
    for trace in quiet[:20]:
        spans = decoded(trace)
        at = leaf(spans)
        spans[at].name = "never seen before"
        verdict = alone(artifact, encoded(trace, spans))
        check_contract(encoded(trace, spans), verdict, detector)
        assert list(verdict.spans) == [at]
        found = verdict.spans[at]
        assert found.type is AnomalyType.STRUCTURAL
        assert (found.rank, found.probability) == (len(detector._dictionary), 0.0)
        assert found.level is Level.HIGH or found.score >= detector.threshold
        assert verdict.unknown_labels == 1


def test_a_missing_call_is_found_at_its_caller_and_named(detector, quiet):
    found = located = named = tried = 0
    for trace in quiet:
        spans = decoded(trace)
        parents = {span.parent_span_id for span in spans}
        # A client's call and what hangs below it, from a caller with several.
        for at, span in enumerate(spans):  # noqa: B007 (read after the loop)
            siblings = [s for s in spans if s.parent_span_id == span.parent_span_id]
            if span.parent_span_id and span.span_id not in parents and len(siblings) >= 3:
                break
        else:
            continue
        tried += 1
        rest = [index for index in range(len(spans)) if index != at]
        cut = encoded(trace, [spans[i] for i in rest], [trace.envelopes[i] for i in rest])
        verdict = detector.judge([cut])[0]
        check_contract(cut, verdict, detector)
        found += verdict.anomalous
        caller = next(i for i, index in enumerate(rest) if spans[index].span_id == span.parent_span_id)
        located += caller in verdict.spans
        named += any(span.name.split("/")[-1][:4] in label for label in verdict.missing)
    assert tried >= 10
    assert found >= 0.8 * tried
    assert located >= 0.6 * tried
    assert named >= 0.5 * tried


def test_a_long_stall_is_found_on_its_span_and_not_on_those_above(artifact, detector, quiet):
    for trace in quiet[:30]:
        spans = decoded(trace)
        at = leaf(spans)
        by_id = {span.span_id: span for span in spans}
        stalled: Span | None = spans[at]
        while stalled is not None:
            stalled.end_time_unix_nano += 60_000_000_000
            stalled = by_id.get(stalled.parent_span_id)
        long = encoded(trace, spans)
        verdict = alone(artifact, long)
        check_contract(long, verdict, detector)
        assert list(verdict.spans) == [at]
        assert verdict.spans[at].type is AnomalyType.RESPONSE_TIME
        assert verdict.level is Level.HIGH
        assert verdict.spans[at].upper_ms < 60_000


def test_a_service_that_is_slow_for_everybody_is_found_at_its_spans_or_the_calls_to_it(artifact, quiet):
    found = 0
    for service in ("cart", "product-catalog"):
        slow = []
        for trace in quiet:
            spans = decoded(trace)
            for span, envelope in zip(spans, trace.envelopes, strict=True):
                if envelope.service == service:
                    span.end_time_unix_nano = span.start_time_unix_nano + duration(span) * 6
            slow.append(encoded(trace, spans))
        detector = from_artifact(artifact, DetectionSettings(false_positive_rate=0.2))
        judged = detector.assess(detector._encoder.encode(slow))
        slow_there = judged.channels[PLACE] >= detector._rules.wanted
        for trace, verdict, place in zip(slow, detector.verdicts(judged), slow_there.tolist(), strict=True):
            check_contract(trace, verdict, detector)
            if place:
                found += 1
                assert any(span.type in TIME for span in verdict.spans.values())
    assert found >= 20


def test_foreign_traffic_is_unscored(detector, quiet):
    foreign = []
    for trace in quiet[:5]:
        spans = decoded(trace)
        for span in spans:
            span.name = f"other {span.name}"
        foreign.append(encoded(trace, spans))
    for trace, verdict in zip(foreign, detector.judge(foreign, every_span=True), strict=True):
        assert verdict.unscored == "unknown_traffic"
        assert not verdict.anomalous
        assert not verdict.spans
        assert verdict.unknown_labels == len(trace.spans)
        assert verdict.complete


def test_unknown_labels_is_a_share(artifact, quiet):
    trace = quiet[0]
    spans = decoded(trace)
    for span in spans[: len(spans) // 2]:
        span.name = "other"
    half = encoded(trace, spans)
    lenient = from_artifact(artifact, DetectionSettings(unknown_labels=1.0)).judge([half])[0]
    assert lenient.unscored is None
    assert lenient.anomalous
    assert from_artifact(artifact, DetectionSettings(unknown_labels=0.4)).judge([half])[0].unscored == "unknown_traffic"


def test_with_spans_missing_nothing_is_said_of_calls(detector, quiet):
    for trace in quiet[:30]:
        spans = decoded(trace)
        root = next(index for index, span in enumerate(spans) if not span.parent_span_id)
        rest = [index for index in range(len(spans)) if index != root]
        cut = encoded(trace, [spans[i] for i in rest], [trace.envelopes[i] for i in rest])
        verdict = detector.judge([cut])[0]
        check_contract(cut, verdict, detector)
        assert not verdict.complete
        assert not verdict.missing
        assert not any(span.type in STRUCTURAL for span in verdict.spans.values())
        spans[rest[-1]].name = "never seen before"
        strange = encoded(trace, [spans[i] for i in rest], [trace.envelopes[i] for i in rest])
        verdict = detector.judge([strange])[0]
        assert [index for index, span in verdict.spans.items() if span.type in STRUCTURAL] == [len(rest) - 1]
        assert not verdict.missing


def close(one: TraceVerdict, other: TraceVerdict, back: dict[int, int]) -> None:
    assert one.anomalous == other.anomalous
    assert one.score == pytest.approx(other.score, abs=1e-4)
    assert (one.missing, one.level, one.complete) == (other.missing, other.level, other.complete)
    assert one.verdict_span == back[other.verdict_span]
    assert {back[index]: span.type for index, span in other.spans.items()} == {
        index: span.type for index, span in one.spans.items()
    }


def injected(quiet: list[Trace]) -> list[Trace]:
    """Odd copies of traces, every third as it was."""
    out = []
    for number, trace in enumerate(quiet):
        spans = decoded(trace)
        at = leaf(spans)
        if number % 3 == 1:
            spans[at].name = "never seen before"
        if number % 3 == 2:
            spans[at].end_time_unix_nano += 30_000_000_000
        out.append(encoded(trace, spans))
    return out


def test_the_order_of_traces_and_spans_changes_nothing(tiny_artifact, quiet):
    chance = random.Random(3)
    traces = injected(quiet)
    verdicts = load_detector(tiny_artifact).judge(traces)
    assert sum(verdict.anomalous for verdict in verdicts) >= len(traces) // 2
    shuffled, backs = [], []
    places = chance.sample(range(len(traces)), len(traces))
    for place in places:
        trace = traces[place]
        order = chance.sample(range(len(trace.spans)), len(trace.spans))
        shuffled.append(Trace(trace.trace_id, [trace.spans[i] for i in order], [trace.envelopes[i] for i in order]))
        backs.append(dict(enumerate(order)))
    other = load_detector(tiny_artifact)
    for place, verdict, back in zip(places, other.judge(shuffled), backs, strict=True):
        close(verdicts[place], verdict, back)


def test_new_steps_are_the_same_whatever_was_remembered(artifact, detector, quiet):
    traces = injected(quiet[:12])
    for trace in traces:  # a copy with a call less
        spans = decoded(trace)
        kept = [place for place in range(len(spans)) if place != leaf(spans)]
        traces = [*traces, encoded(trace, [spans[i] for i in kept], [trace.envelopes[i] for i in kept])]
    events = detector._encoder.encode(traces)
    fresh = detector.assess(events).evidence
    assert 0 < len(set(fresh.new.trace.tolist())) < len(traces)
    again = detector.assess(events).evidence
    for mine, theirs in zip((*fresh.new, fresh.step), (*again.new, again.step), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for number, trace in enumerate(traces):
        one = from_artifact(artifact, DetectionSettings())
        alone_ = one.assess(one._encoder.encode([trace])).evidence
        np.testing.assert_array_equal(alone_.step, fresh.step[fresh.new.trace == number])
        rows = fresh.new.event[fresh.new.trace == number]
        first = events.offsets[number]
        np.testing.assert_array_equal(alone_.new.event, np.where(rows >= 0, rows - first, -1))


def test_a_label_that_was_never_seen_is_new_in_a_trace_that_was_remembered(detector, quiet):
    events = detector._encoder.encode(quiet[:5])
    known = detector.assess(events).known
    nobody = np.zeros(events.traces, np.bool_)
    for strange in ([], [3], [1, int(events.offsets[2])]):
        known.strange = np.isin(np.arange(len(events)), strange)
        new, strength = _new_steps(events, known, detector._grammar, nobody)
        assert new.event.tolist() == strange
        assert new.trace.tolist() == known.trace[strange].tolist()
        assert new.caller.tolist() == events.parent[strange].tolist()
        assert (strength > 0).all()


def test_every_span_has_a_verdict_where_asked(detector, quiet):
    traces = injected(quiet)
    judged = detector.assess(detector._encoder.encode(traces))
    both = zip(traces, detector.verdicts(judged), detector.verdicts(judged, every_span=True), strict=True)
    for trace, few, every in both:
        assert set(every.spans) == set(range(len(trace.spans)))
        assert (few.anomalous, few.score, few.missing) == (every.anomalous, every.score, every.missing)
        for index, span in every.spans.items():
            if index in few.spans:
                assert span == few.spans[index]
            else:
                assert span == SpanVerdict(anomalous=False, score=span.score)
                assert 0.0 <= span.score < detector.threshold
        assert max(span.score for span in every.spans.values()) <= every.score or not every.anomalous


def test_a_larger_budget_marks_what_a_smaller_one_marks(artifact, normal):
    marked: set[int] = set()
    for rate in (0.001, 0.01, 0.05, 0.3):
        detector = from_artifact(artifact, DetectionSettings(false_positive_rate=rate))
        verdicts = detector.judge(normal)
        for trace, verdict in zip(normal, verdicts, strict=True):
            check_contract(trace, verdict, detector)
        now = {index for index, verdict in enumerate(verdicts) if verdict.anomalous}
        assert marked <= now
        assert len(now) / len(normal) < 2 * rate + 0.02
        marked = now
    assert len(marked) / len(normal) > 0.15


def test_the_papers_structural_rule(artifact, normal):
    shares = []
    some = normal[:150]
    for k in (1, 3, 1000):
        detector = from_artifact(artifact, DetectionSettings(top_k=k))
        verdicts = detector.judge(some, every_span=True)
        events = detector._encoder.encode(some)
        judged = detector.assess(events)
        details = detector._scorer.details(
            judged.known.label, judged.known.scaled, events.offsets, np.arange(events.traces)
        )
        for index, (trace, verdict) in enumerate(zip(some, verdicts, strict=True)):
            check_contract(trace, verdict, detector)
            first, last = events.offsets[index : index + 2]
            unlikely = details[index].rank >= k
            wanted = set(events.span[first:last][unlikely[:-1]].tolist())
            if unlikely[-1]:
                wanted.add(int(events.span[last - 1]))
            structural = {at for at, span in verdict.spans.items() if span.anomalous and span.type in STRUCTURAL}
            assert structural == wanted
        shares.append(sum(verdict.anomalous for verdict in verdicts))
    assert shares[0] >= shares[1] > shares[2]


def test_the_papers_structural_rule_on_new_labels_and_gaps(artifact, quiet):
    detector = from_artifact(artifact, DetectionSettings(top_k=1000))
    trace = quiet[0]
    spans = decoded(trace)
    at = leaf(spans)
    spans[at].name = "never seen before"
    verdict = detector.judge([encoded(trace, spans)])[0]
    assert list(verdict.spans) == [at]
    assert (verdict.spans[at].rank, verdict.spans[at].probability) == (len(detector._dictionary), 0.0)
    one = from_artifact(artifact, DetectionSettings(top_k=1))
    root = next(index for index, span in enumerate(spans) if not span.parent_span_id)
    rest = [index for index in range(len(spans)) if index not in (root, at)]
    cut = encoded(trace, [spans[i] for i in rest], [trace.envelopes[i] for i in rest])
    assert not any(span.type in STRUCTURAL for span in one.judge([cut])[0].spans.values())


def test_the_papers_response_time_rule(artifact, normal):
    some = normal[:150]
    shares = []
    for confidence in (0.5, 0.95, 0.9999999):
        detector = from_artifact(artifact, DetectionSettings(confidence=confidence))
        verdicts = detector.judge(some)
        events = detector._encoder.encode(some)
        judged = detector.assess(events)
        for index, (trace, verdict) in enumerate(zip(some, verdicts, strict=True)):
            check_contract(trace, verdict, detector)
            first, last = judged.surprise.offsets[index : index + 2]
            survival = np.exp(-judged.surprise.time[first : last - 1])
            rows = np.flatnonzero(survival < (1 - confidence) / 2) + events.offsets[index]
            slow = {at for at, span in verdict.spans.items() if span.type in TIME}
            assert slow == set(events.span[rows].tolist())
        shares.append(sum(verdict.anomalous for verdict in verdicts))
    assert shares[0] > shares[1] > shares[2]


def test_nothing_to_judge(detector):
    assert detector.judge([]) == []
    assert detector.judge([], every_span=True) == []


def test_a_model_that_failed_its_own_check_is_refused(tiny_model, tmp_path):
    card = ReportCard(
        passed=False, reasons=("AUC 0.5 is no better than chance", "all scores are the same"), figures={}, words=()
    )
    write_artifact(tmp_path, tiny_model, report_card=card)
    with pytest.raises(ArtifactError, match=r"AUC 0.5 is no better.*; all scores.*require_report_card: false"):
        load_detector(tmp_path)
    assert load_detector(tmp_path, require_report_card=False).model.name == "tiny"
    write_artifact(tmp_path, tiny_model, report_card=card.model_copy(update={"reasons": ()}))
    with pytest.raises(ArtifactError, match="no reason given"):
        load_detector(tmp_path)


def test_an_artifact_whose_parts_do_not_fit_is_refused(tiny_model, tmp_path):
    labels = manifest_of(tiny_model).labels
    for changes in ({"template": "{nothing}"}, {"order": "random"}, {"patterns": ("(",)}):
        write_artifact(tmp_path, tiny_model, labels=labels.model_copy(update=changes))
        with pytest.raises(ArtifactError, match=r"manifest\.json"):
            load_detector(tmp_path)
    for name, content in ((folder.NETWORK, b"no network"), (folder.NETWORK, b"")):
        folder.save(tmp_path, manifest_of(tiny_model), contents_of(tiny_model) | {name: content})
        with pytest.raises(ArtifactError, match=rf"{tmp_path}.*model\.onnx"):
            load_detector(tmp_path)
    manifest = manifest_of(tiny_model)
    network = manifest.network.model_copy(update={"state": manifest.network.state + 1})
    write_artifact(tmp_path, tiny_model, network=network)
    with pytest.raises(ArtifactError, match=r"model\.onnx"):
        load_detector(tmp_path)


def test_an_unlikely_label_is_named_by_the_network_where_no_rule_speaks(detector, quiet):
    """A surprise of the network alone, put there by hand: the random network is never sure."""
    events = detector._encoder.encode(quiet[:2])
    judged = detector.assess(events)
    for position in (3, int(events.offsets[1])):  # an event, and the end of the first trace
        evidence = replace(judged.evidence, label=judged.evidence.label.copy(), ending=judged.evidence.ending.copy())
        surprise = replace(judged.surprise, label=judged.surprise.label.copy())
        surprise.label[position] = 40.0
        if position < events.offsets[1]:
            evidence.label[position] = 40.0
        else:
            evidence.ending[0] = 40.0
        channels, score = judged.channels.copy(), judged.score.copy()
        channels[0, 0] = detector._calibration.channel_tails.strength(np.array([40.0]), 0)[0]
        score[0] = detector._calibration.trace_tail.strength(channels[:, 0].max(keepdims=True))[0]
        verdict, other = detector.verdicts(
            replace(judged, evidence=evidence, surprise=surprise, channels=channels, score=score)
        )
        assert not other.anomalous
        row = min(position, int(events.offsets[1]) - 1)
        assert list(verdict.spans) == [int(events.span[row])]
        found = verdict.spans[int(events.span[row])]
        assert found.type is AnomalyType.STRUCTURAL
        assert found.probability == pytest.approx(np.exp(-40.0))
        assert found.score == verdict.score == pytest.approx(score[0])
        assert len(found.expected) == 3
        assert set(verdict.missing) <= set(found.expected)
