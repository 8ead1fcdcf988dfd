"""OTLP/JSON: the encoding of the specification, and what of it may be broken."""

import gzip

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_tracead.errors import InvalidRequest
from otel_tracead.wire import otlp
from otel_tracead.wire.otlp import Envelopes
from otel_tracead.wire.otlp_json import decode_request, encode_request
from otel_tracead.wire.values import text
from tests.wire import protobuf_strategies as some


def _decode_span(**fields: object) -> Span:
    return Span.FromString(_decode_encoded(**fields))


def _decode_encoded(**fields: object) -> bytes:
    body = orjson.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [fields]}]}]})
    [(_, span)] = decode_request(body, Envelopes())
    return span


def _canonical(encoded: bytes) -> bytes:
    return ExportTraceServiceRequest.FromString(encoded).SerializeToString(deterministic=True)


@given(some.requests)
@settings(max_examples=30)
def test_encode_then_decode_keeps_everything_that_json_can_carry(request_):
    batch = otlp.decode_request(request_.SerializeToString(), Envelopes())
    again = decode_request(encode_request(batch), Envelopes())
    assert _canonical(otlp.encode_request(again)) == _canonical(otlp.encode_request(batch))


@given(st.data())
def test_odd_json_raises_invalid_request_only(data):
    keys = st.sampled_from(
        [
            "resourceSpans",
            "scopeSpans",
            "spans",
            "resource",
            "scope",
            "attributes",
            "key",
            "value",
            "stringValue",
            "intValue",
            "doubleValue",
            "boolValue",
            "bytesValue",
            "arrayValue",
            "kvlistValue",
            "values",
            "traceId",
            "spanId",
            "parentSpanId",
            "name",
            "kind",
            "startTimeUnixNano",
            "events",
            "links",
            "status",
            "code",
            "message",
            "droppedAttributesCount",
            "flags",
            "traceState",
            "entityRefs",
            "idKeys",
            "schemaUrl",
            "other",
        ]
    )
    odd = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.sampled_from(["", "ab", "é", "1"])
    values = st.recursive(
        odd, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
    )
    span = data.draw(st.dictionaries(keys, values, max_size=5))
    document = data.draw(
        values
        | st.just({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
        | st.just({"resourceSpans": [{"resource": span, "scopeSpans": [{"scope": span, "spans": [{}]}]}]})
    )
    try:
        body = orjson.dumps(document)
    except TypeError:  # an integer over 64 bits
        body = repr(document).encode()
    try:
        batch = decode_request(body, Envelopes())
    except InvalidRequest:
        return
    ExportTraceServiceRequest.FromString(otlp.encode_request(batch))


@given(st.binary(max_size=60))
def test_bytes_that_are_no_json_raise_invalid_request(body):
    try:
        decode_request(body, Envelopes())
    except InvalidRequest:
        pass
    else:
        assert type(orjson.loads(body)) is dict


def test_every_field_in_one_span():
    span = _decode_span(
        traceId="5B8EFFF798038103D269B633813FC60C",
        spanId="eee19b7ec3c1b174",
        parentSpanId="",
        traceState="a=b",
        flags=257,
        name="ü",
        kind=2,
        startTimeUnixNano="1544712660000000000",
        endTimeUnixNano=1544712661000000000,
        attributes=[
            {"key": "s", "value": {"stringValue": "x"}},
            {"key": "i", "value": {"intValue": "-3"}},
            {"key": "n", "value": {"intValue": 3}},
            {"key": "d", "value": {"doubleValue": 2}},
            {"key": "inf", "value": {"doubleValue": "-Infinity"}},
            {"key": "b", "value": {"boolValue": False}},
            {"key": "y", "value": {"bytesValue": "AAE="}},
            {"key": "a", "value": {"arrayValue": {"values": [{"stringValue": "p"}, {}]}}},
            {"key": "m", "value": {"kvlistValue": {"values": [{"key": "q", "value": {"boolValue": True}}]}}},
            {"key": "none"},
        ],
        droppedAttributesCount=1,
        events=[{"timeUnixNano": "5", "name": "e", "attributes": [{"key": "k", "value": {"stringValue": "v"}}]}],
        droppedEventsCount=2,
        links=[{"traceId": "ab", "spanId": "cd", "traceState": "t", "flags": 1}],
        droppedLinksCount=3,
        status={"code": 2, "message": "bad"},
        unheardOf={"spans": 7},
    )
    assert span.trace_id.hex() == "5b8efff798038103d269b633813fc60c"
    assert span.span_id.hex() == "eee19b7ec3c1b174"
    assert not span.parent_span_id
    assert (span.trace_state, span.flags, span.name, span.kind) == ("a=b", 257, "ü", 2)
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (1544712660000000000, 1544712661000000000)
    assert [(pair.key, text(pair.value)) for pair in span.attributes] == [
        ("s", "x"),
        ("i", "-3"),
        ("n", "3"),
        ("d", "2.0"),
        ("inf", "-Infinity"),
        ("b", "false"),
        ("y", "AAE="),
        ("a", '["p",null]'),
        ("m", '{"q":true}'),
        ("none", ""),
    ]
    assert (span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count) == (1, 2, 3)
    assert (span.events[0].time_unix_nano, span.events[0].name, span.events[0].attributes[0].key) == (5, "e", "k")
    assert (span.links[0].trace_id, span.links[0].span_id, span.links[0].flags) == (b"\xab", b"\xcd", 1)
    assert (span.status.code, span.status.message) == (2, "bad")


def test_the_collectors_leniency_names_of_enums_and_snake_case():
    assert _decode_span(kind="SPAN_KIND_CLIENT", status={"code": "STATUS_CODE_ERROR"}).kind == 3
    assert _decode_span(trace_id="ab", start_time_unix_nano=5).start_time_unix_nano == 5
    body = b'{"resource_spans":[{"schema_url":"u","scope_spans":[{"spans":[{}]}]}]}'
    [(envelope, _)] = decode_request(body, Envelopes())
    assert envelope.resource == b"\x1a\x01u"


def test_written_form():
    span = Span(trace_id=b"\xab" * 16, span_id=b"\xcd" * 8, name="a", kind=3, start_time_unix_nano=1 << 60)
    span.attributes.add(key="i").value.int_value = 1 << 60
    span.attributes.add(key="n").value.double_value = float("nan")
    span.attributes.add(key="b").value.bytes_value = b"\x00"
    span.attributes.add(key="t").value.bool_value = True
    span.status.SetInParent()
    envelope = Envelopes().intern(b"", b"\x0a\x03\x0a\x01s")
    written = orjson.loads(encode_request(otlp.SpanBatch([(envelope, [span.SerializeToString()])])))
    assert written == {
        "resourceSpans": [
            {
                "scopeSpans": [
                    {
                        "scope": {"name": "s"},
                        "spans": [
                            {
                                "traceId": "ab" * 16,
                                "spanId": "cd" * 8,
                                "name": "a",
                                "kind": 3,
                                "startTimeUnixNano": "1152921504606846976",
                                "endTimeUnixNano": "0",
                                "attributes": [
                                    {"key": "i", "value": {"intValue": "1152921504606846976"}},
                                    {"key": "n", "value": {"doubleValue": "NaN"}},
                                    {"key": "b", "value": {"bytesValue": "AA=="}},
                                    {"key": "t", "value": {"boolValue": True}},
                                ],
                                "status": {},
                            }
                        ],
                    }
                ]
            }
        ]
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"traceId": "xyz0"}, r"resourceSpans\[0\].scopeSpans\[0\].spans\[0\].traceId: .*hexadecimal.*'xyz0'"),
        ({"traceId": "abc"}, "spans.0..traceId: .*hexadecimal"),
        ({"traceId": "ab cd "}, "spans.0..traceId: .*hexadecimal"),
        ({"traceId": 5}, "spans.0..traceId: expected a string"),
        ({"name": []}, "spans.0..name: expected a string, not a list"),
        ({"kind": "SERVER"}, "spans.0..kind: .*SPAN_KIND_SERVER"),
        ({"kind": 1.5}, "spans.0..kind: "),
        ({"startTimeUnixNano": "1_0"}, "spans.0..startTimeUnixNano: expected an integer"),
        ({"startTimeUnixNano": 1.5e18}, "spans.0..startTimeUnixNano: expected an integer"),
        ({"startTimeUnixNano": -1}, "spans.0..startTimeUnixNano: -1 is out of range"),
        ({"startTimeUnixNano": True}, "spans.0..startTimeUnixNano: expected an integer, not a boolean"),
        ({"attributes": {}}, "spans.0..attributes: expected a list, not an object"),
        ({"attributes": [{"key": "a", "value": "b"}]}, "spans.0..attributes.0..value: expected an object"),
        ({"attributes": [{"key": 1}]}, "attributes.0..key: expected a string"),
        ({"attributes": [{}, {"key": "a", "value": {"intValue": "x"}}]}, "attributes.1..value.intValue: "),
        ({"attributes": [{"key": "a", "value": {"intValue": str(1 << 63)}}]}, "intValue: .* out of range"),
        ({"attributes": [{"key": "a", "value": {"boolValue": "true"}}]}, "boolValue: expected a boolean"),
        ({"attributes": [{"key": "a", "value": {"doubleValue": "1_0"}}]}, "doubleValue: expected a number"),
        ({"attributes": [{"key": "a", "value": {"bytesValue": "?"}}]}, "bytesValue: expected base64"),
        ({"attributes": [{"key": "a", "value": {"bytesValue": "é"}}]}, "bytesValue: expected base64"),
        (
            {"attributes": [{"value": {"arrayValue": {"values": [{"intValue": []}]}}}]},
            r"arrayValue.values\[0\].intValue",
        ),
        ({"attributes": [{"value": {"kvlistValue": {"values": [3]}}}]}, r"kvlistValue.values\[0\]: expected an object"),
        ({"events": [{"name": 3}]}, r"events\[0\].name: expected a string"),
        ({"links": [{"spanId": "z"}]}, r"links\[0\].spanId: "),
        ({"status": []}, "status: expected an object"),
        ({"flags": 1 << 32}, "flags: .* out of range"),
    ],
)
def test_broken_fields_are_refused_with_their_path(fields, message):
    with pytest.raises(InvalidRequest, match=message):
        _decode_encoded(**fields)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"resourceSpans":[{"a":"\xff"}]}', "not valid JSON"),
        (b"[" * 2000 + b"]" * 2000, "not valid JSON"),
        (b"[]", "the document: expected an object, not a list"),
        (b'{"resourceSpans":3}', "resourceSpans: expected a list"),
        (b'{"resourceSpans":[3]}', r"resourceSpans\[0\]: expected an object"),
        (b'{"resourceSpans":[{"resource":3}]}', r"resourceSpans\[0\].resource: expected an object"),
        (b'{"resourceSpans":[{"scopeSpans":[3]}]}', r"resourceSpans\[0\].scopeSpans\[0\]: expected an object"),
        (b'{"resourceSpans":[{"scopeSpans":[{"spans":3}]}]}', r"scopeSpans\[0\].spans: expected a list"),
    ],
)
def test_broken_documents_are_refused(body, message):
    with pytest.raises(InvalidRequest, match=message):
        decode_request(body, Envelopes())


@pytest.mark.parametrize("key", ["arrayValue", "kvlistValue"])
def test_nesting_is_taken_as_deep_as_protobuf_takes_it_and_refused_beyond(key):
    refused = 0
    for depth in range(20, 60):
        value: object = {"stringValue": "x"}
        for _ in range(depth):
            value = {key: {"values": [value if key == "arrayValue" else {"key": "k", "value": value}]}}
        try:
            span = _decode_encoded(events=[{"attributes": [{"key": "a", "value": value}]}])
        except InvalidRequest as error:
            assert "nested deeper" in str(error)  # noqa: PT017 (not every depth is refused)
            refused += 1
        else:
            assert not refused
            encoded = otlp.encode_request(otlp.SpanBatch([(Envelopes().intern(b"", b""), [span])]))
            ExportTraceServiceRequest.FromString(encoded)
    assert refused


def test_nothing_and_nulls_are_no_spans():
    for body in (b"{}", b'{"resourceSpans":null}', b'{"resourceSpans":[{"scopeSpans":[{"spans":[]}]}]}'):
        assert len(decode_request(body, Envelopes())) == 0
    assert _decode_encoded(name=None, attributes=None) == b""


def test_json_and_protobuf_share_envelopes():
    envelopes = Envelopes()
    body = b"""{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"a"}}]},
        "scopeSpans":[{"scope":{"name":"s"},"spans":[{"name":"x"}]}]}]}"""
    batch = decode_request(body, envelopes)
    [(envelope, _)] = otlp.decode_request(otlp.encode_request(batch), envelopes)
    assert envelope is batch.groups[0][0]
    assert envelope.service == "a"


@pytest.mark.data
def test_real_requests_survive_both_encodings(trace_data):
    with gzip.open(min((trace_data / "online_boutique").glob("*.jsonl.gz"))) as file:
        lines = [line for _, line in zip(range(5), file, strict=False)]
    for line in lines:
        batch = decode_request(line, Envelopes())
        assert decode_request(encode_request(batch), Envelopes()).size() == batch.size()
        written = orjson.loads(encode_request(batch))
        assert sum(len(s["spans"]) for r in written["resourceSpans"] for s in r["scopeSpans"]) == len(batch)
