"""Encoded spans become `ReadableSpan`s of the OpenTelemetry Python SDK; the only place where spans become objects.

What the SDK cannot carry is listed in this package's README.
Source: opentelemetry-proto, trace/v1/trace.proto; opentelemetry-python, sdk/trace and exporter-otlp-proto-common.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from otel_tracead.wire._shallow import SpanHead
from otel_tracead.wire.batch import Envelope, SpanBatch

_KINDS: Final = {
    Span.SPAN_KIND_SERVER: SpanKind.SERVER,
    Span.SPAN_KIND_CLIENT: SpanKind.CLIENT,
    Span.SPAN_KIND_PRODUCER: SpanKind.PRODUCER,
    Span.SPAN_KIND_CONSUMER: SpanKind.CONSUMER,
}
_STATUS: Final = {1: StatusCode.OK, 2: StatusCode.ERROR}
_REMOTE: Final = 0x300  # SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK and SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
_TRACE_FLAGS: Final = 0xFF
_TRACE_ID_BYTES: Final = 16
_SPAN_ID_BYTES: Final = 8
_TRACE_ID_TAG: Final = b"\x0a\x10"  # field 1, 16 bytes
_SPAN_ID_TAG: Final = b"\x12\x08"  # field 2, 8 bytes
_REMEMBERED: Final = 1000  # envelopes


def fits(span: bytes) -> bool:
    """Say whether the SDK can carry an encoded span: its own id has 8 bytes, and its trace's 16."""
    if span.startswith(_TRACE_ID_TAG) and span.startswith(_SPAN_ID_TAG, 2 + _TRACE_ID_BYTES):
        return True
    head = SpanHead.FromString(span)
    return len(head.trace_id) == _TRACE_ID_BYTES and len(head.span_id) == _SPAN_ID_BYTES


class Readables:
    """Converts batches; the resource and scope of an envelope are made once."""

    def __init__(self) -> None:
        self._known: dict[Envelope, tuple[Resource, InstrumentationScope]] = {}

    def __call__(self, batch: SpanBatch) -> list[ReadableSpan]:
        """Give the spans of *batch*, in order; each must `fit`."""
        return [_readable(span, *self._sources(envelope)) for envelope, spans in batch.groups for span in spans]

    def _sources(self, envelope: Envelope) -> tuple[Resource, InstrumentationScope]:
        found = self._known.get(envelope)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[envelope] = (_resource(envelope.resource), _scope(envelope.scope))
        return found


def _readable(encoded: bytes, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    span = Span.FromString(encoded)
    code = _STATUS.get(span.status.code, StatusCode.UNSET)
    # Exporters of the SDK are given sampled spans only, and most senders leave these bits of the flags empty.
    flags = TraceFlags(span.flags & _TRACE_FLAGS | TraceFlags.SAMPLED)
    parent = None
    if len(span.parent_span_id) == _SPAN_ID_BYTES and any(span.parent_span_id):
        parent = _context(span.trace_id, span.parent_span_id, span.flags, flags)
    return ReadableSpan(
        name=span.name,
        context=_context(span.trace_id, span.span_id, 0, flags, span.trace_state),
        parent=parent,
        resource=resource,
        attributes=_attributes(span.attributes, span.dropped_attributes_count),
        events=_bounded(map(_event, span.events), len(span.events), span.dropped_events_count),
        links=_bounded(map(_link, span.links), len(span.links), span.dropped_links_count),
        kind=_KINDS.get(span.kind, SpanKind.INTERNAL),
        status=Status(code, span.status.message or None if code is StatusCode.ERROR else None),
        start_time=span.start_time_unix_nano,
        end_time=span.end_time_unix_nano,
        instrumentation_scope=scope,
    )


def _event(event: Span.Event) -> Event:
    attributes = _attributes(event.attributes, event.dropped_attributes_count)
    return Event(event.name, attributes, event.time_unix_nano)


def _link(link: Span.Link) -> Link:
    flags = TraceFlags(link.flags & _TRACE_FLAGS)
    context = _context(link.trace_id, link.span_id, link.flags, flags, link.trace_state)
    return Link(context, _attributes(link.attributes, link.dropped_attributes_count))


def _context(trace_id: bytes, span_id: bytes, flags: int, trace_flags: TraceFlags, state: str = "") -> SpanContext:
    return SpanContext(
        int.from_bytes(trace_id[:_TRACE_ID_BYTES], "big"),
        int.from_bytes(span_id[:_SPAN_ID_BYTES], "big"),
        is_remote=flags & _REMOTE == _REMOTE,
        trace_flags=trace_flags,
        trace_state=TraceState.from_header([state]) if state else None,
    )


def _attributes(pairs: Iterable[KeyValue], dropped: int) -> BoundedAttributes:
    attributes = BoundedAttributes(attributes=_values(pairs))
    attributes.dropped += dropped
    return attributes


def _values(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs if pair.key}  # the SDK has none without a key


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(_value(item) for item in value.array_value.values)
    if kind == "kvlist_value":
        return _values(value.kvlist_value.values)
    return None if kind is None else getattr(value, kind)


def _bounded(items: Iterable[Any], count: int, dropped: int) -> Sequence[Any]:
    if not count and not dropped:
        return ()
    kept: BoundedList[Any] = BoundedList.from_seq(None, items)
    kept.dropped = dropped
    return kept


def _resource(encoded: bytes) -> Resource:
    found = ResourceSpans.FromString(encoded)
    return Resource(_values(found.resource.attributes), found.schema_url)


def _scope(encoded: bytes) -> InstrumentationScope:
    found = ScopeSpans.FromString(encoded)
    scope = found.scope
    return InstrumentationScope(scope.name, scope.version or None, found.schema_url, _values(scope.attributes))
