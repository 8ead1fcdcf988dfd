"""The text of Zipkin JSON: whatever is added to it or removed, the rest says the same in the same spelling."""

import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_tracead.errors import InvalidRequest
from otel_tracead.wire import _zipkin_text as zipkin_text
from otel_tracead.wire.attributes import strip_attributes
from otel_tracead.wire.otlp import Envelopes
from otel_tracead.wire.zipkin import decode_spans, encode_spans

text = st.text(st.sampled_from('ab"\\/{}[]:, \t\n☃é\x01') | st.characters(codec="utf-8"), max_size=6)
numbers = st.sampled_from(["0", "-0", "1.50", "1e3", "-0.0", "123456789012345678901234567890", "2.0E-7"])
keys = st.sampled_from(["tags", "id", "traceId", "a", "tracead.x", "unheardOf"]) | text


@st.composite
def json_text(draw, value):
    """Print *value* as some sender might: with spaces, with escapes, numbers as they are spelled."""
    space = draw(st.sampled_from(["", " ", "\n\t"]))
    if isinstance(value, dict):
        members = [draw(json_text(key)) + space + ":" + draw(json_text(item)) for key, item in value.items()]
        return "{" + space + f"{space},".join(members) + "}"
    if isinstance(value, list):
        return "[" + f",{space}".join(draw(json_text(item)) for item in value) + space + "]"
    if isinstance(value, tuple):  # a number's spelling
        return value[0]
    if isinstance(value, str) and draw(st.booleans()):
        return '"' + "".join(f"\\u{unit:04x}" for unit in _units(value)) + '"'
    return json.dumps(value, ensure_ascii=draw(st.booleans()))


def _units(value):
    encoded = value.encode("utf-16-be")
    return [int.from_bytes(encoded[place : place + 2], "big") for place in range(0, len(encoded), 2)]


scalars = st.none() | st.booleans() | text | numbers.map(lambda number: (number,))
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=8
)
tags = st.dictionaries(text | st.sampled_from(["tracead.a", "tracead.", "tracea"]), text, max_size=4)
spans = st.fixed_dictionaries(
    {"traceId": st.just("ab12"), "id": st.just("1")},
    optional={"tags": tags | st.none(), "unheardOf": values, "zz": values},
)


def _spelled(document):
    return json.loads(document, parse_int=lambda number: ("n", number), parse_float=lambda number: ("n", number))


@given(st.lists(spans, max_size=3).flatmap(lambda found: st.tuples(st.just(found), json_text(found))))
@settings(max_examples=25)
def test_spans_go_out_in_the_spelling_in_which_they_came(case):
    _, body = case
    batch = decode_spans(body.encode(), Envelopes())
    [_, *found] = [None, *(strip_attributes(span)[0] for _, span in batch)]
    expected = _spelled(body)
    for span in expected:
        if span.get("tags"):
            span["tags"] = {key: value for key, value in span["tags"].items() if not key.startswith("tracead.")}
    assert sorted(repr(_spelled(span.origin)) for span in found) == sorted(map(repr, expected))


@given(spans.flatmap(lambda span: st.tuples(st.just(span), json_text(span))), tags)
@settings(max_examples=30)
def test_tags_are_added_and_nothing_else_changes(case, added):
    _, span = case
    expected = _spelled(span)
    expected["tags"] = {**{k: v for k, v in (expected.get("tags") or {}).items() if k not in added}, **added}
    assert _spelled(zipkin_text.with_tags(span.encode(), added)) == expected


@given(spans.flatmap(lambda span: st.tuples(st.just(span), json_text(span))))
@settings(max_examples=30)
def test_tags_are_removed_however_they_are_written(case):
    _, span = case
    expected = _spelled(span)
    own = [key for key in expected.get("tags") or {} if key.startswith("tracead.")]
    for key in own:
        del expected["tags"][key]
    encoded = span.encode()
    found = zipkin_text.without_tags(encoded, "tracead.")
    assert _spelled(found) == expected
    if not own:
        assert found is encoded


@pytest.mark.parametrize(
    "body",
    [
        rb'[{"traceId":"1","id":"1","tags":{"tr\u0061cead.anomaly.level":"high","a":"b"}}]',
        rb'[{"traceId":"1","id":"1","\u0074ags":{"\u0074racead.anomaly.level":"high","a":"b"}}]',
        rb'[{"traceId":"1","id":"1","tags":{"tracead.anomaly.level":"high"},"tags":{"a":"b"}}]',
        rb'[{"traceId":"1","id":"1","tags":{"tracead.anomaly.level":"high"},"ta\u0067s":{"a":"b"}}]',
    ],
)
def test_a_spoofed_tag_does_not_hide(body):
    [(_, span)] = decode_spans(body, Envelopes())
    assert b"tracead." in span
    stripped, removed = strip_attributes(span)
    assert removed == 1
    assert orjson.loads(stripped.origin)["tags"] == {"a": "b"}
    assert b"tracead" not in stripped.origin + bytes(stripped)


def test_ids_are_lowered_and_the_rest_keeps_its_spelling():
    body = b'[{"traceId": "ABC", "id":"D", "x":1.50, "parentId":null, "tags":{"id":"E"}}]'
    assert encode_spans(decode_spans(body, Envelopes())) == body.replace(b"ABC", b"abc").replace(b'"D"', b'"d"')


@pytest.mark.parametrize("levels", [253, 254, 1000, 100_000])
def test_what_no_zipkin_would_read_is_refused(levels):
    body = b'[{"traceId":"1","id":"1","x":' + b"[" * levels + b"]" * levels + b"}]"
    if levels == 253:
        assert encode_spans(decode_spans(body, Envelopes())) == body
        spaced = body.replace(b'"id"', b'\t"id"')
        assert encode_spans(decode_spans(spaced, Envelopes())) == spaced
    else:
        with pytest.raises(InvalidRequest):
            decode_spans(body, Envelopes())


def test_only_what_printing_would_change_is_cut_out():
    spans_ = [{"traceId": "1", "id": "1", "tags": {"a, ": 'b": '}}, {"traceId": "2", "id": "2", "name": ", {"}]
    for body in (orjson.dumps(spans_), json.dumps(spans_).encode(), json.dumps(spans_, indent=1).encode()):
        found = zipkin_text.elements(body, orjson.loads(body))
        assert list(map(orjson.loads, found)) == spans_
