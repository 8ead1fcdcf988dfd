from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from span_builders import ENVELOPES, encoded, trace_id

from otel_tracead.detection.annotate import Mode, annotate
from otel_tracead.detection.verdicts import AnomalyType, Level, ModelInfo, SpanVerdict, TraceVerdict
from otel_tracead.reports.annotated import Mark, read_trace
from otel_tracead.traces.trace import Trace
from otel_tracead.wire.attributes import encode_attribute

MODEL = ModelInfo("fake", "1")
BOTH = SpanVerdict(
    anomalous=True,
    type=AnomalyType.BOTH,
    score=3.5,
    level=Level.HIGH,
    rank=4,
    probability=0.01,
    expected=("a", "!0"),
    expected_ms=1.5,
    upper_ms=2.5,
)


def trace(*spans: bytes) -> Trace:
    return Trace(trace_id(1), list(spans), [ENVELOPES[0]] * len(spans))


def annotated(given: Trace, verdict: TraceVerdict) -> Trace:
    return Trace(given.trace_id, annotate(given, verdict, Mode.ANOMALOUS, MODEL).spans, given.envelopes)


def test_what_was_written_is_read_back():
    given = trace(
        encoded(1, 2, parent=1, start_time_unix_nano=5_000_000, end_time_unix_nano=9_000_000),
        encoded(1, 1, start_time_unix_nano=4_000_000, status=Status(code=Status.STATUS_CODE_ERROR)),
    )
    verdict = TraceVerdict(
        verdict_span=1,
        complete=True,
        anomalous=True,
        score=3.5,
        level=Level.HIGH,
        missing=("x", "y"),
        spans={0: BOTH},
    )
    found = read_trace(annotated(given, verdict))
    assert (found.anomalous, found.score, found.level, found.missing) == (True, 3.5, "high", ("x", "y"))
    assert (found.unscored, found.span_count, found.start_unix_nano) == (None, 2, 4_000_000)
    root, child = found.spans
    assert (root.status, child.status) == ("ERROR", "")
    assert (root.name, root.depth, root.error, root.mark, root.duration_ms) == ("operation 1", 0, True, None, 0)
    assert (child.depth, child.error, child.duration_ms, child.service) == (1, False, 4.0, "frontend")
    assert child.mark == Mark(
        type="both",
        level="high",
        score=3.5,
        rank=4,
        probability=0.01,
        expected=("a", "!0"),
        expected_ms=1.5,
        upper_ms=2.5,
    )
    assert found.marked == [child]


def test_normal_unscored_and_unknown_traces_have_no_spans():
    given = trace(encoded(1, 1))
    normal = read_trace(annotated(given, TraceVerdict(verdict_span=0, complete=True, score=0.5)))
    assert (normal.anomalous, normal.score, normal.unscored, normal.spans) == (False, 0.5, None, ())
    unscored = read_trace(annotated(given, TraceVerdict(verdict_span=0, complete=True, unscored="error")))
    assert (unscored.anomalous, unscored.unscored) == (False, "error")
    nothing = read_trace(given)
    assert (nothing.anomalous, nothing.unscored, nothing.span_count) == (False, None, 1)


def mark_of(*attributes: bytes) -> Mark | None:
    root = encoded(1, 1) + encode_attribute("tracead.trace.anomalous", True)
    found = read_trace(trace(root + b"".join(attributes)))
    return found.spans[0].mark


def test_attributes_of_a_wrong_type_are_none():
    detected = encode_attribute("tracead.anomaly.detected", True)
    assert mark_of(encode_attribute("tracead.anomaly.detected", "true")) is None
    wrong = [
        encode_attribute(f"tracead.{key}", "many")
        for key in (
            "anomaly.score",
            "structure.rank",
            "structure.probability",
            "structure.expected",
            "response_time.upper_ms",
        )
    ]
    assert mark_of(detected, *wrong) == Mark(type="", level="", score=0.0)


def order(*parents: int) -> list[tuple[int, int]]:
    """Give (span, depth) in the order read, of spans 1, 2, ... with these parents; they start in that order."""
    spans = [encoded(1, number, parent=parent or b"") for number, parent in enumerate(parents, 1)]
    spans[0] += encode_attribute("tracead.trace.anomalous", True)
    found = read_trace(trace(*reversed(spans)))
    return [(int(span.name.split()[1]), span.depth) for span in found.spans]


def test_spans_stand_in_tree_order():
    assert order(0, 1, 1, 2) == [(1, 0), (2, 1), (4, 2), (3, 1)]
    assert order(0, 77, 1) == [(1, 0), (3, 1), (2, 0)]  # an orphan begins a tree
    assert order(1, 0) == [(1, 0), (2, 0)]  # its own parent
    assert order(0, 3, 2) == [(1, 0), (2, 0), (3, 1)]  # a cycle


def test_double_ids_and_broken_spans_are_all_there():
    verdict = encode_attribute("tracead.trace.anomalous", True)
    found = read_trace(trace(encoded(1, 1) + verdict, encoded(1, 1), encoded(1, 2, parent=1), b"\xff"))
    assert len(found.spans) == 4


def test_a_deep_trace_is_read():
    assert order(*range(3000))[-1] == (3000, 2999)


def test_attributes_elsewhere_are_no_verdict():
    span = Span.FromString(encoded(1, 1))
    span.name = "tracead.trace.anomalous"
    assert read_trace(trace(span.SerializeToString())).anomalous is False
