import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from span_builders import ENVELOPES, encoded, trace_id

from otel_tracead.detection.annotate import Mode, annotate, annotate_late, annotate_unscored, strip
from otel_tracead.detection.verdicts import AnomalyType, Level, ModelInfo, SpanVerdict, TraceVerdict
from otel_tracead.traces.late import Decision
from otel_tracead.traces.trace import Release, Trace
from otel_tracead.wire.batch import TranslatedSpan

MODEL = ModelInfo("shop", "7")


def trace_of(*spans: bytes, release: Release = Release.WAIT) -> Trace:
    return Trace(trace_id(1), list(spans), [ENVELOPES[0]] * len(spans), release)


def value(any_value: AnyValue):
    kind = any_value.WhichOneof("value")
    if kind == "array_value":
        return [value(element) for element in any_value.array_value.values]
    return getattr(any_value, kind)


def own(span: bytes) -> dict[str, object]:
    """What a backend reads of our attributes; a key may stand once."""
    pairs = [(a.key, value(a.value)) for a in Span.FromString(span).attributes if a.key.startswith("tracead.")]
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


def verdict(**fields: object) -> TraceVerdict:
    return TraceVerdict(**{"verdict_span": 0, "complete": True} | fields)


STRUCTURAL = SpanVerdict(
    anomalous=True,
    score=2.5,
    type=AnomalyType.STRUCTURAL,
    level=Level.LOW,
    rank=12,
    probability=0.001,
    expected=("GET /cart", "GET /"),
)
SLOW = SpanVerdict(
    anomalous=True,
    score=3.25,
    type=AnomalyType.RESPONSE_TIME,
    level=Level.HIGH,
    expected_ms=10.5,
    upper_ms=20.0,
)
BOTH = SpanVerdict(
    anomalous=True,
    score=4.0,
    type=AnomalyType.BOTH,
    level=Level.HIGH,
    rank=3,
    probability=0.0,
    expected=("a",),
    expected_ms=1.0,
    upper_ms=2.0,
)
NORMAL = SpanVerdict(anomalous=False, score=0.1)
OF_STRUCTURAL = {
    "tracead.anomaly.detected": True,
    "tracead.anomaly.type": "structural",
    "tracead.anomaly.level": "low",
    "tracead.anomaly.score": 2.5,
    "tracead.structure.rank": 12,
    "tracead.structure.probability": 0.001,
    "tracead.structure.expected": ["GET /cart", "GET /"],
}
OF_SLOW = {
    "tracead.anomaly.detected": True,
    "tracead.anomaly.type": "response_time",
    "tracead.anomaly.level": "high",
    "tracead.anomaly.score": 3.25,
    "tracead.response_time.expected_ms": 10.5,
    "tracead.response_time.upper_ms": 20.0,
}
OF_BOTH = {
    "tracead.anomaly.detected": True,
    "tracead.anomaly.type": "both",
    "tracead.anomaly.level": "high",
    "tracead.anomaly.score": 4.0,
    "tracead.structure.rank": 3,
    "tracead.structure.probability": 0.0,
    "tracead.structure.expected": ["a"],
    "tracead.response_time.expected_ms": 1.0,
    "tracead.response_time.upper_ms": 2.0,
}
OF_MODEL = {"tracead.model.name": "shop", "tracead.model.version": "7"}
OF_NORMAL_TRACE = {
    "tracead.trace.anomalous": False,
    "tracead.trace.score": 0.5,
    "tracead.trace.anomalous_spans": 0,
    "tracead.trace.complete": True,
    "tracead.trace.release": "wait",
} | OF_MODEL


@pytest.mark.parametrize("mode", [Mode.ANOMALOUS, Mode.ROOT])
def test_a_normal_trace_is_annotated_on_its_verdict_span_only(mode):
    spans = [encoded(1, 2, parent=1), encoded(1, 1), encoded(1, 3, parent=1)]
    annotated = annotate(trace_of(*spans), verdict(verdict_span=1, score=0.5), mode, MODEL)
    assert own(annotated.spans[1]) == OF_NORMAL_TRACE
    assert annotated.spans[0] is spans[0]
    assert annotated.spans[2] is spans[2]
    assert annotated.spoofed == 0


def test_the_types_are_those_of_the_contract():
    found = verdict(anomalous=True, score=4, level=Level.HIGH, missing=["a"], spans={0: BOTH})
    (span,) = annotate(trace_of(encoded(1, 1)), found, Mode.ANOMALOUS, MODEL).spans
    assert {a.key: a.value.WhichOneof("value") for a in Span.FromString(span).attributes} == {
        "tracead.anomaly.detected": "bool_value",
        "tracead.anomaly.type": "string_value",
        "tracead.anomaly.level": "string_value",
        "tracead.anomaly.score": "double_value",
        "tracead.structure.rank": "int_value",
        "tracead.structure.probability": "double_value",
        "tracead.structure.expected": "array_value",
        "tracead.response_time.expected_ms": "double_value",
        "tracead.response_time.upper_ms": "double_value",
        "tracead.trace.anomalous": "bool_value",
        "tracead.trace.score": "double_value",
        "tracead.trace.anomalous_spans": "int_value",
        "tracead.trace.level": "string_value",
        "tracead.trace.missing": "array_value",
        "tracead.trace.complete": "bool_value",
        "tracead.trace.release": "string_value",
        "tracead.model.name": "string_value",
        "tracead.model.version": "string_value",
    }


ANOMALOUS_TRACE = verdict(
    verdict_span=1,
    complete=False,
    anomalous=True,
    score=4.0,
    level=Level.HIGH,
    missing=["GET /pay", "!0"],
    spans={0: STRUCTURAL, 2: SLOW, 3: BOTH, 4: NORMAL},
)
OF_ANOMALOUS_TRACE = {
    "tracead.trace.anomalous": True,
    "tracead.trace.score": 4.0,
    "tracead.trace.anomalous_spans": 3,
    "tracead.trace.level": "high",
    "tracead.trace.missing": ["GET /pay", "!0"],
    "tracead.trace.complete": False,
    "tracead.trace.release": "limit",
} | OF_MODEL


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (Mode.ANOMALOUS, [OF_STRUCTURAL, OF_ANOMALOUS_TRACE, OF_SLOW, OF_BOTH, {}]),
        (
            Mode.ALL,
            [
                OF_STRUCTURAL,
                {"tracead.anomaly.detected": False} | OF_ANOMALOUS_TRACE,
                OF_SLOW,
                OF_BOTH,
                {"tracead.anomaly.detected": False},
            ],
        ),
        (Mode.ROOT, [{}, OF_ANOMALOUS_TRACE, {}, {}, {}]),
    ],
)
def test_an_anomalous_trace(mode, expected):
    trace = trace_of(*(encoded(1, n) for n in range(1, 6)), release=Release.LIMIT)
    assert [own(span) for span in annotate(trace, ANOMALOUS_TRACE, mode, MODEL).spans] == expected


@pytest.mark.parametrize("mode", Mode)
def test_the_verdict_span_has_its_own_anomaly_in_every_mode(mode):
    found = verdict(anomalous=True, score=3.25, level=Level.HIGH, spans={0: SLOW})
    spans = annotate(trace_of(encoded(1, 1), encoded(1, 2)), found, mode, MODEL).spans
    assert own(spans[0]).items() >= OF_SLOW.items()
    assert own(spans[0])["tracead.trace.anomalous_spans"] == 1


@pytest.mark.parametrize("release", Release)
@pytest.mark.parametrize("complete", [True, False])
def test_how_the_trace_was_released(release, complete):
    trace = trace_of(encoded(1, 1), release=release)
    (span,) = annotate(trace, verdict(complete=complete), Mode.ANOMALOUS, MODEL).spans
    assert own(span)["tracead.trace.release"] == release.value
    assert own(span)["tracead.trace.complete"] is complete


@pytest.mark.parametrize("mode", Mode)
def test_an_unscored_trace_says_why_where_the_verdict_would_stand(mode):
    spans = [encoded(1, 2, parent=1), encoded(1, 1)]
    found = verdict(verdict_span=1, unscored="unknown_traffic")
    annotated = annotate(trace_of(*spans), found, mode, MODEL).spans
    assert annotated[0] is spans[0]
    assert own(annotated[1]) == {"tracead.unscored": "unknown_traffic"}


@pytest.mark.parametrize("decision", Decision)
def test_late_spans_carry_the_verdict_and_nothing_of_the_trace(decision):
    annotated = annotate_late([encoded(1, 1), encoded(1, 2)], [decision, Decision.NORMAL])
    assert own(annotated.spans[0]) == {"tracead.late": True, "tracead.late_verdict": decision.value}
    assert own(annotated.spans[1]) == {"tracead.late": True, "tracead.late_verdict": "normal"}


def test_spans_of_no_trace_say_so():
    annotated = annotate_unscored([encoded(b"", 1), encoded(b"", 2)], "invalid_id")
    assert [own(span) for span in annotated.spans] == [{"tracead.unscored": "invalid_id"}] * 2


def spoofed(number: int) -> bytes:
    return encoded(
        1,
        number,
        attributes=[
            KeyValue(key="tracead.trace.anomalous", value=AnyValue(string_value="no!")),
            KeyValue(key="kept", value=AnyValue(string_value="tracead.trace.anomalous")),
            KeyValue(key="tracead.mine", value=AnyValue(int_value=1)),
        ],
    )


def test_foreign_attributes_are_replaced_or_removed_on_every_span():
    annotated = annotate(trace_of(spoofed(1), spoofed(2)), verdict(score=0.5), Mode.ANOMALOUS, MODEL)
    assert annotated.spoofed == 2
    assert own(annotated.spans[0]) == OF_NORMAL_TRACE
    assert own(annotated.spans[1]) == {}
    assert [a.key for a in Span.FromString(annotated.spans[1]).attributes] == ["kept"]
    assert annotate_late([spoofed(1)], [Decision.NORMAL]).spoofed == 1
    assert own(annotate_late([spoofed(1)], [Decision.NORMAL]).spans[0]).keys() == {
        "tracead.late",
        "tracead.late_verdict",
    }
    assert own(annotate_unscored([spoofed(1)], "error").spans[0]) == {"tracead.unscored": "error"}
    assert annotate(trace_of(spoofed(1)), verdict(unscored="error"), Mode.ROOT, MODEL).spoofed == 1


def test_our_name_in_a_value_is_no_spoof():
    span = encoded(1, 1, attributes=[KeyValue(key="text", value=AnyValue(string_value="tracead.trace.anomalous"))])
    cleaned = strip([span])
    assert cleaned.spoofed == 0
    assert cleaned.spans[0] is span


def test_a_trace_that_passes_twice_has_every_key_once():
    first = annotate(trace_of(encoded(1, 1), encoded(1, 2)), ANOMALOUS_TRACE_OF_TWO, Mode.ALL, MODEL)
    second = annotate(trace_of(*first.spans), ANOMALOUS_TRACE_OF_TWO, Mode.ALL, MODEL)
    assert second.spans == first.spans


ANOMALOUS_TRACE_OF_TWO = verdict(anomalous=True, score=4.0, level=Level.HIGH, spans={0: STRUCTURAL, 1: SLOW})


def test_a_translated_span_keeps_its_original_form():
    span = TranslatedSpan(encoded(1, 1), b'{"id": "1"}')
    other = TranslatedSpan(encoded(1, 2), b'{"id": "2"}')
    marked, untouched = annotate(trace_of(span, other), verdict(), Mode.ANOMALOUS, MODEL).spans
    assert isinstance(marked, TranslatedSpan)
    assert marked.origin == b'{"id": "1"}'
    assert untouched is other


def test_a_verdict_about_a_span_that_is_not_there_is_an_error():
    with pytest.raises(IndexError):
        annotate(trace_of(encoded(1, 1)), verdict(verdict_span=1), Mode.ANOMALOUS, MODEL)


def test_the_trace_itself_is_left_alone():
    trace = trace_of(spoofed(1))
    annotate(trace, verdict(), Mode.ALL, MODEL)
    assert trace.spans == [spoofed(1)]


@given(
    name=st.binary(max_size=20),
    unknown=st.integers(100, 200),
    score=st.floats(0, 400),
    mode=st.sampled_from(Mode),
    anomalous=st.booleans(),
)
def test_everything_else_of_a_span_stays_byte_for_byte(name, unknown, score, mode, anomalous):
    tag = bytes([(unknown << 3 | 2) & 0x7F | 0x80, (unknown << 3 | 2) >> 7])  # a field that no version of OTLP has
    span = encoded(1, 1) + tag + bytes([len(name)]) + name + encoded(1, 1)[18:28]
    spans = {0: STRUCTURAL} if anomalous else {}
    found = verdict(score=score, anomalous=anomalous, spans=spans)
    (marked,) = annotate(trace_of(span), found, mode, MODEL).spans
    assert marked.startswith(span)
    assert math.isclose(own(marked)["tracead.trace.score"], score)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(
    "found", [verdict(), verdict(unscored="error"), verdict(anomalous=True, spans={0: SLOW, 1: BOTH})]
)
def test_the_size_is_that_of_the_spans(mode, found):
    for given_spans in ((encoded(1, 1), encoded(1, 2)), (spoofed(1), TranslatedSpan(encoded(1, 2), b"{}"))):
        annotated = annotate(trace_of(*given_spans), found, mode, MODEL)
        assert annotated.size == sum(map(len, annotated.spans)) > 0
