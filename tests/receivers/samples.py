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
    }
    return json.dumps([{**span, "id": f"{number + 1:016x}"} for number in range(spans)]).encode()
