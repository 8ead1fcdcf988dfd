"""OTLP/JSON requests to and from `SpanBatch`; the spans inside are OTLP protobuf.

protobuf's own JSON mapping gets OTLP's wrong (ids are hex, enums are numbers, unknown fields are ignored).
Unknown fields are lost on the way in, as the specification wants, and cannot be written on the way out.
Source: opentelemetry-proto, docs/specification.md (JSON Protobuf Encoding).
"""

import math
from base64 import b64encode
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import orjson
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from otel_tracead.errors import InvalidRequest
from otel_tracead.wire import _json_reader as reader
from otel_tracead.wire import _otlp_records
from otel_tracead.wire._shallow import SpanHead
from otel_tracead.wire.batch import Envelope, SpanBatch
from otel_tracead.wire.otlp import Envelopes

_Object = dict[str, Any]
_LONG: Final = 256  # bytes of an attribute from which on it is not remembered: memory is bounded


def decode_request(body: bytes, envelopes: Envelopes) -> SpanBatch:
    """Decode an `ExportTraceServiceRequest` (or `TracesData`) in OTLP/JSON.

    Enum names and snake_case keys are taken as the Collector takes them; ids of another length than 16 and 8
    bytes are kept.

    Raises:
        InvalidRequest: no valid JSON in UTF-8, or a value that is not what its field wants; says where.
    """
    usual = _otlp_records.read(body)
    if usual is not None:
        return SpanBatch([(envelopes.intern(resource, scope), spans) for resource, scope, spans in usual])
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"not valid JSON: {error}") from error
    groups: list[tuple[Envelope, list[bytes]]] = []
    try:
        for index, resource_spans in _list(document, "resourceSpans", "resource_spans"):
            with _Step("resourceSpans", index):
                groups.extend(_resource_spans(resource_spans, envelopes))
    except reader.Broken as broken:
        raise InvalidRequest(f"not a valid OTLP/JSON ExportTraceServiceRequest: {broken}") from broken
    return SpanBatch(groups)


def encode_request(batch: SpanBatch) -> bytes:
    """Encode *batch* as one `ExportTraceServiceRequest` in OTLP/JSON, on one line without its line end."""
    by_resource: dict[bytes, dict[bytes, list[_Object]]] = {}
    for envelope, spans in batch.groups:
        scopes = by_resource.setdefault(envelope.resource, {})
        scopes.setdefault(envelope.scope, []).extend(_span(span) for span in spans)
    request = []
    for resource, scopes in by_resource.items():
        scope_spans = [{**_scope(scope), "spans": spans} for scope, spans in scopes.items()]
        request.append({**_resource(resource), "scopeSpans": scope_spans})
    return orjson.dumps({"resourceSpans": request})


def any_value_text(value: AnyValue) -> str:
    """Give a list, a map, bytes or a double that is no number as text: JSON, but what JSON has as a string without quotes."""
    plain = plain_value(value)
    return plain if type(plain) is str else orjson.dumps(plain, option=orjson.OPT_PASSTHROUGH_SUBCLASS).decode()


def plain_value(value: AnyValue) -> Any:
    """Give an attribute's value as plain JSON would hold it; bytes as base64, doubles that JSON lacks as strings."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: plain_value(pair.value) for pair in value.kvlist_value.values}
    if kind == "bytes_value":
        return b64encode(value.bytes_value).decode()
    if kind == "double_value":
        return _double(value.double_value)
    return None if kind is None else getattr(value, kind)


class _Step:
    """Adds where we are to the path of a `Broken` that comes by."""

    __slots__ = ("_steps",)

    def __init__(self, *steps: str | int) -> None:
        self._steps = steps

    def __enter__(self) -> None: ...

    def __exit__(self, _type: object, error: object, _traceback: object) -> None:
        if isinstance(error, reader.Broken):
            error.path.extend(reversed(self._steps))


def _list(parent: object, *keys: str) -> Iterable[tuple[int, object]]:
    if type(parent) is not dict:
        raise reader.Broken(f"expected an object, not {reader.describe(parent)}")
    for key in keys:
        if parent.get(key) is not None:
            with _Step(key):
                return enumerate(reader.elements(parent[key]))
    return ()


def _resource_spans(resource_spans: object, envelopes: Envelopes) -> list[tuple[Envelope, list[bytes]]]:
    groups = []
    resource = reader.message(reader.RESOURCE_SPANS, resource_spans)
    for index, scope_spans in _list(resource_spans, "scopeSpans", "scope_spans"):
        with _Step("scopeSpans", index):
            scope = reader.message(reader.SCOPE_SPANS, scope_spans)
            spans = []
            for number, span in _list(scope_spans, "spans"):
                try:
                    spans.append(reader.message(reader.SPAN, span))
                except reader.Broken as broken:
                    broken.path += [number, "spans"]
                    raise
            if spans:
                groups.append((envelopes.intern(resource, scope), spans))
    return groups


def _resource(encoded: bytes) -> _Object:
    found = ResourceSpans.FromString(encoded)
    result: _Object = {}
    if found.HasField("resource"):
        resource = result["resource"] = _attributes(found.resource)
        if found.resource.entity_refs:
            resource["entityRefs"] = [
                _filled(
                    schemaUrl=reference.schema_url,
                    type=reference.type,
                    idKeys=list(reference.id_keys),
                    descriptionKeys=list(reference.description_keys),
                )
                for reference in found.resource.entity_refs
            ]
    return result | _filled(schemaUrl=found.schema_url)


def _scope(encoded: bytes) -> _Object:
    found = ScopeSpans.FromString(encoded)
    result: _Object = {}
    if found.HasField("scope"):
        result["scope"] = _filled(name=found.scope.name, version=found.scope.version) | _attributes(found.scope)
    return result | _filled(schemaUrl=found.schema_url)


def _span(encoded: bytes) -> _Object:
    span = Span.FromString(encoded)
    result: _Object = {"traceId": span.trace_id.hex(), "spanId": span.span_id.hex()}
    if span.trace_state:
        result["traceState"] = span.trace_state
    if span.parent_span_id:
        result["parentSpanId"] = span.parent_span_id.hex()
    if span.flags:
        result["flags"] = span.flags
    result["name"] = span.name
    if span.kind:
        result["kind"] = span.kind
    result["startTimeUnixNano"] = str(span.start_time_unix_nano)
    result["endTimeUnixNano"] = str(span.end_time_unix_nano)
    result |= _span_attributes(span, encoded)
    if span.events:
        result["events"] = [
            {"timeUnixNano": str(event.time_unix_nano), "name": event.name, **_attributes(event)}
            for event in span.events
        ]
    if span.dropped_events_count:
        result["droppedEventsCount"] = span.dropped_events_count
    if span.links:
        result["links"] = [
            {"traceId": link.trace_id.hex(), "spanId": link.span_id.hex()}
            | _filled(traceState=link.trace_state, flags=link.flags)
            | _attributes(link)
            for link in span.links
        ]
    if span.dropped_links_count:
        result["droppedLinksCount"] = span.dropped_links_count
    if span.HasField("status"):
        result["status"] = _filled(message=span.status.message, code=span.status.code)
    return result


def _span_attributes(span: Any, encoded: bytes) -> _Object:
    # Attributes repeat from span to span, so that their text is looked up by their bytes: most of the time went there.
    result: _Object = {}
    if attributes := SpanHead.FromString(encoded).attributes[:]:
        result["attributes"] = [_remembered(pair) if len(pair) < _LONG else _fragment(pair) for pair in attributes]
    if span.dropped_attributes_count:
        result["droppedAttributesCount"] = span.dropped_attributes_count
    return result


def _filled(**fields: Any) -> _Object:
    return {key: value for key, value in fields.items() if value}


def _attributes(holder: Any) -> _Object:
    result: _Object = {}
    if holder.attributes:
        result["attributes"] = [_key_value(pair) for pair in holder.attributes]
    if holder.dropped_attributes_count:
        result["droppedAttributesCount"] = holder.dropped_attributes_count
    return result


def _fragment(encoded: bytes) -> orjson.Fragment:
    return orjson.Fragment(orjson.dumps(_key_value(KeyValue.FromString(encoded))))


_remembered: Final = lru_cache(maxsize=20_000)(_fragment)


def _key_value(pair: KeyValue) -> _Object:
    if pair.HasField("value"):
        return {"key": pair.key, "value": _any_value(pair.value)}
    return {"key": pair.key}


def _any_value(value: AnyValue) -> _Object:  # noqa: PLR0911 (one a type)
    match value.WhichOneof("value"):
        case "string_value":
            return {"stringValue": value.string_value}
        case "int_value":
            return {"intValue": str(value.int_value)}
        case "bool_value":
            return {"boolValue": value.bool_value}
        case "double_value":
            return {"doubleValue": _double(value.double_value)}
        case "array_value":
            return {"arrayValue": {"values": [_any_value(item) for item in value.array_value.values]}}
        case "kvlist_value":
            return {"kvlistValue": {"values": [_key_value(pair) for pair in value.kvlist_value.values]}}
        case "bytes_value":
            return {"bytesValue": b64encode(value.bytes_value).decode()}
    return {}


def _double(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
