"""OTLP protobuf: what comes in goes out, byte for byte."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from otel_tracead.errors import InvalidRequest
from otel_tracead.wire.batch import SpanBatch, TranslatedSpan, concatenate, group
from otel_tracead.wire.otlp import Envelopes, decode_request, encode_request
from otel_tracead.wire.values import text
from tests.wire import protobuf_strategies as some


def _delimited(tag: int, payload: bytes) -> bytes:
    length, encoded = len(payload), b""
    while length > 0x7F:
        encoded += bytes([length & 0x7F | 0x80])
        length >>= 7
    return bytes([tag]) + encoded + bytes([length]) + payload


@given(st.lists(st.tuples(st.lists(some.spans, min_size=1, max_size=3), *[some.unknown_fields] * 4), max_size=3))
@settings(max_examples=30)
def test_decode_then_encode_is_the_identity_with_unknown_fields_at_each_level(parts):
    body = b""
    for index, (spans, of_span, of_scope, of_resource, in_resource) in enumerate(parts):
        scope = _delimited(0x0A, b"\x0a\x01s" + in_resource)
        members = b"".join(_delimited(0x12, span.SerializeToString() + of_span) for span in spans)
        resource = _delimited(0x0A, _delimited(0x0A, b"\x0a\x01" + bytes([48 + index])) + in_resource)
        body += _delimited(0x0A, resource + _delimited(0x12, scope + members + of_scope) + b"\x1a\x01u" + of_resource)
    batch = decode_request(body, Envelopes())
    assert encode_request(batch) == body
    assert len(batch) == sum(len(spans) for spans, *_ in parts)


@given(some.requests)
@settings(max_examples=30)
def test_each_span_keeps_its_bytes_resource_and_scope(request_):
    envelopes = Envelopes()
    expected = Counter()
    for resource_spans in request_.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                resource, scope = type(resource_spans)(), type(scope_spans)()
                resource.CopyFrom(resource_spans)
                scope.CopyFrom(scope_spans)
                resource.ClearField("scope_spans")
                scope.ClearField("spans")
                key = tuple(message.SerializeToString() for message in (resource, scope, span))
                expected[key] += 1
    batch = decode_request(request_.SerializeToString(), envelopes)
    assert Counter((envelope.resource, envelope.scope, span) for envelope, span in batch) == expected
    again = decode_request(encode_request(batch), envelopes)
    assert Counter(again) == Counter(batch)
    envelope_list, span_list = zip(*batch, strict=True) if len(batch) else ((), ())
    assert Counter(group(envelope_list, span_list)) == Counter(concatenate([batch])) == Counter(batch)


@given(st.binary(max_size=40) | some.requests.map(lambda request: request.SerializeToString()), st.data())
@settings(max_examples=30)
def test_broken_bodies_raise_invalid_request_only(body, data):
    cut = data.draw(st.integers(0, len(body)))
    for broken in (body, body[:cut], body[:cut] + b"\xff" + body[cut:]):
        try:
            ExportTraceServiceRequest.FromString(broken)
        except Exception:  # noqa: BLE001 (the oracle)
            with pytest.raises(InvalidRequest):
                decode_request(broken, Envelopes())
        else:
            decode_request(broken, Envelopes())


def test_a_span_with_a_string_that_is_no_utf8_is_refused():
    span = _delimited(0x2A, b"\xff")
    with pytest.raises(InvalidRequest, match="protobuf"):
        decode_request(_delimited(0x0A, _delimited(0x12, _delimited(0x12, span))), Envelopes())


def test_envelopes_are_shared_and_bounded():
    envelopes = Envelopes(limit=2)
    first = envelopes.intern(b"\x1a\x01a", b"")
    assert envelopes.intern(b"\x1a\x01a", b"") is first
    for number in range(3):
        envelopes.intern(b"\x1a\x01" + bytes([60 + number]), b"")
    assert envelopes.intern(b"\x1a\x01a", b"") is not first


def test_envelopes_are_bounded_in_bytes():
    envelopes = Envelopes()
    huge = _delimited(0x1A, b"x" * (33 << 20))
    first = envelopes.intern(huge, b"")
    assert envelopes.intern(huge, b"") is first
    envelopes.intern(huge, b"\x1a\x01s")
    assert envelopes.intern(huge, b"") is not first


def test_translated_spans_encode_as_their_translation():
    envelope = Envelopes().intern(b"", b"")
    span = some.Span(name="a").SerializeToString()
    batch = SpanBatch([(envelope, [TranslatedSpan(span, b"{}")])])
    assert encode_request(batch) == encode_request(SpanBatch([(envelope, [span])]))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (AnyValue(), ""),
        (AnyValue(string_value="a"), "a"),
        (AnyValue(bool_value=True), "true"),
        (AnyValue(bool_value=False), "false"),
        (AnyValue(int_value=-1), "-1"),
        (AnyValue(double_value=0.1), "0.1"),
        (AnyValue(bytes_value=b"\x00\x01"), "AAE="),
        (AnyValue(array_value={"values": [{"int_value": 1}, {"string_value": "a"}, {}]}), '[1,"a",null]'),
        (AnyValue(kvlist_value={"values": [{"key": "k", "value": {"double_value": float("nan")}}]}), '{"k":"NaN"}'),
    ],
)
def test_text(value, expected):
    assert text(value) == expected
