"""What was appended to heads becomes attributes of the spans that they carry. Pure."""

from collections.abc import Iterable, Iterator
from copy import copy
from typing import Any, cast

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import ReadableSpan

from otel_tracead.sdk.heads import Head
from otel_tracead.wire.attributes import OWN_PREFIX

_OWN = OWN_PREFIX.decode()


def annotated(heads: Iterable[bytes], marked: Iterable[bytes]) -> Iterator[ReadableSpan]:
    """Give the spans of *heads* with the attributes that *marked*, the same heads, have at their end.

    A span that gets none is the very object that the SDK made.
    """
    for one, after in zip(heads, marked, strict=True):
        head = cast("Head", one)
        encoded = after[len(head) :]
        yield _with(head.readable, encoded) if encoded or head.spoofed else head.readable


def _with(span: ReadableSpan, encoded: bytes) -> ReadableSpan:
    theirs = {key: value for key, value in (span.attributes or {}).items() if not key.startswith(_OWN)}
    ours = {pair.key: _value(pair.value) for pair in Span.FromString(encoded).attributes}
    attributes = BoundedAttributes(attributes={**theirs, **ours})  # without the application's limits: ours must stay
    attributes.dropped = span.dropped_attributes
    # A copy, since the constructor loses how many events and links were dropped, and whatever a later SDK adds.
    changed = copy(span)
    changed._attributes = attributes  # noqa: SLF001 (as the SDK's own spans set it)
    return changed


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(item.string_value for item in value.array_value.values)
    return getattr(value, kind)
