"""Requests as real clients make them, of any number of spans."""

import json

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def otlp(spans: int, name: str = "operation") -> bytes:
    request = ExportTraceServiceRequest()
    if spans:
        resource_spans = request.resource_spans.add()
        resource_spans.resource.attributes.add(key="service.name").value.string_value = "shop"
        scope_spans = resource_spans.scope_spans.add()
        scope_spans.scope.name = "test"
        for number in range(spans):
            scope_spans.spans.add(
                trace_id=bytes(15) + b"\x07",
                span_id=(number + 1).to_bytes(8, "big"),
                name=name,
                kind=2,
                start_time_unix_nano=1_700_000_000_000_000_000,
                end_time_unix_nano=1_700_000_000_001_000_000,
            )
    return request.SerializeToString()


def otlp_json(spans: int, name: str = "operation") -> bytes:
    span = {
        "traceId": "0" * 31 + "7",
        "name": name,
        "kind": 2,
        "startTimeUnixNano": "1700000000000000000",
        "endTimeUnixNano": "1700000000001000000",
    }
    listed = [{**span, "spanId": f"{number + 1:016x}"} for number in range(spans)]
    scope_spans = [{"scope": {"name": "test"}, "spans": listed}]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": scope_spans}] if spans else []}).encode()


def zipkin(spans: int, name: str = "operation") -> bytes:
    span = {
        "traceId": "0" * 15 + "7",
        "name": name,
        "kind": "SERVER",
        "timestamp": 1_700_000_000_000_000,
        "duration": 1000,
        "localEndpoint": {"serviceName": "shop"},
        "tags": {"count": "3"},
    }
    return json.dumps([{**span, "id": f"{number + 1:016x}"} for number in range(spans)]).encode()


def zipkin_v1(spans: int, name: str = "operation") -> bytes:
    endpoint = {"serviceName": "shop"}
    span = {
        "traceId": "0" * 15 + "7",
        "name": name,
        "timestamp": 1_700_000_000_000_000,
        "duration": 1000,
        "annotations": [{"timestamp": 1_700_000_000_000_000, "value": "sr", "endpoint": endpoint}],
        "binaryAnnotations": [{"key": "count", "value": "3", "endpoint": endpoint}],
    }
    return json.dumps([{**span, "id": f"{number + 1:016x}"} for number in range(spans)]).encode()


def zipkin_v1_call() -> bytes:
    web, shop = {"serviceName": "web"}, {"serviceName": "shop"}
    times = (("cs", 1, web), ("sr", 2, shop), ("ss", 3, shop), ("cr", 4, web))
    annotations = [{"timestamp": time, "value": value, "endpoint": endpoint} for value, time, endpoint in times]
    return json.dumps([{"traceId": "7", "id": "1", "annotations": annotations}]).encode()


def zipkin_protobuf(spans: int, name: str = "operation") -> bytes:
    def field(tag: bytes, content: bytes) -> bytes:
        length, digits = len(content), b""
        while length > 0x7F:
            digits += bytes([length & 0x7F | 0x80])
            length >>= 7
        return tag + digits + bytes([length]) + content

    tags = field(b"\x5a", field(b"\x0a", b"count") + field(b"\x12", b"3"))
    rest = b"\x20\x02" + field(b"\x2a", name.encode()) + field(b"\x42", field(b"\x0a", b"shop")) + tags
    listed = (
        field(b"\x0a", bytes(7) + b"\x07") + field(b"\x1a", (number + 1).to_bytes(8, "big")) for number in range(spans)
    )
    return b"".join(field(b"\x0a", ids + rest) for ids in listed)
