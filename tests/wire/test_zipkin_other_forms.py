"""Zipkin v1 JSON and protobuf: whatever comes is translated or refused, and what is written is what Zipkin reads."""

import json
from collections import Counter

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_tracead.errors import InvalidRequest
from otel_tracead.wire import otlp
from otel_tracead.wire.batch import SpanBatch, TranslatedSpan
from otel_tracead.wire.otlp import Envelopes
from otel_tracead.wire.zipkin import decode_protobuf, decode_spans, decode_v1_spans, encode_protobuf, encode_spans
from tests.wire import protobuf_strategies as some

IDS = {"traceId": "463ac35c9f6413ad48485a3953bb6124", "id": "a2fb4a1d1a96d312"}
_V1_KEYS = (
    "traceId",
    "id",
    "parentId",
    "name",
    "timestamp",
    "duration",
    "debug",
    "annotations",
    "binaryAnnotations",
    "tags",
)
_INNER_KEYS = ("timestamp", "value", "endpoint", "key", "serviceName", "ipv4", "port")
_odd = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | some.text
    | st.sampled_from(["cs", "sa", "1"])
)
_values = st.recursive(
    _odd,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_INNER_KEYS), inner, max_size=4),
    max_leaves=8,
)
_endpoints = st.none() | st.fixed_dictionaries({"serviceName": st.sampled_from(["web", "shop", ""])})
_v1_spans = st.fixed_dictionaries(
    {"traceId": st.just(IDS["traceId"]), "id": st.just(IDS["id"])},
    optional={
        "timestamp": st.integers(0, 2**50),
        "duration": st.integers(0, 2**50),
        "annotations": st.lists(
            st.fixed_dictionaries(
                {
                    "timestamp": st.integers(0, 2**50),
                    "value": st.sampled_from(["cs", "cr", "ss", "sr", "ms", "mr", "ws", "wr", "x"]),
                    "endpoint": _endpoints,
                }
            ),
            max_size=6,
        ),
        "binaryAnnotations": st.lists(
            st.fixed_dictionaries(
                {
                    "key": st.sampled_from(["ca", "sa", "ma", "lc", "a"]),
                    "value": st.booleans() | some.text,
                    "endpoint": _endpoints,
                }
            ),
            max_size=4,
        ),
    },
)


@given(st.data())
@settings(max_examples=40)
def test_odd_v1_raises_invalid_request_only(data):
    span = {**IDS, **data.draw(st.dictionaries(st.sampled_from(_V1_KEYS), _values, max_size=5))}
    body = orjson.dumps(data.draw(_values | st.just([span])))
    try:
        batch = decode_v1_spans(body, Envelopes())
    except InvalidRequest:
        return
    otlp.decode_request(otlp.encode_request(batch), Envelopes())


@given(st.lists(_v1_spans, min_size=1, max_size=3))
@settings(max_examples=40)
def test_v1_becomes_v2_that_is_read_again_as_it_is(spans):
    envelopes = Envelopes()
    batch = decode_v1_spans(orjson.dumps(spans), envelopes)
    assert len(spans) <= len(batch) <= 12 * len(spans)
    assert all(isinstance(span, TranslatedSpan) for _, span in batch)
    assert Counter(decode_spans(encode_spans(batch), envelopes)) == Counter(batch)


@given(st.binary(max_size=60) | st.just(b""), st.data())
@settings(max_examples=60)
def test_odd_protobuf_raises_invalid_request_only(tail, data):
    whole = encode_protobuf(
        decode_spans(orjson.dumps([{**IDS, "tags": {"a": "b"}, "localEndpoint": {"ipv4": "10.0.0.1"}}]), Envelopes())
    )
    cut = data.draw(st.integers(0, len(whole)))
    for body in (tail, whole[:cut], whole[:cut] + tail + whole[cut:], whole + tail):
        try:
            batch = decode_protobuf(body, Envelopes())
        except InvalidRequest:
            continue
        otlp.decode_request(otlp.encode_request(batch), Envelopes())


@given(some.requests)
@settings(max_examples=30)
def test_any_otlp_says_the_same_in_protobuf_and_in_json(request_):
    batch = otlp.decode_request(request_.SerializeToString(), Envelopes())
    by_json = decode_spans(encode_spans(batch), Envelopes())
    by_protobuf = decode_protobuf(encode_protobuf(batch), Envelopes())

    def comparable(batch: SpanBatch) -> list[tuple[str, str]]:
        return sorted((repr(envelope.resource), repr(_sorted(span))) for envelope, span in batch)

    assert comparable(by_protobuf) == comparable(by_json)


def _sorted(span: bytes) -> Span:
    """The span with its attributes in order: protobuf has tags in none. And as its reader has it: no empty annotations."""
    parsed = Span.FromString(span)
    attributes = sorted(parsed.attributes, key=lambda pair: pair.key)
    events = [event for event in parsed.events if event.name or event.attributes]
    del parsed.attributes[:], parsed.events[:]
    parsed.attributes.extend(attributes)
    parsed.events.extend(events)
    return parsed


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"traceId": None}, r"\[1\].traceId: missing"),
        ({"traceId": "1" + "0" * 16}, r"\[1\].traceId: is all zeros"),
        ({"id": "1" + "0" * 16}, r"\[1\].id: is all zeros"),
        ({"id": "x"}, r"\[1\].id: expected 1 to 32 hexadecimal digits, not 'x'"),
        ({"name": 3}, r"\[1\].name: expected a string, not 3"),
        ({"timestamp": "now"}, r"\[1\].timestamp: expected an integer"),
        ({"annotations": {}}, r"\[1\].annotations: expected a list"),
        ({"annotations": [{"timestamp": 1}]}, r"\[1\].annotations\[0\].value: missing"),
        (
            {"annotations": [{"timestamp": 1, "value": "cs", "endpoint": 3}]},
            r"\[1\].annotations\[0\].endpoint: expected an object",
        ),
        (
            {"annotations": [{"timestamp": 1, "value": "cs", "endpoint": {"port": 65536}}]},
            r"annotations\[0\].endpoint.port: 65536 is out",
        ),
        ({"binaryAnnotations": [{"value": "a"}]}, r"\[1\].binaryAnnotations\[0\].key: missing"),
        ({"binaryAnnotations": [{"key": 1}]}, r"\[1\].binaryAnnotations\[0\].key: expected a string"),
        ({"binaryAnnotations": ["a"]}, r"\[1\].binaryAnnotations\[0\]: expected an object"),
        ({"tags": {}}, r"\[1\]: Expected a JSON_V1 encoded list, but received: JSON_V2"),
    ],
)
def test_broken_v1_spans_are_refused_with_index_and_key(fields, message):
    with pytest.raises(InvalidRequest, match=message):
        decode_v1_spans(orjson.dumps([IDS, {**IDS, **fields}]), Envelopes())


@pytest.mark.parametrize(
    ("span", "message"),
    [
        (b"\x0a\x04abcd\x1a\x08abcdefgh", r"\[0\].trace_id: expected 8 or 16 bytes, not 4"),
        (b"\x0a\x08abcdefgh\x1a\x04abcd", r"\[0\].id: expected 8 bytes, not 4"),
        (b"\x0a\x08abcdefgh\x1a\x08abcdefgh\x12\x01a", r"\[0\].parent_id: expected 8 bytes, not 1"),
        (b"\x0a\x08abcdefgh\x1a\x08\0\0\0\0\0\0\0\0", r"\[0\].id: is all zeros"),
        (
            b"\x0a\x08abcdefgh\x1a\x08abcdefgh\x31\xff\xff\xff\xff\xff\xff\xff\xff",
            r"\[0\].timestamp: .* is out of range",
        ),
        (
            b"\x0a\x08abcdefgh\x1a\x08abcdefgh\x42\x04\x20\x80\x80\x04",
            r"\[0\].local_endpoint: port 65536 is out of range",
        ),
        (b"\x0a\x08abcdefgh\x1a\x08abcdefgh\x2a\x01\xff", "not a valid protobuf ListOfSpans"),
    ],
)
def test_broken_protobuf_is_refused_with_index_and_field(span, message):
    with pytest.raises(InvalidRequest, match=message):
        decode_protobuf(b"\x0a" + bytes([len(span)]) + span, Envelopes())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("-7", -7),
        ("007", 7),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", "9223372036854775808"),
        ("0.5", 0.5),
        ("-1.25", -1.25),
        ("1e3", "1e3"),
        (".5", ".5"),
        ("true", True),
        ("false", False),
        ("True", "True"),
        ("", ""),
        ("\u0661", "\u0661"),
        ("1" * 200 + ".0", "1" * 200 + ".0"),
    ],
)
def test_tags_that_spell_a_number(text, value):
    body = json.dumps([{**IDS, "timestamp": 1, "tags": {"a": text}}]).encode()
    [(_, span)] = decode_spans(body, Envelopes(), parse_string_tags=True)
    [pair] = Span.FromString(span).attributes
    found = getattr(pair.value, pair.value.WhichOneof("value"))
    assert (type(found), found) == (type(value), value)
    [(_, span)] = decode_spans(body, Envelopes())
    assert Span.FromString(span).attributes[0].value.string_value == text
