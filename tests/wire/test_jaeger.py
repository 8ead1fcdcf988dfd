"""Jaeger JSON: the rows of the translation, and what of it may be broken."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_tracead.errors import InvalidRequest
from otel_tracead.wire import otlp
from otel_tracead.wire.jaeger import decode_traces
from otel_tracead.wire.otlp import Envelopes
from otel_tracead.wire.values import text

TRACE = "463ac35c9f6413ad48485a3953bb6124"
SPAN = {"traceID": TRACE, "spanID": "a2fb4a1d1a96d312", "operationName": "op", "startTime": 5, "duration": 2}


def _document(span, processes=None):
    return orjson.dumps({"data": [{"traceID": TRACE, "spans": [span], "processes": processes or {}}]})


def _decode(processes=None, **fields):
    [(envelope, span)] = decode_traces(_document({**SPAN, **fields}, processes), Envelopes())
    return envelope, Span.FromString(span)


def _tag(key, kind, value):
    return {"key": key, "type": kind, "value": value}


def test_a_full_span():
    envelope, span = _decode(
        {"p1": {"serviceName": "cart", "tags": [_tag("host.name", "string", "h"), _tag("n", "int64", 3)]}},
        processID="p1",
        references=[
            {"refType": "FOLLOWS_FROM", "traceID": "1", "spanID": "2"},
            {"refType": "CHILD_OF", "traceID": TRACE, "spanID": "3"},
        ],
        tags=[
            _tag("span.kind", "string", "client"),
            _tag("s", "string", "x"),
            _tag("b", "bool", True),
            _tag("b2", "bool", "false"),
            _tag("i", "int64", 5),
            _tag("i2", "int64", "6"),
            _tag("f", "float64", 1),
            _tag("y", "binary", "AAE="),
            _tag("w3c.tracestate", "string", "a=b"),
            _tag("otel.library.name", "string", "lib"),
            _tag("otel.scope.version", "string", "2"),
            _tag("error", "bool", True),
            _tag("otel.status_code", "string", "ERROR"),
            _tag("otel.status_description", "string", "bad"),
        ],
        logs=[
            {"timestamp": 6, "fields": [_tag("event", "string", "e"), _tag("k", "int64", 1)]},
            {"timestamp": 7, "fields": []},
        ],
    )
    assert (envelope.service, envelope.attributes) == ("cart", {"service.name": "cart", "host.name": "h", "n": "3"})
    assert envelope.scope == b"\x0a\x08\x0a\x03lib\x12\x012"
    assert (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id) == (TRACE, SPAN["spanID"], b"\0" * 7 + b"\3")
    assert (span.name, span.kind, span.trace_state) == ("op", Span.SPAN_KIND_CLIENT, "a=b")
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (5000, 7000)
    assert (span.status.code, span.status.message) == (2, "bad")
    assert [(link.trace_id[-1], link.span_id[-1]) for link in span.links] == [(1, 2)]
    assert [(pair.key, pair.value.WhichOneof("value"), text(pair.value)) for pair in span.attributes] == [
        ("s", "string_value", "x"),
        ("b", "bool_value", "true"),
        ("b2", "bool_value", "false"),
        ("i", "int_value", "5"),
        ("i2", "int_value", "6"),
        ("f", "double_value", "1.0"),
        ("y", "bytes_value", "AAE="),
    ]
    assert [(event.time_unix_nano, event.name, len(event.attributes)) for event in span.events] == [
        (6000, "e", 1),
        (7000, "", 0),
    ]


def test_ids_without_leading_zeros_and_the_old_parent():
    span = _decode(traceID="abc", spanID="1", parentSpanID="2")[1]
    assert (span.trace_id.hex(), span.span_id.hex()) == ("abc".zfill(32), "1".zfill(16))
    assert span.parent_span_id.hex() == "2".zfill(16)


def test_a_reference_that_follows_is_the_parent_if_there_is_no_other():
    span = _decode(references=[{"refType": "FOLLOWS_FROM", "traceID": TRACE, "spanID": "9"}])[1]
    assert span.parent_span_id[-1] == 9
    assert not span.links


def test_other_containers_and_a_process_in_the_span():
    trace = {"traceID": TRACE, "spans": [{**SPAN, "process": {"serviceName": "cart"}}], "processes": {}}
    for document in (trace, [trace], {"data": [trace]}):
        [(envelope, _)] = decode_traces(orjson.dumps(document), Envelopes())
        assert envelope.service == "cart"
    assert len(decode_traces(b'{"data":null,"errors":[]}', Envelopes())) == 0


@pytest.mark.parametrize(
    ("span", "message"),
    [
        ({}, r"data\[0\].spans\[0\].traceID: expected a string, not null"),
        ({**SPAN, "traceID": "x"}, r"spans\[0\].traceID: expected 1 to 32 hexadecimal"),
        ({**SPAN, "traceID": "a b"}, r"spans\[0\].traceID: expected 1 to 32 hexadecimal"),
        ({**SPAN, "spanID": "a" * 17}, r"spans\[0\].spanID: expected 1 to 16 hexadecimal"),
        ({**SPAN, "startTime": None}, r"spans\[0\].startTime: expected an integer"),
        ({**SPAN, "duration": -1}, r"spans\[0\].duration: -1 is out of range"),
        ({**SPAN, "tags": {"a": 1}}, r"spans\[0\].tags: expected a list"),
        ({**SPAN, "tags": [{"value": 1}]}, r"spans\[0\].tags\[0\].key: expected a string"),
        ({**SPAN, "tags": [_tag("a", "int64", "x")]}, r"tags\[0\].value: expected an integer"),
        ({**SPAN, "tags": [_tag("a", "bool", "x")]}, r"tags\[0\].value: expected a bool"),
        ({**SPAN, "tags": [_tag("a", "float64", [])]}, r"tags\[0\].value: expected a float64"),
        ({**SPAN, "logs": [{"timestamp": "x"}]}, r"logs\[0\].timestamp: expected an integer"),
        ({**SPAN, "references": [3]}, r"references\[0\]: expected an object"),
        ({**SPAN, "processID": 3}, r"processID: expected a string"),
        (3, r"spans\[0\]: expected an object"),
    ],
)
def test_broken_spans_are_refused_with_their_path(span, message):
    with pytest.raises(InvalidRequest, match=message):
        decode_traces(_document(span), Envelopes())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not valid JSON"),
        (b"3", "the document: expected an object"),
        (b"{}", "the document: expected a trace"),
        (b'{"data":3}', "data: expected a list"),
        (b'{"data":[{}]}', r"data\[0\]: expected a trace"),
        (b'{"data":[{"spans":[],"processes":{"p1":3}}]}', r"data\[0\].processes.p1: expected an object"),
        (
            b'{"data":[{"spans":[],"processes":{"p1":{"serviceName":3}}}]}',
            r"processes.p1.serviceName: expected a string",
        ),
    ],
)
def test_broken_documents_are_refused(body, message):
    with pytest.raises(InvalidRequest, match=message):
        decode_traces(body, Envelopes())


@given(st.data())
def test_odd_json_raises_invalid_request_only(data):
    keys = st.sampled_from(
        [
            "data",
            "spans",
            "processes",
            "traceID",
            "spanID",
            "operationName",
            "startTime",
            "duration",
            "tags",
            "logs",
            "fields",
            "key",
            "type",
            "value",
            "references",
            "refType",
            "processID",
            "process",
            "parentSpanID",
            "serviceName",
            "timestamp",
        ]
    )
    odd = (
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats()
        | st.sampled_from(["", "1", "bool", "int64", "float64", "binary", "error", "span.kind", "event", "é"])
    )
    values = st.recursive(
        odd, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=10
    )
    span = {**SPAN, **data.draw(st.dictionaries(keys, values, max_size=4))}
    body = data.draw(values.map(orjson.dumps) | st.just(_document(span)))
    try:
        batch = decode_traces(body, Envelopes())
    except InvalidRequest:
        return
    otlp.decode_request(otlp.encode_request(batch), Envelopes())
