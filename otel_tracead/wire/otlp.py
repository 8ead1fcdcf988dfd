"""OTLP protobuf requests to and from `SpanBatch`; spans stay bytes.

Source: opentelemetry-proto, collector/trace/v1/trace_service.proto and trace/v1/trace.proto.
"""

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from otel_tracead.errors import InvalidRequest
from otel_tracead.wire._shallow import Request, ResourceSpans
from otel_tracead.wire.batch import Envelope, SpanBatch
from otel_tracead.wire.values import text

_MAX_ENVELOPES = 10_000
_MAX_BYTES = 64 << 20


class Envelopes:
    """Interns envelopes, so that spans of one resource and scope share one object across requests.

    Bounded: when *limit* different ones (or 64 MiB of them) were seen it starts anew, which costs sharing and
    nothing else.
    """

    def __init__(self, limit: int = _MAX_ENVELOPES) -> None:
        self._limit = limit
        self._bytes = 0
        self._known: dict[tuple[bytes, bytes], Envelope] = {}

    def intern(self, resource: bytes, scope: bytes) -> Envelope:
        """Give the envelope of these encoded fields (see `Envelope`)."""
        key = (resource, scope)
        found = self._known.get(key)
        if found is None:
            self._bytes += len(resource) + len(scope)
            if len(self._known) >= self._limit or self._bytes > _MAX_BYTES:
                self._known.clear()
                self._bytes = len(resource) + len(scope)
            found = self._known[key] = Envelope(resource, scope, _resource_attributes(resource))
        return found


def decode_request(body: bytes, envelopes: Envelopes) -> SpanBatch:
    """Decode the bytes of an `ExportTraceServiceRequest` (or of `TracesData`, which has the same shape).

    Raises:
        InvalidRequest: the body, or one span, attribute or string in it, is no valid OTLP protobuf.
    """
    try:
        # In full and for validity only: one broken span would make a backend refuse innocent ones with it.
        ExportTraceServiceRequest.FromString(body)
        request = Request.FromString(body)
    except DecodeError as error:
        raise InvalidRequest(f"not a valid OTLP protobuf ExportTraceServiceRequest: {error}") from error
    groups: list[tuple[Envelope, list[bytes]]] = []
    for resource_spans in request.resource_spans:
        scopes: list[tuple[bytes, list[bytes]]] = []
        for scope_spans in resource_spans.scope_spans:
            spans = scope_spans.spans[:]
            if spans:
                scope_spans.ClearField("spans")
                scopes.append((scope_spans.SerializeToString(), spans))
        if scopes:
            resource_spans.ClearField("scope_spans")
            resource = resource_spans.SerializeToString()
            groups += [(envelopes.intern(resource, scope), spans) for scope, spans in scopes]
    return SpanBatch(groups)


def encode_request(batch: SpanBatch) -> bytes:
    """Encode *batch* as an `ExportTraceServiceRequest`: one `ResourceSpans` a resource, one `ScopeSpans` a scope."""
    by_resource: dict[bytes, dict[bytes, list[list[bytes]]]] = {}
    for envelope, spans in batch.groups:
        by_resource.setdefault(envelope.resource, {}).setdefault(envelope.scope, []).append(spans)
    request = Request()
    for resource, scopes in by_resource.items():
        resource_spans = request.resource_spans.add()
        resource_spans.MergeFromString(resource)
        for scope, parts in scopes.items():
            scope_spans = resource_spans.scope_spans.add()
            scope_spans.MergeFromString(scope)
            for spans in parts:
                scope_spans.spans.extend(spans)
    return request.SerializeToString()


def _resource_attributes(resource: bytes) -> dict[str, str]:
    merged = Resource()
    for part in ResourceSpans.FromString(resource).resource:
        merged.MergeFromString(part)
    return {attribute.key: text(attribute.value) for attribute in merged.attributes}
