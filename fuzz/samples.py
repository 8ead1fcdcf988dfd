"""Small valid inputs that fuzzing begins with; also the golden files of the tests, where there is a checkout."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

_GOLDEN: Final = Path(__file__).parents[1] / "tests" / "wire" / "testdata"
_START: Final = 1_700_000_000_000_000_000


def golden(*names: str) -> list[bytes]:
    """Give golden files of the tests."""
    return [(_GOLDEN / name).read_bytes() for name in names]


def span(number: int, **fields: Any) -> Span:
    """Give a usual span."""
    usual: dict[str, Any] = {
        "trace_id": bytes(15) + b"\x07",
        "span_id": number.to_bytes(8, "big"),
        "parent_span_id": (number - 1).to_bytes(8, "big") if number > 1 else b"",
        "name": "GET /api",
        "kind": 2,
        "start_time_unix_nano": _START + number,
        "end_time_unix_nano": _START + number + 1000,
    }
    made = Span(**usual | fields)
    made.attributes.add(key="http.method").value.string_value = "GET"
    return made


@cache
def request() -> bytes:
    """Give a request in which every field of a span occurs."""
    made = ExportTraceServiceRequest()
    resource_spans = made.resource_spans.add(schema_url="https://schema")
    resource_spans.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope_spans = resource_spans.scope_spans.add(schema_url="https://schema")
    scope_spans.scope.name, scope_spans.scope.version = "test", "1"
    full = span(2, trace_state="a=b", dropped_attributes_count=1, flags=257)
    value = full.attributes.add(key="list").value.array_value.values.add()
    value.kvlist_value.values.add(key="k").value.double_value = 0.5
    full.attributes.add(key="b").value.bytes_value = b"\xff"
    full.attributes.add(key="i").value.int_value = -7
    full.attributes.add(key="tracead.trace.score").value.bool_value = True
    event = full.events.add(time_unix_nano=_START + 2, name="e", dropped_attributes_count=1)
    event.attributes.add(key="tracead.x").value.string_value = "y"
    full.links.add(trace_id=bytes(15) + b"\x08", span_id=bytes(7) + b"\x09", flags=1, trace_state="c=d")
    full.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message="no"))
    scope_spans.spans.extend([span(1), full, span(3, span_id=b"odd", trace_id=bytes(16))])
    made.resource_spans.add().scope_spans.add().spans.add(name="none")
    return made.SerializeToString()


@cache
def otlp_json() -> bytes:
    """Give the same as OTLP/JSON."""
    from otel_tracead.wire import otlp
    from otel_tracead.wire import otlp_json as writer

    return writer.encode_request(otlp.decode_request(request(), otlp.Envelopes()))


ZIPKIN_SPAN: Final[dict[str, Any]] = {
    "traceId": "463ac35c9f6413ad48485a3953bb6124",
    "id": "a2fb4a1d1a96d312",
    "parentId": "0020000000000001",
    "kind": "SERVER",
    "name": "get /api",
    "timestamp": 1472470996199000,
    "duration": 207000,
    "localEndpoint": {"serviceName": "frontend", "ipv4": "192.168.99.1", "port": 3306},
    "remoteEndpoint": {"serviceName": "backend", "ipv6": "2001:db8::1", "port": 80},
    "tags": {"http.path": "/api", "host.name": "here", "otel.scope.name": "a", "error": "true", "tracead.x": "y"},
    "annotations": [
        {"timestamp": 1472470996238000, "value": "ws"},
        {"timestamp": 1472470996238000, "value": '"e": {"n":1}'},
        {"timestamp": 1472470996238000, "value": 'e|{"n":1}|2'},
    ],
    "shared": True,
    "debug": False,
}


def zipkin() -> list[bytes]:
    """Give lists of Zipkin v2 spans."""
    least = {"traceId": "48485A3953BB6124", "id": "1", "tags": {"n": 3}, "timestamp": "5", "duration": 2.0}
    return [json.dumps([ZIPKIN_SPAN]).encode(), json.dumps([ZIPKIN_SPAN, least], separators=(",", ":")).encode()]


def zipkin_v1() -> bytes:
    """Give a list of Zipkin v1 spans."""
    client = {"serviceName": "frontend", "ipv4": "192.168.99.1", "port": 3306}
    server = {"serviceName": "backend"}
    times = {"cs": client, "sr": server, "ss": server, "cr": client, "note": client}
    made = {
        "traceId": "463ac35c9f6413ad48485a3953bb6124",
        "id": "a2fb4a1d1a96d312",
        "name": "get",
        "timestamp": 1472470996199000,
        "duration": 207000,
        "annotations": [
            {"timestamp": 1472470996199000 + n, "value": value, "endpoint": endpoint}
            for n, (value, endpoint) in enumerate(times.items())
        ],
        "binaryAnnotations": [
            {"key": "http.path", "value": "/api", "endpoint": client},
            {"key": "sa", "value": True, "endpoint": server},
            {"key": "ca", "value": True, "endpoint": client},
            {"key": "lc", "value": "", "endpoint": client},
        ],
        "debug": True,
    }
    messages = {"ms": client, "ws": client, "wr": server, "mr": server}
    annotations = [
        {"timestamp": 5 + n, "value": value, "endpoint": endpoint}
        for n, (value, endpoint) in enumerate(messages.items())
    ]
    return json.dumps([made, {**made, "annotations": annotations, "timestamp": 0}]).encode()


def jaeger() -> bytes:
    """Give a Jaeger download."""
    made = {
        "traceID": "463ac35c9f6413ad48485a3953bb6124",
        "spanID": "a2fb4a1d1a96d312",
        "operationName": "get",
        "references": [
            {"refType": "CHILD_OF", "traceID": "463ac35c9f6413ad48485a3953bb6124", "spanID": "1"},
            {"refType": "FOLLOWS_FROM", "traceID": "2", "spanID": "3"},
        ],
        "startTime": 1472470996199000,
        "duration": 207,
        "tags": [
            {"key": "span.kind", "type": "string", "value": "server"},
            {"key": "n", "type": "int64", "value": "5"},
            {"key": "f", "type": "float64", "value": 0.5},
            {"key": "b", "type": "bool", "value": "true"},
            {"key": "x", "type": "binary", "value": "AAEC"},
            {"key": "error", "type": "bool", "value": True},
            {"key": "otel.status_code", "type": "string", "value": "ERROR"},
        ],
        "logs": [{"timestamp": 1472470996199001, "fields": [{"key": "event", "type": "string", "value": "e"}]}],
        "processID": "p1",
    }
    process = {"serviceName": "shop", "tags": [{"key": "host.name", "type": "string", "value": "a"}]}
    return json.dumps({"data": [{"traceID": "1", "spans": [made], "processes": {"p1": process}}]}).encode()
