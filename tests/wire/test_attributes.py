"""Attributes appended and stripped, with protobuf itself as the oracle."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_tracead.wire.attributes import append_attributes, encode_attribute, strip_attributes
from otel_tracead.wire.batch import TranslatedSpan
from tests.wire import protobuf_strategies as some

values = st.one_of(
    st.text(max_size=20),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.lists(st.text(max_size=5), max_size=4),
)


def _python(value):
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [item.string_value for item in value.array_value.values]
    return getattr(value, kind)


@given(some.spans, st.dictionaries(some.text, values, max_size=5))
def test_appended_attributes_are_the_spans_last_ones(span, attributes):
    encoded = span.SerializeToString()
    for key, value in attributes.items():
        encoded = append_attributes(encoded, encode_attribute(key, value))
    found = Span.FromString(encoded)
    appended = list(found.attributes)[len(span.attributes) :]
    assert [(pair.key, _python(pair.value)) for pair in appended] == list(attributes.items())
    assert [type(_python(pair.value)) for pair in appended] == [type(value) for value in attributes.values()]
    del found.attributes[len(span.attributes) :]
    assert found.SerializeToString(deterministic=True) == span.SerializeToString(deterministic=True)


def test_true_and_one_are_different_attributes():
    assert encode_attribute("a", 1) != encode_attribute("a", True) != encode_attribute("a", 1.0)
    assert encode_attribute("a", ["1"]) == encode_attribute("a", ("1",))
    assert encode_attribute("a", 0.0) != encode_attribute("a", -0.0)


@given(some.spans, st.lists(st.tuples(some.unknown_fields, some.keys), max_size=4))
def test_stripping_removes_own_attributes_and_nothing_else(span, tail):
    encoded, expected, removed = span.SerializeToString(), Span.FromString(span.SerializeToString()), 0
    kept = b""
    for unknown, key in tail:
        attribute = encode_attribute(key, "v")
        encoded += unknown + attribute
        kept += unknown + (b"" if key.startswith("tracead.") else attribute)
    own = [index for index, pair in enumerate(span.attributes) if pair.key.startswith("tracead.")]
    for index in reversed(own):
        del expected.attributes[index]
    removed = len(own) + sum(key.startswith("tracead.") for _, key in tail)
    stripped, count = strip_attributes(encoded)
    assert count == removed
    # Deterministic for the start; the tail must be there byte for byte.
    assert stripped == expected.SerializeToString() + kept
    assert strip_attributes(stripped) == (stripped, 0)
    if not removed:
        assert stripped is encoded


@pytest.mark.parametrize(
    "field",
    [
        b"\x4a\x0d\x0a\x09tracead.x\x12\x00",  # plain
        b"\xca\x00\x0d\x0a\x09tracead.x\x12\x00",  # tag in more bytes than needed
        b"\x4a\x8d\x00\x0a\x09tracead.x\x12\x00",  # length in more bytes than needed
        b"\x4a\x0d\x12\x00\x0a\x09tracead.x",  # value before key
        b"\x4a\x0e\x0a\x01a\x0a\x09tracead.x",  # the last of two keys counts
    ],
)
def test_unusual_encodings_are_stripped(field):
    assert Span.FromString(field).attributes[0].key == "tracead.x"
    assert strip_attributes(b"\x2a\x01a" + field + b"\x30\x01") == (b"\x2a\x01a\x30\x01", 1)


@pytest.mark.parametrize(
    "field",
    [
        b"\x4a\x0e\x0a\x09tracead.x\x0a\x01a",  # the last of two keys counts
        b"\x4a\x11\x0a\x01k\x12\x0c\x0a\x0atracead.xy",  # in a value
        b"\x4a\x0a\x0a\x08xtracead",
        b"\x4b\x0a\x09tracead.x\x4c",  # a group
        b"\x5a\x0b\x1a\x09\x0a\x07tracead",  # in an event
        b"\x5a\x0d\x1a\x0b\x0a\x09tracead.x",  # in an event
        b"\x6a\x0d\x22\x0b\x0a\x09tracead.x",  # in a link
        b"\x2a\x09tracead.x",  # the name
    ],
)
def test_what_is_no_own_attribute_stays(field):
    Span.FromString(field)
    span = field + b"\x30\x01"
    assert strip_attributes(span)[0] is span


@given(st.binary(max_size=40))
def test_whatever_protobuf_takes_can_be_stripped(body):
    span = body + b"\x4a\x0b\x0a\x09tracead.x"
    try:
        found = Span.FromString(span)
    except Exception:  # noqa: BLE001 (the oracle)
        return
    stripped, removed = strip_attributes(span)
    kept = [pair.key for pair in found.attributes if not pair.key.startswith("tracead.")]
    assert removed == len(found.attributes) - len(kept)
    assert [pair.key for pair in Span.FromString(stripped).attributes] == kept


def test_a_translated_span_stays_one_and_its_origin_is_stripped():
    plain = Span(name="a").SerializeToString()
    own = encode_attribute("tracead.x", "y")
    span = TranslatedSpan(plain, b'{"id":"1","tags":{"tracead.x":"spoofed","b":"c"}}')
    annotated = append_attributes(span, own)
    assert isinstance(annotated, TranslatedSpan)
    stripped, removed = strip_attributes(annotated)
    assert (stripped, removed) == (plain, 1)
    assert isinstance(stripped, TranslatedSpan)
    assert orjson.loads(stripped.origin) == {"id": "1", "tags": {"b": "c"}}
    assert strip_attributes(stripped)[0] is stripped
    other = TranslatedSpan(plain, b'{"id":"1","name":"tracead."}')
    assert strip_attributes(other)[0] is other
