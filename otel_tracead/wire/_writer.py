"""Protobuf bytes written by hand, where building messages would cost more than the work itself.

Source: opentelemetry-proto, common/v1/common.proto; protobuf.dev/programming-guides/encoding.
"""

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache

MAX_LEVELS = 88
"""How many messages an attribute's value may nest, so that any protobuf runtime (limit 100) reads it back."""

_MEMO_CHARACTERS = 256
_UINT64 = (1 << 64) - 1


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


_SMALL = tuple(_varint(value) for value in range(1 << 12))


def varint(value: int) -> bytes:
    """Encode an integer of 64 bits; a negative one as its two's complement, which is what int32 and int64 want."""
    return _SMALL[value] if 0 <= value < len(_SMALL) else _varint(value & _UINT64)


def delimited(tag: bytes, payload: bytes) -> bytes:
    """Encode a length-delimited field, even an empty one."""
    length = len(payload)
    return tag + (_SMALL[length] if length < len(_SMALL) else _varint(length)) + payload


def string_value(text: str) -> bytes:
    """Encode an `AnyValue` that is a string."""
    return delimited(b"\x0a", text.encode())


def bool_value(value: bool) -> bytes:
    """Encode an `AnyValue` that is a boolean."""
    return b"\x10\x01" if value else b"\x10\x00"


def int_value(value: int) -> bytes:
    """Encode an `AnyValue` that is an integer."""
    return b"\x18" + varint(value)


def double_value(value: float) -> bytes:
    """Encode an `AnyValue` that is a double."""
    return b"\x21" + struct.pack("<d", value)


def bytes_value(value: bytes) -> bytes:
    """Encode an `AnyValue` that is bytes."""
    return delimited(b"\x3a", value)


def array_value(values: Sequence[bytes]) -> bytes:
    """Encode an `AnyValue` that is a list of encoded `AnyValue`."""
    return delimited(b"\x2a", b"".join(delimited(b"\x0a", value) for value in values))


def kvlist_value(pairs: Sequence[bytes]) -> bytes:
    """Encode an `AnyValue` that is a map of encoded `KeyValue`."""
    return delimited(b"\x32", b"".join(delimited(b"\x0a", pair) for pair in pairs))


def key_value(key: str, value: bytes) -> bytes:
    """Encode a `KeyValue` of an encoded `AnyValue`."""
    return delimited(b"\x0a", key.encode()) + delimited(b"\x12", value)


@lru_cache(maxsize=1 << 14)
def _string_attribute(tag: bytes, key: str, text: str) -> bytes:
    return delimited(tag, key_value(key, string_value(text)))


def string_attribute(tag: bytes, key: str, text: str) -> bytes:
    """Encode a repeated `KeyValue` field whose value is a string; short ones repeat, so they are memoised."""
    if len(text) + len(key) < _MEMO_CHARACTERS:
        return _string_attribute(tag, key, text)
    return _string_attribute.__wrapped__(tag, key, text)


def attribute(tag: bytes, key: str, value: object) -> bytes:
    """Encode a repeated `KeyValue` field of a plain Python value (see `any_value`)."""
    if type(value) is str:
        return string_attribute(tag, key, value)
    return delimited(tag, key_value(key, any_value(value)))


def any_value(value: object, levels: int = MAX_LEVELS) -> bytes:  # noqa: PLR0911 (one a type)
    """Encode a plain Python (or parsed JSON) value as an `AnyValue`; an integer over 64 bits becomes a double.

    Raises:
        ValueError: nested deeper than *levels* messages.
    """
    if levels <= 0:
        raise ValueError(f"nested deeper than {MAX_LEVELS} messages")
    match value:
        case str():
            return string_value(value)
        case bool():
            return bool_value(value)
        case int():
            return int_value(value) if -(1 << 63) <= value < 1 << 63 else double_value(float(value))
        case float():
            return double_value(value)
        case bytes():
            return bytes_value(value)
        case Mapping():
            return kvlist_value([key_value(str(key), any_value(item, levels - 3)) for key, item in value.items()])
        case Sequence():
            return array_value([any_value(item, levels - 2) for item in value])
        case None:
            return b""
    raise TypeError(f"no attribute value: {type(value).__name__}")
