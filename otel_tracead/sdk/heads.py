"""Spans of the SDK become what the detector reads of a span: its head, encoded as OTLP. Pure.

Events, links and whatever else a verdict does not need stay where they are, in the span that the head carries along.
"""

from functools import lru_cache
from struct import Struct
from types import MappingProxyType
from typing import Final, Self

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan

from otel_tracead.wire import _writer
from otel_tracead.wire.attributes import OWN_PREFIX
from otel_tracead.wire.batch import Envelope, SpanBatch
from otel_tracead.wire.values import text

_TRACE_ID: Final = b"\x0a\x10"
_SPAN_ID: Final = b"\x12\x08"
_PARENT: Final = b"\x22\x08"
_NAME: Final = b"\x2a"
_KIND: Final = b"\x30"
_ATTRIBUTE: Final = b"\x4a"
_STATUS: Final = b"\x7a\x02\x18"
_TIMES: Final = Struct("<BQBQ").pack  # start_time_unix_nano = 7 and end_time_unix_nano = 8, fixed64
_OWN: Final = OWN_PREFIX.decode()
_RESOURCES: Final = 100


class Head(bytes):
    """The encoded head of a span, and the span.

    A remote parent is left out: in this process nobody will ever see it, so here the span is a root.

    Attributes:
        readable: the span as the SDK made it.
        spoofed: whether it has `tracead.*` attributes of somebody else; the head leaves them out.
    """

    readable: ReadableSpan
    spoofed: bool

    def __new__(cls, encoded: bytes, readable: ReadableSpan, *, spoofed: bool) -> Self:
        """Wrap *encoded*, the head of *readable*."""
        self = super().__new__(cls, encoded)
        self.readable = readable
        self.spoofed = spoofed
        return self

    @property
    def is_root(self) -> bool:
        """Whether no parent of it is in this process."""
        return self[28:30] != _PARENT

    @property
    def span_id(self) -> bytes:
        """Its own id."""
        return self[20:28]

    @property
    def parent_id(self) -> bytes:
        """The id of its parent in this process; without a meaning for a root."""
        return self[30:38]

    def of_trace(self, trace_id: bytes) -> "Head":
        """Give the same head with another trace id."""
        return Head(_TRACE_ID + trace_id + self[18:], self.readable, spoofed=self.spoofed)


class Heads:
    """Encodes heads, and makes one envelope for each resource."""

    def __init__(self) -> None:
        # By identity, since hashing a resource prints it as JSON; held, so that no other one gets its identity.
        self._envelopes: dict[int, tuple[Resource, Envelope]] = {}

    def batch(self, spans: list[ReadableSpan]) -> tuple[SpanBatch, list[ReadableSpan]]:
        """Give the heads of *spans*, and the spans that have none: nothing is known of what an SDK may hold one day."""
        groups: dict[Envelope, list[bytes]] = {}
        strange: list[ReadableSpan] = []
        for span in spans:
            try:
                groups.setdefault(self._envelope(span.resource), []).append(head(span))
            except Exception:  # noqa: BLE001 (fail open: any)
                strange.append(span)
        return SpanBatch(list(groups.items())), strange

    def _envelope(self, resource: Resource) -> Envelope:
        found = self._envelopes.get(id(resource))
        if found is None:
            if len(self._envelopes) >= _RESOURCES:
                self._envelopes.clear()
            texts = {
                key: text(AnyValue.FromString(_writer.any_value(value))) for key, value in resource.attributes.items()
            }
            found = self._envelopes[id(resource)] = (resource, Envelope(b"", b"", texts))
        return found[1]


def head(span: ReadableSpan) -> Head:
    """Encode the head of *span*.

    Raises:
        Exception: it is not what the SDK makes.
    """
    context, parent, status = span.context, span.parent, span.status.status_code.value
    parts = [
        _TRACE_ID,
        context.trace_id.to_bytes(16, "big"),
        _SPAN_ID,
        context.span_id.to_bytes(8, "big"),
        _PARENT + parent.span_id.to_bytes(8, "big") if parent is not None and not parent.is_remote else b"",
        _named(span.name, span.kind.value),
        _TIMES(0x39, span.start_time or 0, 0x41, span.end_time or 0),
    ]
    spoofed = False
    attributes = span.attributes or {}
    # A copy, since to walk over the SDK's own mapping costs a call of Python for each item, twice.
    for key, value in (attributes.copy() if isinstance(attributes, MappingProxyType) else attributes).items():
        if key.startswith(_OWN):
            spoofed = True
        else:
            parts.append(_writer.attribute(_ATTRIBUTE, key, value))
    if status:
        parts.append(_STATUS + bytes((status,)))
    return Head(b"".join(parts), span, spoofed=spoofed)


@lru_cache(maxsize=1 << 12)
def _named(name: str, kind: int) -> bytes:
    return _writer.delimited(_NAME, name.encode()) + _KIND + _writer.varint(kind + 1)  # the SDK's kinds begin with 0
