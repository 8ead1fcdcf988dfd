"""The paper's rules from bytes to verdicts, on a model of the simulated shop whose network is random."""

import numpy as np
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from paper_model import encoded, learned, manifest_of, write_artifact
from scipy.stats import norm
from tiny_model import shop_traces

from otel_tracead.artifact import folder
from otel_tracead.artifact.manifest import ReportCard
from otel_tracead.detection.detector import DetectionSettings, load_detector
from otel_tracead.detection.paper import PaperDetector
from otel_tracead.detection.verdicts import AnomalyType, Level
from otel_tracead.errors import ArtifactError
from otel_tracead.traces.encoding import select
from otel_tracead.traces.trace import Trace

STRUCTURAL = (AnomalyType.STRUCTURAL, AnomalyType.BOTH)
TIME = (AnomalyType.RESPONSE_TIME, AnomalyType.BOTH)
LENGTH = 12


@pytest.fixture(scope="module")
def model():
    return learned(encoded(shop_traces(seed=3, duration_s=40.0)), length=LENGTH)


@pytest.fixture(scope="module")
def artifact(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("paper") / "model"
    write_artifact(path, model)
    return path


def detector_of(artifact, **settings) -> PaperDetector:
    return load_detector(artifact, settings=DetectionSettings(**settings), execution_provider="cpu")


@pytest.fixture(scope="module")
def detector(artifact) -> PaperDetector:
    return detector_of(artifact)


@pytest.fixture(scope="module")
def traces() -> list[Trace]:
    return shop_traces(seed=8, duration_s=15.0)


def changed(trace: Trace, change) -> Trace:
    spans = [Span.FromString(span) for span in trace.spans]
    kept = change(spans) or range(len(spans))
    return Trace(trace.trace_id, [spans[i].SerializeToString() for i in kept], [trace.envelopes[i] for i in kept])


@pytest.mark.parametrize("settings", [{}, {"top_k": 1}, {"top_k": 40, "confidence": 0.5}, {"confidence": 0.999}])
def test_the_rules_are_the_papers(artifact, model, traces, settings):
    detector = detector_of(artifact, **settings)
    top_k, widest = settings.get("top_k", 3), norm.ppf((1 + settings.get("confidence", 0.95)) / 2)
    judged = detector.assess(encoded(traces))
    verdicts = detector.judge(traces)
    scale, errors = model.calibration.scale, model.calibration.errors
    kinds = set()
    for row, (trace, verdict) in enumerate(zip(traces, verdicts, strict=True)):
        events, windows = select(judged.events, np.array([row])), judged.windows
        index = [model.dictionary.index(events.labels[one]) for one in events.label]
        wanted: dict[int, set[str]] = {}
        for at in range(min(len(events), LENGTH)):
            last = at + 1 == len(events)
            if at + 1 == LENGTH and not last:
                continue
            unseen = not last and not model.dictionary.knows(events.labels[events.label[at + 1]])
            if judged.outlook.rank[row, at] >= top_k or unseen:
                wanted.setdefault(int(events.span[at if last else at + 1]), set()).add("structural")
            if not last:
                label = index[at + 1]
                real = (events.duration_us[at + 1] / 1e3 - scale.low_ms[label]) / scale.range_ms[label]
                squared = (judged.outlook.time[row, at] - real) ** 2
                if squared > errors.mean[label] + widest * errors.spread[label]:
                    wanted.setdefault(int(events.span[at + 1]), set()).add("response_time")
        assert windows.trace[row] == row
        found = {span: set(STRUCTURAL[:1] if one.type in STRUCTURAL else ()) for span, one in verdict.spans.items()}
        for span, one in verdict.spans.items():
            found[span] |= {AnomalyType.RESPONSE_TIME} if one.type in TIME else set()
        assert {span: {str(one) for one in marks} for span, marks in found.items()} == wanted
        assert verdict.anomalous == bool(wanted)
        assert len(trace.spans) > max(verdict.spans, default=0)
        kinds |= {one.type for one in verdict.spans.values()}
    assert len(kinds) >= 2


def test_verdicts_hold_what_the_contract_says(detector, model, traces):
    judged = detector.assess(encoded(traces))
    for row, (trace, verdict) in enumerate(zip(traces, detector.judge(traces, every_span=True), strict=True)):
        marked = {span: one for span, one in verdict.spans.items() if one.anomalous}
        assert sorted(verdict.spans) == list(range(len(trace.spans)))
        assert verdict.anomalous == bool(marked) == (verdict.score >= detector.threshold)
        assert all(one.score < detector.threshold for one in verdict.spans.values() if not one.anomalous)
        if marked:
            assert verdict.score == max(one.score for one in marked.values())
            assert verdict.level is (Level.HIGH if verdict.score >= detector.threshold + 1 else Level.LOW)
        else:
            assert verdict.score == judged.score[row]
            assert verdict.level is None
        assert (judged.score[row] >= detector.threshold) == verdict.anomalous
        for span, one in marked.items():
            took = Span.FromString(trace.spans[span])
            observed_ms = (took.end_time_unix_nano - took.start_time_unix_nano) / 1e6
            assert (one.rank is not None) == (one.type in STRUCTURAL) == bool(one.expected)
            assert (one.expected_ms is not None) == (one.type in TIME)
            if one.rank is not None:
                assert one.rank >= 3
                assert 0.0 <= one.probability <= 1.0
                assert set(one.expected) <= set(model.dictionary.labels)
            if one.upper_ms is not None:
                order = [one.expected_ms, one.upper_ms, observed_ms]
                assert order == sorted(order, reverse=observed_ms < one.expected_ms)
        for label in verdict.missing:
            assert label in model.dictionary.labels[2:]


def test_a_trace_is_judged_alike_in_any_company(detector, traces):
    together = detector.judge(traces)
    assert [detector.judge([trace])[0] for trace in traces[:40]] == together[:40]
    assert detector.judge([]) == []
    assert detector.judge(traces[::-1]) == together[::-1]


def test_more_is_marked_by_a_stricter_rule(artifact, traces):
    marked = [
        sum(len(one.spans) for one in detector_of(artifact, top_k=k, confidence=c).judge(traces))
        for k, c in ((1, 0.5), (3, 0.95), (5, 0.99), (10**6, 1 - 1e-12))
    ]
    assert marked == sorted(marked, reverse=True)
    assert marked[0] > marked[-1]


def test_the_budget_places_scores_and_decides_nothing(artifact, traces):
    spans = [
        [sorted(one.spans) for one in detector_of(artifact, false_positive_rate=rate).judge(traces)]
        for rate in (0.2, 0.01, 0.0001)
    ]
    assert spans[0] == spans[1] == spans[2]


def test_what_stands_behind_the_window_and_first_is_not_judged(detector, traces):
    long = [trace for trace in traces if len(trace.spans) > LENGTH]
    assert long
    for trace, verdict in zip(long, detector.judge(long), strict=True):
        starts = sorted((Span.FromString(span).start_time_unix_nano, place) for place, span in enumerate(trace.spans))
        judged = {start for start, _ in starts[1:LENGTH]}
        for span in verdict.spans:
            assert Span.FromString(trace.spans[span]).start_time_unix_nano in judged


def test_a_slow_event_lies_outside_its_interval(detector, traces):
    trace = next(one for one in traces if 4 <= len(one.spans) <= LENGTH)

    def slow(spans):
        last = max(spans, key=lambda span: span.start_time_unix_nano)
        last.end_time_unix_nano += 3_600_000_000_000
        slow.place = spans.index(last)

    found = detector.judge([changed(trace, slow)])[0].spans[slow.place]
    assert found.type in TIME
    assert found.expected_ms <= found.upper_ms < 3_600_000


def test_a_label_that_training_never_saw_ranks_last(detector, model, traces):
    trace = next(one for one in traces if 8 <= len(one.spans) <= LENGTH)

    def rename(spans):
        last = max(spans, key=lambda span: span.start_time_unix_nano)
        last.name = "never seen before"
        rename.place = spans.index(last)

    verdict = verdict_on(detector, changed(trace, rename))
    mark = verdict.spans[rename.place]
    assert mark.type in STRUCTURAL
    assert (mark.rank, mark.probability) == (len(model.dictionary), 0.0)
    assert verdict.unknown_labels == 1

    def rename_all(spans):
        for span in spans:
            span.name = "somebody else's"

    foreign = verdict_on(detector, changed(trace, rename_all))
    assert foreign.unscored == "unknown_traffic"
    assert not foreign.anomalous


def verdict_on(detector, trace):
    return detector.judge([trace])[0]


def test_structure_is_not_judged_where_spans_are_missing(detector, traces):
    with_orphan = []
    for trace in traces:
        if 5 <= len(trace.spans) <= LENGTH:
            parents = {Span.FromString(span).parent_span_id for span in trace.spans}

            def without_one(spans, parents=parents):
                inner = [i for i, span in enumerate(spans) if span.span_id in parents and span.parent_span_id]
                return [i for i in range(len(spans)) if i != inner[0]] if inner else None

            with_orphan.append(changed(trace, without_one))
    verdicts = [one for one in detector.judge(with_orphan) if not one.complete]
    assert verdicts
    assert all(mark.type is AnomalyType.RESPONSE_TIME for one in verdicts for mark in one.spans.values())
    assert not any(one.missing for one in verdicts)


def test_an_end_that_was_not_expected_is_the_last_spans(detector, traces):
    judged = detector.assess(encoded(traces))
    ended = [
        row
        for row in range(len(traces))
        if judged.windows.ends[row] and judged.unlikely[row, judged.windows.length[row] - 1]
    ]
    assert ended, "the random network finds some end unlikely"
    verdicts = detector.verdicts(judged)
    for row in range(len(traces)):
        assert bool(verdicts[row].missing) <= (row in ended)
    row = next(row for row in ended if verdicts[row].missing)
    last = int(judged.events.span[judged.events.offsets[row + 1] - 1])
    assert verdicts[row].spans[last].type in STRUCTURAL


def test_the_share_of_training_traces_is_what_a_score_says(artifact, model):
    judged = detector_of(artifact, false_positive_rate=1e-12, top_k=10**6, confidence=1 - 1e-15).assess(model.earlier)
    for decades in (0.5, 1.0, 1.5):
        assert (judged.score >= decades).mean() == pytest.approx(10**-decades, rel=0.35)


def test_a_failed_report_card_is_respected(model, tmp_path):
    write_artifact(tmp_path, model, report_card=ReportCard(passed=False, reasons=("no",), figures={}, words=()))
    with pytest.raises(ArtifactError, match="require_report_card"):
        load_detector(tmp_path)
    assert load_detector(tmp_path, require_report_card=False).model.name == "paper"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": {"type": "paper_multimodal_lstm"}}, "length"),
        ({"architecture": {"length": 1}}, "length"),
        ({"architecture": {"length": 10**6}}, "length"),
        ({"thresholds": {"top_k": 0.0}}, "top_k"),
        ({"thresholds": {"confidence": 1.0}}, "confidence"),
        ({"order": "random"}, "random"),
    ],
)
def test_a_manifest_that_speaks_of_no_such_model_is_refused(model, tmp_path, changes, words):
    manifest = manifest_of(model)
    network, labels = manifest.network, manifest.labels
    update = {
        "network": network.model_copy(update={"architecture": changes.get("architecture", network.architecture)}),
        "labels": labels.model_copy(update={"order": changes.get("order", "start")}),
        "thresholds": changes.get("thresholds", manifest.thresholds),
    }
    write_artifact(tmp_path, model, **update)
    with pytest.raises(ArtifactError, match=words):
        load_detector(tmp_path)


def test_what_needs_a_default_model_says_so(artifact):
    with pytest.raises(ArtifactError, match="preset paper"):
        _ = folder.load(artifact).calibration


def test_numbers_of_another_kind_of_detector_are_refused(model, tmp_path):
    write_artifact(tmp_path, model, detector="calibrated")
    with pytest.raises(ArtifactError, match=r"calibration\.npz"):
        load_detector(tmp_path)
