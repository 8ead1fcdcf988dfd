"""The rows of docs/formats.md on Zipkin and OTLP as spans: what a cell leaves out is that of a plain span."""

import json
import re
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from tests.fidelity.carried import plain
from tests.peers.independent import from_json

Object = dict[str, Any]
ZIPKIN: Object = {
    "traceId": "463ac35c9f6413ad48485a3953bb6124",
    "id": "a2fb4a1d1a96d312",
    "timestamp": 1,
    "localEndpoint": {"serviceName": "shop"},
}
OTLP: Object = {
    "traceId": ZIPKIN["traceId"],
    "spanId": ZIPKIN["id"],
    "start": 1000,
    "end": 1000,
    "resource": {"service.name": "shop"},
}
_V1_EVENT = re.compile(r"(\w+)@(\d+)(?: of (\w+))?")
_V1_TAG = re.compile(r"(\w+)=(\w*) of (\w+)")
_V1_ADDRESS = re.compile(r"(\w+)>(\w+)")
_V1_FIELD = re.compile(r"(timestamp|duration) (\d+)")


def zipkin(cell: str) -> Object:
    """A Zipkin span of a cell; null takes a member of the plain span away."""
    return {key: value for key, value in {**ZIPKIN, **_of(cell)}.items() if value is not None}


def otlp(cell: str) -> Object:
    """An OTLP span of a cell, as `read` gives it."""
    return {**OTLP, **_of(cell)}


def _of(cell: str) -> Object:
    found: Object = json.loads(cell.strip("`"))
    return found


def to_json(span: Object) -> bytes:
    """Write what `otlp` gave as OTLP/JSON."""
    times = {"startTimeUnixNano": str(span["start"]), "endTimeUnixNano": str(span["end"])}
    rest = {
        key: value for key, value in span.items() if key not in ("start", "end", "resource", "scope", "events", "links")
    }
    encoded = _with_list(rest | times)
    encoded["events"] = [
        _with_list({key: value for key, value in event.items() if key != "time"} | {"timeUnixNano": str(event["time"])})
        for event in span.get("events", ())
    ]
    encoded["links"] = [_with_list(link) for link in span.get("links", ())]
    scope_spans = {"scope": span.get("scope", {}), "spans": [encoded]}
    resource = _with_list({"attributes": span["resource"]})
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [scope_spans]}]}).encode()


def _with_list(holder: Object) -> Object:
    if "attributes" not in holder:
        return holder
    pairs = [{"key": key, "value": _value(value)} for key, value in holder["attributes"].items()]
    return {**holder, "attributes": pairs}


def _value(value: Any) -> Object:
    match value:
        case None:
            return {}
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case list():
            return {"arrayValue": {"values": [_value(item) for item in value]}}
        case dict():
            return {"kvlistValue": {"values": [{"key": key, "value": _value(item)} for key, item in value.items()]}}
        case _:
            return {"stringValue": value}


def read(request: ExportTraceServiceRequest | bytes) -> list[Object]:
    """Read spans in the form of the cells."""
    parsed = request if isinstance(request, ExportTraceServiceRequest) else from_json(request)
    return [
        _read(outer, inner, span)
        for outer in parsed.resource_spans
        for inner in outer.scope_spans
        for span in inner.spans
    ]


def _read(outer: Any, inner: Any, span: Any) -> Object:
    found = {
        "traceId": span.trace_id.hex(),
        "spanId": span.span_id.hex(),
        "parentSpanId": span.parent_span_id.hex(),
        "traceState": span.trace_state,
        "flags": span.flags,
        "name": span.name,
        "kind": int(span.kind),
        "start": span.start_time_unix_nano,
        "end": span.end_time_unix_nano,
        "attributes": _attributes(span),
        "droppedAttributesCount": span.dropped_attributes_count,
        "events": [
            _filled(
                name=event.name,
                attributes=_attributes(event),
                droppedAttributesCount=event.dropped_attributes_count,
                time=event.time_unix_nano,
            )
            for event in span.events
        ],
        "droppedEventsCount": span.dropped_events_count,
        "links": [
            _filled(
                traceId=link.trace_id.hex(),
                spanId=link.span_id.hex(),
                traceState=link.trace_state,
                attributes=_attributes(link),
                droppedAttributesCount=link.dropped_attributes_count,
            )
            for link in span.links
        ],
        "droppedLinksCount": span.dropped_links_count,
        "status": _filled(code=int(span.status.code), message=span.status.message),
        "scope": _filled(name=inner.scope.name, version=inner.scope.version),
    }
    always = {"start", "end"}
    kept = {key: value for key, value in found.items() if value or key in always}
    return {**kept, "resource": _attributes(outer.resource)}


def _filled(**fields: Any) -> Object:
    return {key: value for key, value in fields.items() if value}


def _attributes(holder: Any) -> Object:
    found: dict[str, AnyValue] = {pair.key: pair.value for pair in holder.attributes}
    return {key: plain(value) for key, value in found.items()}


def v1(cell: str) -> Object:
    """A v1 span as a cell of its table writes it."""
    span: Object = {"traceId": ZIPKIN["traceId"], "id": ZIPKIN["id"], "annotations": [], "binaryAnnotations": []}
    for part in cell.strip("`").split(", "):
        if match := _V1_EVENT.fullmatch(part):
            event = {"timestamp": int(match[2]), "value": match[1], **_endpoint(match[3])}
            span["annotations"].append(event)
        elif match := _V1_TAG.fullmatch(part):
            span["binaryAnnotations"].append({"key": match[1], "value": match[2], **_endpoint(match[3])})
        elif match := _V1_ADDRESS.fullmatch(part):
            span["binaryAnnotations"].append({"key": match[1], "value": True, **_endpoint(match[2])})
        else:
            match = _V1_FIELD.fullmatch(part)
            assert match, part
            span[match[1]] = int(match[2])
    return {key: value for key, value in span.items() if value}


def _endpoint(service: str | None) -> Object:
    return {"endpoint": {"serviceName": service}} if service else {}
