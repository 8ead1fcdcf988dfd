"""Attributes appended to and stripped from a span's bytes; everything else in it stays where it is.

Source: protobuf.dev/programming-guides/encoding; opentelemetry-proto, trace/v1/trace.proto (`Span.attributes` = 9).
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from struct import Struct

from otel_tracead.wire import _writer
from otel_tracead.wire._zipkin_text import without_tags
from otel_tracead.wire.batch import TranslatedSpan

OWN_PREFIX = b"tracead."
"""What the keys of our own attributes start with."""

_ATTRIBUTES = 9
_KEY = 1
_TAG = b"\x4a"

_DOUBLE = Struct("<d").pack

_VARINT, _FIXED64, _LENGTH, _GROUP, _END_GROUP, _FIXED32 = range(6)

AttributeValue = str | bool | int | float | Sequence[str]


def encode_attribute(key: str, value: AttributeValue) -> bytes:
    """Encode a span attribute as a whole field of `Span` (tag, length, `KeyValue`), ready to be appended.

    Args:
        key: e.g. `tracead.anomaly.level`.
        value: its type becomes the attribute's type; a sequence must hold strings.
    """
    if isinstance(value, (str, bool)):  # few different ones, on many spans
        return _memoised(key, value)
    if isinstance(value, float):  # all different, on every trace
        return _up_to_double(key) + _DOUBLE(value)
    if isinstance(value, int):
        return _writer.attribute(_TAG, key, value)
    return _memoised(key, tuple(value))


@lru_cache(maxsize=1 << 8)
def _up_to_double(key: str) -> bytes:
    return _writer.attribute(_TAG, key, 0.0)[:-8]


@lru_cache(maxsize=1 << 12, typed=True)
def _memoised(key: str, value: str | bool | tuple[str, ...]) -> bytes:
    return _writer.attribute(_TAG, key, value)


def append_attributes(span: bytes, encoded: bytes) -> bytes:
    """Append fields made by `encode_attribute`; a `TranslatedSpan` stays one."""
    if isinstance(span, TranslatedSpan):
        return TranslatedSpan(span + encoded, span.origin)
    return span + encoded


def strip_attributes(span: bytes, prefix: bytes = OWN_PREFIX) -> tuple[bytes, int]:
    """Remove the span's own attributes whose key starts with *prefix*; every other byte stays in its place.

    Events, links and nested values are not looked at. Of a `TranslatedSpan` the origin's tags go too.

    Args:
        span: an encoded `Span` that passed validation once.
        prefix: UTF-8.

    Returns:
        The span (the very same object if there was nothing to remove), and how many attributes were removed.
    """
    stripped, removed = _strip(span, prefix) if prefix in span else (span, 0)
    if isinstance(span, TranslatedSpan):
        origin = without_tags(span.origin, prefix.decode())
        return (TranslatedSpan(stripped, origin), removed) if removed or origin is not span.origin else (span, 0)
    return stripped, removed


def _strip(span: bytes, prefix: bytes) -> tuple[bytes, int]:
    kept: list[bytes] = []
    copied = removed = 0
    for number, wire_type, start, payload, end in _fields(span):
        if number != _ATTRIBUTES or wire_type != _LENGTH or span.find(prefix, payload, end) < 0:
            continue
        if _key(span[payload:end]).startswith(prefix):
            kept.append(span[copied:start])
            copied = end
            removed += 1
    if not removed:
        return span, 0
    kept.append(span[copied:])
    return b"".join(kept), removed


def _key(pair: bytes) -> bytes:
    """Give the key of a `KeyValue`; of several the last one counts, as everywhere in protobuf."""
    key = b""
    for number, wire_type, _, payload, end in _fields(pair):
        if number == _KEY and wire_type == _LENGTH:
            key = pair[payload:end]
    return key


def _fields(message: bytes) -> Iterator[tuple[int, int, int, int, int]]:  # noqa: C901, PLR0912 (one a wire type)
    """Walk over (number, wire type, start, start of payload, end) of a valid message's fields; a group is one field."""
    position, size = 0, len(message)
    groups = 0
    start = number = 0
    while position < size:
        tag = message[position]
        if tag < 0x80:
            payload = position + 1
        else:
            tag, payload = _read_varint(message, position)
        if not groups:
            start, number = position, tag >> 3
        wire_type = tag & 7
        position = payload
        if wire_type == _LENGTH:
            length = message[payload]
            if length < 0x80:
                payload += 1
            else:
                length, payload = _read_varint(message, payload)
            position = payload + length
        elif wire_type == _VARINT:
            _, position = _read_varint(message, payload)
        elif wire_type == _FIXED64:
            position += 8
        elif wire_type == _FIXED32:
            position += 4
        elif wire_type == _GROUP:
            groups += 1
        elif wire_type == _END_GROUP:
            groups -= 1
        if not groups:
            yield number, wire_type, start, payload, position


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
