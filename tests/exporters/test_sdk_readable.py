"""Everything that the SDK has room for arrives there, and by its own OTLP encoder comes out again as it was."""

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, EntityRef, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status
from opentelemetry.trace import SpanKind, StatusCode
from otel_tracead_exporters.sdk.readable import Readables, fits

from otel_tracead.wire.otlp import Envelopes, decode_request

TRACE, OWN, PARENT = bytes(range(16)), b"spanspan", b"parentpa"
VALUES = [
    KeyValue(key="text", value=AnyValue(string_value="grüße")),
    KeyValue(key="yes", value=AnyValue(bool_value=True)),
    KeyValue(key="int", value=AnyValue(int_value=-(1 << 62))),
    KeyValue(key="double", value=AnyValue(double_value=0.1)),
    KeyValue(key="bytes", value=AnyValue(bytes_value=b"\xff\x00")),
    KeyValue(key="none", value=AnyValue()),
    KeyValue(
        key="list",
        value=AnyValue(array_value=ArrayValue(values=[AnyValue(string_value="a"), AnyValue(int_value=2)])),
    ),
    KeyValue(
        key="map",
        value=AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="k", value=AnyValue(bool_value=False))])),
    ),
]


def request(**changes: object) -> ExportTraceServiceRequest:
    span = Span(
        trace_id=TRACE,
        span_id=OWN,
        parent_span_id=PARENT,
        trace_state="vendor=value,other=2",
        flags=0x301,
        name="operation",
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=1_700_000_000_000_000_001,
        end_time_unix_nano=1_700_000_000_000_000_002,
        attributes=VALUES,
        dropped_attributes_count=3,
        events=[Span.Event(name="event", time_unix_nano=7, attributes=VALUES, dropped_attributes_count=4)],
        dropped_events_count=5,
        links=[
            Span.Link(trace_id=TRACE[::-1], span_id=PARENT, attributes=VALUES, dropped_attributes_count=6, flags=0x100)
        ],
        dropped_links_count=7,
        status=Status(code=Status.STATUS_CODE_ERROR, message="no"),
    )
    for field, value in changes.items():
        span.ClearField(field)
        span.MergeFrom(Span(**{field: value}))
    resource_spans = ResourceSpans(schema_url="https://resource")
    resource_spans.resource.attributes.extend(VALUES)
    scope_spans = ScopeSpans(schema_url="https://scope", spans=[span])
    scope_spans.scope.name, scope_spans.scope.version = "library", "1.2"
    scope_spans.scope.attributes.extend(VALUES)
    resource_spans.scope_spans.append(scope_spans)
    return ExportTraceServiceRequest(resource_spans=[resource_spans])


def readable(sent: ExportTraceServiceRequest):
    return Readables()(decode_request(sent.SerializeToString(), Envelopes()))


def back(sent: ExportTraceServiceRequest) -> ExportTraceServiceRequest:
    return encode_spans(readable(sent))


def span_of(sent: ExportTraceServiceRequest) -> Span:
    return sent.resource_spans[0].scope_spans[0].spans[0]


def test_everything_that_the_sdk_can_carry_and_export_comes_back() -> None:
    sent = request()
    expected = request()
    span_of(expected).flags = 0x300  # the SDK's exporter writes whether the parent is remote, and no more
    assert back(sent) == expected


def test_what_the_sdk_does_not_carry_is_this() -> None:
    """As the README of the exporter lists it."""
    sent = request(kind=0, status=Status(code=1, message="why"))
    resource, scope, span = sent.resource_spans[0], sent.resource_spans[0].scope_spans[0], span_of(sent)
    resource.resource.dropped_attributes_count = 1
    resource.resource.entity_refs.append(EntityRef(type="service"))
    scope.scope.dropped_attributes_count = 2
    span.attributes.append(KeyValue(key="text", value=AnyValue(string_value="the last one counts")))
    span.attributes.append(KeyValue(key="", value=AnyValue(string_value="no key")))
    span.links[0].trace_state = "vendor=value"
    unknown = b"\xfa\x3f\x02hi"  # field 1023
    span.MergeFromString(unknown)
    found = back(sent)
    expected = request(kind=Span.SPAN_KIND_INTERNAL, status=Status(code=1))
    span_of(expected).flags = 0x300
    span_of(expected).attributes[0].value.string_value = "the last one counts"
    assert found == expected
    carried = readable(sent)[0]
    assert carried.links[0].context.trace_state == {"vendor": "value"}  # its own exporter does not write it


def test_a_span_as_an_exporter_sees_it() -> None:
    span = readable(request())[0]
    assert (span.context.trace_id, span.context.span_id) == (int.from_bytes(TRACE, "big"), int.from_bytes(OWN, "big"))
    assert span.context.trace_state == {"vendor": "value", "other": "2"}
    assert span.context.trace_flags.sampled
    assert span.parent.span_id == int.from_bytes(PARENT, "big")
    assert span.parent.is_remote
    assert not span.context.is_remote
    assert span.kind is SpanKind.CLIENT
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "no"
    assert (span.dropped_attributes, span.dropped_events, span.dropped_links) == (3, 5, 7)
    assert span.attributes["list"] == ("a", 2)
    assert span.resource.attributes["text"] == "grüße"
    assert (span.instrumentation_scope.name, span.instrumentation_scope.version) == ("library", "1.2")


def test_a_span_without_anything() -> None:
    span = Span(trace_id=TRACE, span_id=OWN)
    sent = ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=[span])])])
    found = readable(sent)[0]
    assert found.parent is None
    assert found.context.trace_flags.sampled  # as every span that an exporter of the SDK is given
    assert (found.name, found.events, found.links, found.status.status_code) == ("", (), (), StatusCode.UNSET)
    local = readable(request(flags=0x100))[0]
    assert not local.parent.is_remote


def test_ids_of_another_length_do_not_fit() -> None:
    good = Span(trace_id=TRACE, span_id=OWN)
    assert fits(good.SerializeToString())
    assert fits(b"\x2a\x01n" + good.SerializeToString())  # another order of fields
    for trace_id, span_id in ((b"", OWN), (TRACE[1:], OWN), (TRACE, b""), (TRACE, OWN + b"x"), (b"", b"")):
        assert not fits(Span(trace_id=trace_id, span_id=span_id, name="n").SerializeToString())
