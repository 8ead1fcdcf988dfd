"""Whose trace a span is, and whether it is a root: read from its first bytes where they are laid out as usual.

Every known encoder writes a span's fields in the order of their numbers, so that its first 28 bytes are
`0a 10 <trace id> 12 08 <span id>`, and `22 08 <parent span id>` follows unless there is a trace state. All other
layouts are read by a parser.
Source: opentelemetry-proto, trace/v1/trace.proto; protobuf's wire format.
"""

from collections.abc import Iterable, Iterator, Sequence
from struct import Struct
from struct import error as StructError  # noqa: N812 (a class)
from typing import Final

from google.protobuf.message import DecodeError

from otel_tracead.wire._shallow import SpanHead

_NO_TRACE: Final = bytes(16)
_IDS: Final = Struct("<H16sHQ")  # tag, trace id, tag, and the span id as a number
_TRACE_ID_TAG: Final = 0x100A
_SPAN_ID_TAG: Final = 0x0812
_NO_SPAN: Final = bytes(8)
_FIRST_TAG: Final = b"\x0a\x10"
_SECOND_TAG: Final = b"\x12\x08"
_INVALID_SPAN_ID: Final = _SECOND_TAG + _NO_SPAN
_SHORTEST: Final = 28

START: Final = slice(20)
"""A span up to its own id; made once, since a slice costs as much as what it cuts."""
_PARENT_TAG: Final = b"\x22\x08"


def trace_ids(spans: Iterable[bytes]) -> Iterator[bytes]:
    """Give the trace id of each encoded span; empty where that or the span's own id is not valid.

    Valid is an id that has its length (16 bytes, 8 for the span's own) and is not all zero.
    """
    unpack = _IDS.unpack_from
    for span in spans:
        try:
            first, trace_id, second, span_id = unpack(span)
        except StructError:
            first = 0
        if first != _TRACE_ID_TAG or second != _SPAN_ID_TAG or not span_id or trace_id == _NO_TRACE:
            trace_id = parsed_trace_id(span)
        yield trace_id


def start_of(trace_id: bytes) -> bytes:
    """Give the `START` of all spans of a trace that are laid out as usual: its id with the tags around it."""
    return _FIRST_TAG + trace_id + _SECOND_TAG


def trace_id_of(start: bytes) -> bytes:
    """Give the trace id that *start* is the `start_of`."""
    return start[2:18]


def all_identified(spans: Iterable[bytes]) -> bool:
    """Say for sure that no span of the usual layout has an id of zeros; all are looked through at once, which is cheaper."""
    return b"".join(spans).rfind(_INVALID_SPAN_ID) < 0  # backwards Python searches twice as fast


def valid_trace_id(span: bytes) -> bytes:
    """Do as `trace_ids` for one span."""
    if len(span) >= _SHORTEST:
        first, trace_id, second, span_id = _IDS.unpack_from(span)
        if first == _TRACE_ID_TAG and second == _SPAN_ID_TAG and span_id and trace_id != _NO_TRACE:
            return bytes(trace_id)
    return parsed_trace_id(span)


def parsed_trace_id(span: bytes) -> bytes:
    """Do as `trace_ids` for a span of any layout, at the price of a parser."""
    head = _head(span)
    trace_id, span_id = head.trace_id, head.span_id
    if len(trace_id) != 16 or len(span_id) != 8 or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return b""
    return trace_id


def is_root(span: bytes) -> bool:
    """Say whether an encoded span (with valid ids) has no parent; a parent of zeros or of a wrong length is none."""
    if span[28:30] == _PARENT_TAG and span[:2] == b"\n\x10" and span[18:20] == b"\x12\x08" and span[30:38] != _NO_SPAN:
        return False
    parent = _head(span).parent_span_id
    return len(parent) != 8 or parent == _NO_SPAN


def earliest_root(spans: Sequence[bytes]) -> int:
    """Give the index of the earliest root of a trace's encoded spans, else of the earliest span.

    Raises:
        ValueError: there is no span.
    """
    return min(range(len(spans)), key=lambda index: (not is_root(spans[index]), _head(spans[index]).start))


def _head(span: bytes) -> SpanHead:
    try:
        return SpanHead.FromString(span)
    except DecodeError:  # receivers validate what comes from outside; whatever slips through still goes on
        return SpanHead()
