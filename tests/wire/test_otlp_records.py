"""OTLP/JSON by typed records: whatever is sent, what comes out is what the plain reader gives."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otel_tracead.errors import InvalidRequest
from otel_tracead.wire import _otlp_records, otlp_json
from otel_tracead.wire.otlp import Envelopes

LEAST = {"traceId": "463ac35c9f6413ad48485a3953bb6124", "spanId": "a2fb4a1d1a96d312"}
TIMES = {"startTimeUnixNano": "1661140339213560192", "endTimeUnixNano": "1661140339214065344"}
FULL = {
    **LEAST,
    "traceState": "a=b",
    "parentSpanId": "0020000000000001",
    "flags": 257,
    "name": "GET /api",
    "kind": 2,
    **TIMES,
    "attributes": [
        {"key": "http.route", "value": {"stringValue": "/api"}},
        {"key": "n", "value": {"intValue": "12"}},
        {"key": "list", "value": {"arrayValue": {"values": [{"boolValue": True}, {"doubleValue": 1.5}]}}},
    ],
    "droppedAttributesCount": 1,
    "events": [{"timeUnixNano": "1661140339213560193", "name": "e", "attributes": []}],
    "droppedEventsCount": 2,
    "links": [LEAST],
    "droppedLinksCount": 3,
    "status": {"code": 2, "message": "no"},
}

_text = st.sampled_from(["", "a", "é☃", 'q"u\\o', "\u0661" * 19, "x" * 600])
_id = st.sampled_from([*LEAST.values(), "0" * 16, "0" * 32, "1", "ABCDEF0123456789", "g" * 16, "a" * 18, "é" * 16, 5])
_number = st.sampled_from(
    [
        0,
        1,
        2,
        9,
        -1,
        1 << 31,
        1 << 32,
        1 << 63,
        1 << 64,
        1.0,
        2.5,
        True,
        None,
        "1",
        "-1",
        "x",
        "0" * 19,
        "9" * 19,
        "9" * 20,
        "0" * 24 + "1",
        "+100000000000000000",
        "1_0",
    ]
)
_scalar = st.none() | st.booleans() | _number | _text
_value = st.recursive(_scalar, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_text, inner, max_size=2))
_any_value = st.dictionaries(
    st.sampled_from(["stringValue", "intValue", "boolValue", "doubleValue", "bytesValue", "string_value", "x"]),
    _scalar,
    max_size=2,
)
_attributes = st.lists(
    st.fixed_dictionaries({}, optional={"key": _text | _number, "value": _any_value | _value, "x": _value}), max_size=3
)
_FIELDS = {
    "traceId": _id,
    "spanId": _id,
    "parentSpanId": _id | st.just(""),
    "parent_span_id": _id,
    "traceState": _scalar,
    "name": _scalar | _value,
    "kind": _number | st.sampled_from(["SPAN_KIND_CLIENT", "CLIENT", True, 2.0]),
    "startTimeUnixNano": _number,
    "endTimeUnixNano": _number | _text,
    "attributes": _attributes | _value,
    "droppedAttributesCount": _number,
    "events": st.lists(st.fixed_dictionaries({"attributes": _attributes, "timeUnixNano": _number}), max_size=2),
    "links": st.lists(st.fixed_dictionaries({"traceId": _id, "attributes": _attributes}), max_size=2) | _value,
    "status": st.fixed_dictionaries({"code": _number, "message": _scalar}) | _value,
    "flags": _number,
    "unheardOf": _value,
}
_spans = st.lists(
    st.builds(
        lambda base, odd: {**base, **odd},
        st.sampled_from([FULL, LEAST, {**LEAST, **TIMES}]),
        st.one_of(*(st.fixed_dictionaries({key: value}) for key, value in _FIELDS.items())),
    ),
    max_size=3,
)
_around = st.sampled_from(
    [
        {},
        {"schemaUrl": "https://x"},
        {"schema_url": "y"},
        {"resource": None, "scope": None},
        {"schemaUrl": 5},
        {"resource": {"attributes": FULL["attributes"]}, "scope": {"name": "a", "version": "1"}},
        {"scope": "a"},
    ]
)


def _request(spans, around):
    scopes = {key: value for key, value in around.items() if key != "resource"}
    resources = {key: value for key, value in around.items() if key != "scope"}
    return {"resourceSpans": [{**resources, "scopeSpans": [{**scopes, "spans": spans}, {"spans": []}]}]}


def _read(body):
    try:
        batch = otlp_json.decode_request(body, Envelopes())
    except InvalidRequest as error:
        return str(error)
    return [(envelope.resource, envelope.scope, spans) for envelope, spans in batch.groups]


def _plain(body):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_otlp_records, "read", lambda _: None)
        return _read(body)


@given(_spans, _around, st.booleans())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_is_the_plain_reader_whatever_a_span_holds(spans, around, escaped):
    body = json.dumps(_request(spans, around), ensure_ascii=escaped).encode()
    assert _read(body) == _plain(body)


ODD_TIMES = [
    "0" * 19,
    "\u0661" * 19,
    "1",
    "9" * 20,
    "0" * 24 + "1",
    "0" * 23 + "1",
    "+100000000000000000",
    "1" * 14,
    5,
    None,
]


@pytest.mark.parametrize("odd", ODD_TIMES)
def test_times_are_read_as_ever(odd):
    for times in ({"startTimeUnixNano": odd}, {"endTimeUnixNano": odd}, dict.fromkeys(TIMES, odd)):
        body = json.dumps(_request([{**LEAST, **TIMES}, {**LEAST, **TIMES, **times}], {})).encode()
        assert _read(body) == _plain(body)


@pytest.mark.parametrize("kind", [2.0, True, "2", None])
def test_a_kind_is_not_taken_for_a_number_that_equals_it(kind):
    for value in (2, 1, kind):
        body = json.dumps(_request([{**LEAST, "name": "a", "kind": value}], {})).encode()
        assert _read(body) == _plain(body)


_BODY = json.dumps(_request([FULL, LEAST], {}), separators=(",", ":")).encode()
_SPAN = _BODY.index(b'{"traceId"') + 1


@given(st.integers(0, len(_BODY)), st.integers(0, 3), st.sampled_from(["", '"', ",", "{", "\x01", "\\", "0", "e", " "]))
@example(at=_SPAN, cut=0, put='"status":{"message":"\udcff"},')
@example(at=_SPAN, cut=0, put='"name":"first",')
@settings(max_examples=100, deadline=None, derandomize=True)
def test_is_the_plain_reader_whatever_is_broken(at, cut, put):
    body = _BODY[:at] + put.encode(errors="surrogateescape") + _BODY[at + cut :]
    assert _read(body) == _plain(body)


@pytest.mark.parametrize("body", [_BODY, json.dumps(_request([FULL] * 3, {})).encode(), b"{}", b'{"resourceSpans":[]}'])
def test_takes_what_exporters_write(body):
    assert _otlp_records.read(body) is not None


@pytest.mark.parametrize("levels", [50, 300, 980, 1100])
def test_deep_nesting_is_read_as_ever(levels):
    deep = b'{"key":"a","value":{},"x":%s%s}' % (b"[" * levels, b"]" * levels)
    body = _BODY.replace(b'"attributes":[', b'"attributes":[' + deep + b",", 1)
    assert _read(body) == _plain(body)


def test_what_is_long_is_not_remembered():
    _otlp_records._remembered_attribute.cache_clear()
    attributes = [{"key": "long", "value": {"stringValue": "x" * 5000}}]
    body = json.dumps(_request([{**LEAST, "attributes": attributes}], {})).encode()
    assert _otlp_records.read(body) is not None
    assert _otlp_records._remembered_attribute.cache_info().currsize == 0
