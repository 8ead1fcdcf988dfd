"""Numbers at their ends, keys that stand twice, and half characters, in every format: refused with a reason, or carried."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_tracead.errors import InvalidRequest
from otel_tracead.wire import jaeger, otlp, otlp_json, zipkin
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.otlp import Envelopes

IDS = {"traceId": "463ac35c9f6413ad48485a3953bb6124", "spanId": "a2fb4a1d1a96d312"}
ZIPKIN = {"traceId": IDS["traceId"], "id": IDS["spanId"]}
LAST = (1 << 64) - 1


def of_otlp(text: str) -> str:
    span = json.dumps(IDS)[:-1]
    return f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span},{text}}}]}}]}}]}}'


def of_zipkin(text: str) -> str:
    return f"[{json.dumps(ZIPKIN)[:-1]},{text}}}]"


def of_jaeger(text: str) -> str:
    start = {"traceID": IDS["traceId"], "spanID": IDS["spanId"]}
    return f'{{"data":[{{"traceID":"1","processes":{{}},"spans":[{json.dumps(start)[:-1]},{text}}}]}}]}}'


def read(decode: Callable[..., SpanBatch], text: str) -> Span:
    (_, span) = next(iter(decode(text.encode("utf-8", "surrogatepass"), Envelopes())))
    return Span.FromString(span)


REFUSED = {
    "OTLP: a time before 1970": (otlp_json.decode_request, of_otlp('"startTimeUnixNano":-1')),
    "OTLP: a time as text before 1970": (otlp_json.decode_request, of_otlp('"startTimeUnixNano":"-1"')),
    "OTLP: a time beyond 64 bits": (otlp_json.decode_request, of_otlp(f'"endTimeUnixNano":"{LAST + 1}"')),
    "OTLP: a time of many digits": (otlp_json.decode_request, of_otlp(f'"endTimeUnixNano":"{"9" * 5000}"')),
    "OTLP: a time that is no number": (otlp_json.decode_request, of_otlp('"endTimeUnixNano":NaN')),
    "OTLP: a time without end": (otlp_json.decode_request, of_otlp('"endTimeUnixNano":Infinity')),
    "OTLP: a time with an exponent": (otlp_json.decode_request, of_otlp('"endTimeUnixNano":1e400')),
    "OTLP: half a character": (otlp_json.decode_request, of_otlp('"name":"\\ud800"')),
    "OTLP: half a character, plain": (otlp_json.decode_request, of_otlp('"name":"\ud800"')),
    "OTLP: half a character where nobody looks": (otlp_json.decode_request, of_otlp('"unheardOf":"\ud800"')),
    "OTLP: an integer beyond 64 bits": (
        otlp_json.decode_request,
        of_otlp(f'"attributes":[{{"key":"a","value":{{"intValue":"{1 << 63}"}}}}]'),
    ),
    "Zipkin: a time beyond nanoseconds": (zipkin.decode_spans, of_zipkin(f'"timestamp":{LAST}')),
    "Zipkin: a time of many digits": (zipkin.decode_spans, of_zipkin(f'"timestamp":"{"9" * 5000}"')),
    "Zipkin: a duration without end": (zipkin.decode_spans, of_zipkin('"duration":Infinity')),
    "Zipkin: a duration with an exponent": (zipkin.decode_spans, of_zipkin('"duration":1e308')),
    "Zipkin: a port": (zipkin.decode_spans, of_zipkin('"localEndpoint":{"port":65536}')),
    "Zipkin: half a character": (zipkin.decode_spans, of_zipkin('"name":"\\udc00"')),
    "Jaeger: a time before 1970": (jaeger.decode_traces, of_jaeger('"startTime":-1')),
    "Jaeger: a time beyond nanoseconds": (jaeger.decode_traces, of_jaeger(f'"startTime":{LAST}')),
    "Jaeger: a duration before its start": (jaeger.decode_traces, of_jaeger('"startTime":1,"duration":-5')),
    "Jaeger: half a character": (jaeger.decode_traces, of_jaeger('"startTime":1,"operationName":"\\ud800"')),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused(name: str) -> None:
    decode, text = REFUSED[name]
    with pytest.raises(InvalidRequest):
        read(decode, text)


def start_and_end(span: Span) -> tuple[int, int]:
    return span.start_time_unix_nano, span.end_time_unix_nano


CARRIED: dict[str, tuple[Callable[..., SpanBatch], str, tuple[int, int]]] = {
    "OTLP: the last nanosecond": (
        otlp_json.decode_request,
        of_otlp(f'"startTimeUnixNano":"{LAST}","endTimeUnixNano":{LAST}'),
        (LAST, LAST),
    ),
    "OTLP: half of all time": (otlp_json.decode_request, of_otlp(f'"endTimeUnixNano":"{1 << 63}"'), (0, 1 << 63)),
    "OTLP: the last of two": (
        otlp_json.decode_request,
        of_otlp('"startTimeUnixNano":"1","startTimeUnixNano":"2"'),
        (2, 0),
    ),
    "Zipkin: a duration that ends after all time": (
        zipkin.decode_spans,
        of_zipkin(f'"timestamp":{LAST // 1000},"duration":{LAST // 1000}'),
        (LAST // 1000 * 1000, LAST),
    ),
    "Zipkin: times before 1970": (zipkin.decode_spans, of_zipkin('"timestamp":-5,"duration":-5'), (0, 0)),
    "Zipkin: the last of two": (
        zipkin.decode_spans,
        of_zipkin('"timestamp":1,"timestamp":2,"duration":0'),
        (2000, 2000),
    ),
    "Jaeger: a duration that ends after all time": (
        jaeger.decode_traces,
        of_jaeger(f'"startTime":{LAST // 1000},"duration":{LAST // 1000}'),
        (LAST // 1000 * 1000, LAST),
    ),
}


@pytest.mark.parametrize("name", CARRIED)
def test_is_carried(name: str) -> None:
    decode, text, wanted = CARRIED[name]
    assert start_and_end(read(decode, text)) == wanted


@pytest.mark.parametrize(
    "written", ["NaN", "Infinity", "-Infinity", '"NaN"', '"Infinity"', '"nan"', '"1e999"', "1e999"]
)
def test_doubles_that_json_does_not_have(written: str) -> None:
    text = of_otlp(f'"attributes":[{{"key":"a","value":{{"doubleValue":{written}}}}}]')
    if written in ('"NaN"', '"Infinity"', '"1e999"'):
        encoded = otlp.encode_request(otlp_json.decode_request(text.encode(), Envelopes()))
        batch = otlp.decode_request(encoded, Envelopes())
        assert otlp_json.encode_request(batch)  # and out again, as JSON that is JSON
        assert json.loads(zipkin.encode_spans(batch))
    else:
        with pytest.raises(InvalidRequest):
            read(otlp_json.decode_request, text)


def deep_otlp(levels: int) -> bytes:
    value: dict[str, Any] = {"stringValue": "x"}
    for _ in range(levels):
        value = {"kvlistValue": {"values": [{"key": "k", "value": value}]}}
    span = {**IDS, "attributes": [{"key": "deep", "value": value}]}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()


@pytest.mark.parametrize("levels", [20, 28, 30, 33, 60, 150])
def test_what_nests_deeply_is_refused_or_goes_every_way(levels: int) -> None:
    try:
        batch = otlp_json.decode_request(deep_otlp(levels), Envelopes())
    except InvalidRequest:
        assert levels > 28
        return
    otlp.decode_request(otlp.encode_request(batch), Envelopes())
    otlp_json.decode_request(otlp_json.encode_request(batch), Envelopes())
    zipkin.decode_spans(zipkin.encode_spans(batch), Envelopes())


@pytest.mark.parametrize("levels", [10, 40, 48, 60, 99, 100, 5000])
def test_what_nests_deeply_in_protobuf_is_refused_or_goes_every_way(levels: int) -> None:
    value = b"\x0a\x01x"
    for _ in range(levels):
        for tag in (b"\x0a", b"\x2a"):
            value = tag + _varint(len(value)) + value
    span = Span(trace_id=b"t" * 16, span_id=b"s" * 8)
    attribute = b"\x0a\x01k\x12" + _varint(len(value)) + value
    encoded = span.SerializeToString() + b"\x4a" + _varint(len(attribute)) + attribute
    scope = b"\x12" + _varint(len(encoded)) + encoded
    resource = b"\x12" + _varint(len(scope)) + scope
    body = b"\x0a" + _varint(len(resource)) + resource
    try:
        batch = otlp.decode_request(body, Envelopes())
    except InvalidRequest:
        assert levels > 40
        return
    assert json.loads(otlp_json.encode_request(batch))
    assert len(zipkin.decode_spans(zipkin.encode_spans(batch), Envelopes())) == 1


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes((*encoded, value))
