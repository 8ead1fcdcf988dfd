"""OTLP/JSON requests to and from `SpanBatch`; the spans inside are OTLP protobuf.

protobuf's own JSON mapping gets OTLP's wrong (ids are hex, enums are numbers, unknown fields are ignored).
Unknown fields are lost on the way in, as the specification wants, and cannot be written on the way out.
Source: opentelemetry-proto, docs/specification.md (JSON Protobuf Encoding).
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final

import orjson
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans

from otel_tracead.errors import InvalidRequest
from otel_tracead.wire import _json_reader as reader
from otel_tracead.wire import _json_writer as writer
from otel_tracead.wire import _otlp_records
from otel_tracead.wire.batch import Envelope, SpanBatch
from otel_tracead.wire.otlp import Envelopes

_Object = dict[str, Any]
_LONG: Final = 4096  # bytes of a resource or scope from which on it is not remembered: memory is bounded


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
    by_resource: dict[bytes, dict[bytes, list[bytes]]] = {}
    for envelope, spans in batch.groups:
        scopes = by_resource.setdefault(envelope.resource, {})
        scopes.setdefault(envelope.scope, []).extend(spans)
    request = []
    for resource, scopes in by_resource.items():
        scope_spans = [{**_remembered(_scope, scope), "spans": writer.spans(spans)} for scope, spans in scopes.items()]
        request.append({**_remembered(_resource, resource), "scopeSpans": scope_spans})
    return orjson.dumps({"resourceSpans": request})


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


def _remembered(printed: Callable[[bytes], _Object], encoded: bytes) -> _Object:
    return _few(printed, encoded) if len(encoded) < _LONG else printed(encoded)


@lru_cache(maxsize=1 << 10)
def _few(printed: Callable[[bytes], _Object], encoded: bytes) -> _Object:
    return printed(encoded)


def _resource(encoded: bytes) -> _Object:
    found = ResourceSpans.FromString(encoded)
    result: _Object = {}
    if found.HasField("resource"):
        resource = result["resource"] = writer.attributes(found.resource)
        if found.resource.entity_refs:
            resource["entityRefs"] = [
                writer.filled(
                    schemaUrl=reference.schema_url,
                    type=reference.type,
                    idKeys=list(reference.id_keys),
                    descriptionKeys=list(reference.description_keys),
                )
                for reference in found.resource.entity_refs
            ]
    return result | writer.filled(schemaUrl=found.schema_url)


def _scope(encoded: bytes) -> _Object:
    found = ScopeSpans.FromString(encoded)
    result: _Object = {}
    if found.HasField("scope"):
        result["scope"] = writer.filled(name=found.scope.name, version=found.scope.version) | writer.attributes(
            found.scope
        )
    return result | writer.filled(schemaUrl=found.schema_url)
