"""Simulated spans as the services would export them: OTLP protobuf requests, in order of export.

Bytes are written directly (field numbers of opentelemetry/proto/trace/v1/trace.proto): message objects cost several
times as much, and their attributes repeat, so the bytes of an attribute are remembered.
"""

import heapq
import struct
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Final

from otel_tracead.generator.simulation import Simulation
from otel_tracead.generator.spans import Event, Link, Origin, SimulatedSpan
from otel_tracead.generator.topology import AttributeValue

_SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.37.0"
_LENGTH: Final = 2  # wire type of bytes, strings and messages
_STATUS_ERROR: Final = b"\x18\x02"
_TIMES: Final = struct.Struct("<BQBQ")
_FLAGS: Final = struct.Struct("<HI")
_FLAGS_TAG: Final = 0x0185  # field 16, fixed32: a tag of two bytes
_REMEMBERED: Final = 8192
_SMALL: Final = 0x80


def varint(number: int) -> bytes:
    """Return an unsigned number (or a negative 64-bit one) as a protobuf varint."""
    if 0 <= number < _SMALL:
        return bytes((number,))
    number &= 0xFFFF_FFFF_FFFF_FFFF
    parts = bytearray()
    while number >= _SMALL:
        parts.append(number & 0x7F | _SMALL)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def field(number: int, content: bytes) -> bytes:
    """Return a length-delimited protobuf field."""
    return varint(number << 3 | _LENGTH) + varint(len(content)) + content


def _value(value: AttributeValue) -> bytes:
    """Return the bytes of an AnyValue."""
    match value:
        case str():
            return field(1, value.encode())
        case bool():
            return bytes((2 << 3, value))
        case int():
            return bytes((3 << 3,)) + varint(value)
        case float():
            return bytes((4 << 3 | 1,)) + struct.pack("<d", value)
        case tuple():
            return field(5, b"".join(field(1, _value(item)) for item in value))


@lru_cache(_REMEMBERED, typed=True)  # typed: True, 1 and 1.0 are equal, and must not share bytes
def _attribute(key: str, value: AttributeValue) -> bytes:
    return field(1, key.encode()) + field(2, _value(value))


@lru_cache(_REMEMBERED, typed=True)
def _span_attribute(key: str, value: AttributeValue) -> bytes:
    return field(9, _attribute(key, value))


@cache
def _name_and_kind(name: str, kind: int) -> bytes:
    return field(5, name.encode()) + bytes((6 << 3, kind))


def _event(event: Event) -> bytes:
    attributes = b"".join(field(3, _attribute(key, value)) for key, value in event.attributes)
    time = struct.pack("<BQ", 1 << 3 | 1, event.time_unix_nano)
    return field(11, time + field(2, event.name.encode()) + attributes)


def _link(link: Link) -> bytes:
    attributes = b"".join(field(4, _attribute(key, value)) for key, value in link.attributes)
    return field(13, field(1, link.trace_id) + field(2, link.span_id) + attributes)


def encode_span(span: SimulatedSpan) -> bytes:
    """Return the bytes of an `opentelemetry.proto.trace.v1.Span`, fields in the order of their numbers."""
    parts = [b"\x0a\x10", span.trace_id, b"\x12\x08", span.span_id]
    if span.trace_state:
        parts.append(field(3, span.trace_state.encode()))
    if span.parent_span_id:
        parts += (b"\x22\x08", span.parent_span_id)
    parts.append(_name_and_kind(span.name, span.kind))
    parts.append(_TIMES.pack(7 << 3 | 1, span.start_unix_nano, 8 << 3 | 1, span.end_unix_nano))
    for key, value in span.attributes:
        parts.append(_span_attribute(key, value))
    parts += map(_event, span.events)
    parts += map(_link, span.links)
    if span.error:
        parts.append(field(15, field(2, span.message.encode()) + _STATUS_ERROR))
    if span.flags:
        parts.append(_FLAGS.pack(_FLAGS_TAG, span.flags))
    return b"".join(parts)


@cache
def _resource(origin: Origin) -> bytes:
    return field(1, b"".join(field(1, _attribute(key, value)) for key, value in origin.resource()))


@cache
def _scope(name: str, version: str) -> bytes:
    return field(1, field(1, name.encode()) + field(2, version.encode()))


def encode_request(spans: list[SimulatedSpan]) -> bytes:
    """Return the bytes of an `ExportTraceServiceRequest` with spans of one instance of one service."""
    origin = spans[0].origin
    url = field(3, _SCHEMA_URL.encode())
    body = b"".join([field(2, encode_span(span)) for span in spans])
    scope_spans = field(2, _scope(origin.service.scope, origin.service.scope_version) + body + url)
    return field(1, _resource(origin) + scope_spans + url)


def batches(
    run: Simulation, batch_spans: int = 512, export_interval_s: float = 1.0
) -> Iterator[tuple[int, list[SimulatedSpan]]]:
    """Yield what `requests` yields, before it is encoded: when, and the spans of one instance.

    Raises:
        ValueError: `batch_spans` below 1, or an interval that is not positive.
    """
    if batch_spans < 1 or export_interval_s <= 0:
        raise ValueError("batch_spans must be at least 1, and export_interval_s positive")
    return _batches(run, batch_spans, export_interval_s)


def requests(run: Simulation, batch_spans: int = 512, export_interval_s: float = 1.0) -> Iterator[tuple[int, bytes]]:
    """Yield what the shop's services export, in order of time: when (Unix nanoseconds), and the request's bytes.

    As with the SDKs' batch processor, each instance exports every `export_interval_s` what ended since, each at its own
    moment, and at once when `batch_spans` are waiting. So the spans of a trace come in several requests, callees often
    before their callers. The bytes are an OTLP `ExportTraceServiceRequest`.

    Raises:
        ValueError: `batch_spans` below 1, or an interval that is not positive.
    """
    return ((at, encode_request(spans)) for at, spans in batches(run, batch_spans, export_interval_s))


def _batches(run: Simulation, batch_spans: int, interval_s: float) -> Iterator[tuple[int, list[SimulatedSpan]]]:
    start = run.scenario.start_unix_nano
    waiting: dict[Origin, list[SimulatedSpan]] = {}
    due: list[tuple[float, str, Origin]] = []
    for span in run.spans:
        now_s = span.ended_s
        while due and due[0][0] <= now_s:
            at_s, _, origin = heapq.heappop(due)
            if waiting[origin]:
                yield start + int(at_s * 1e9), waiting[origin]
                waiting[origin] = []
            heapq.heappush(due, (at_s + interval_s, origin.pod, origin))
        origin = span.origin
        spans = waiting.get(origin)
        if spans is None:
            spans = waiting[origin] = []
            # Each instance keeps its own rhythm, which its first span happens to start.
            heapq.heappush(due, (now_s + interval_s, origin.pod, origin))
        spans.append(span)
        if len(spans) >= batch_spans:
            yield start + int(now_s * 1e9), spans
            waiting[origin] = []
    for at_s, _, origin in sorted(due, key=lambda entry: entry[:2]):
        if waiting[origin]:
            yield start + int(at_s * 1e9), waiting[origin]
