"""Parsed OTLP/JSON to OTLP protobuf bytes: one table of field writers a message.

The tables hold both spellings of a key, as the Collector's reader does: a request in snake_case would
otherwise be an object of unknown fields and its spans lost without a word.
Source: opentelemetry-proto, docs/specification.md (JSON Protobuf Encoding) and trace/v1/trace.proto.
"""

import re
import struct
from base64 import b64decode
from binascii import Error, unhexlify
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from otel_tracead.wire import _writer
from otel_tracead.wire._writer import MAX_LEVELS, delimited, varint

_Write = Callable[[Any], bytes]
_Fields = Mapping[str, _Write]

_MEMO_CHARACTERS = 256
_DIGITS = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_DOUBLE = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|NaN|-?Infinity", re.ASCII)


class Broken(Exception):  # noqa: N818 (never leaves this package: it gathers the path on its way up)
    """A value that is not what its field wants.

    Attributes:
        path: the steps from the value up to the document, innermost first.
    """

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.path: list[str | int] = []

    def __str__(self) -> str:
        steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in reversed(self.path))
        return f"{steps.removeprefix('.') or 'the document'}: {self.args[0]}"


def describe(value: object) -> str:
    """Name a parsed JSON value for an error message, cut short."""
    names = {dict: "an object", list: "a list", bool: "a boolean", type(None): "null"}
    name = names.get(type(value))
    text = repr(value)
    return name or (text if len(text) <= 64 else f"{text[:60]}…")


def message(fields: _Fields, value: object) -> bytes:
    """Encode the fields of a parsed JSON object; unknown ones and nulls are ignored.

    Raises:
        Broken: it is no object, or a field in it is broken.
    """
    if type(value) is not dict:
        raise Broken(f"expected an object, not {describe(value)}")
    parts = []
    for key, item in value.items():
        write = fields.get(key)
        if write is not None and item is not None:
            try:
                parts.append(write(item))
            except Broken as broken:
                broken.path.append(key)
                raise
    # By tag, as every encoder of protobuf writes them: readers of heads rely on the usual order to be fast.
    parts.sort()
    return b"".join(parts)


def elements(value: object) -> list[Any]:
    """Give the items of a parsed JSON list, or raise Broken."""
    if type(value) is not list:
        raise Broken(f"expected a list, not {describe(value)}")
    return value


def integer(value: object, low: int, high: int) -> int:
    """Read an integer that is a JSON number or a decimal string, or raise Broken."""
    if type(value) is str and _DIGITS.fullmatch(value):
        value = int(value)
    if type(value) is not int:
        raise Broken(f"expected an integer, not {describe(value)}")
    if not low <= value < high:
        raise Broken(f"{value} is out of range")
    return value


def _string(tag: bytes) -> _Write:
    def write(value: object) -> bytes:
        return delimited(tag, text(value).encode()) if value != "" else b""

    return write


def text(value: object) -> str:
    """Give a parsed JSON string, or raise Broken."""
    if type(value) is not str:
        raise Broken(f"expected a string, not {describe(value)}")
    return value


def _identifier(tag: bytes) -> _Write:
    def write(value: object) -> bytes:
        try:
            identifier = unhexlify(text(value))
        except ValueError:
            raise Broken(f"expected an id in hexadecimal digits, not {describe(value)}") from None
        return delimited(tag, identifier) if identifier else b""

    return write


def _fixed64(tag: bytes) -> _Write:
    def write(value: object) -> bytes:
        number = integer(value, 0, 1 << 64)
        return tag + number.to_bytes(8, "little") if number else b""

    return write


def _fixed32(tag: bytes) -> _Write:
    def write(value: object) -> bytes:
        number = integer(value, 0, 1 << 32)
        return tag + number.to_bytes(4, "little") if number else b""

    return write


def _uint32(tag: bytes) -> _Write:
    def write(value: object) -> bytes:
        number = integer(value, 0, 1 << 32)
        return tag + varint(number) if number else b""

    return write


def _enum(tag: bytes, names: Mapping[str, int]) -> _Write:
    def write(value: object) -> bytes:
        if type(value) is str:  # against the specification, but the Collector takes them
            if value not in names:
                raise Broken(f"expected one of {', '.join(names)} or its number, not {describe(value)}")
            value = names[value]
        elif type(value) is not int:
            raise Broken(f"expected an enum's number, not {describe(value)}")
        number = integer(value, -(1 << 31), 1 << 31)
        return tag + varint(number) if number else b""

    return write


def _one(tag: bytes, fields: _Fields) -> _Write:
    return lambda value: delimited(tag, message(fields, value))


def _many(tag: bytes, encode: Callable[[object], bytes]) -> _Write:
    def write(value: object) -> bytes:
        parts = []
        for index, item in enumerate(elements(value)):
            try:
                parts.append(delimited(tag, encode(item)))
            except Broken as broken:
                broken.path.append(index)
                raise
        return b"".join(parts)

    return write


def _strings(tag: bytes) -> _Write:
    return _many(tag, lambda item: text(item).encode())


def _attributes(tag: bytes) -> _Write:
    def write(value: object) -> bytes:
        parts = []
        for index, item in enumerate(elements(value)):
            try:
                parts.append(_repeating(tag, item) or delimited(tag, _key_value(item, MAX_LEVELS)))
            except Broken as broken:
                broken.path.append(index)
                raise
        return b"".join(parts)

    return write


def _repeating(tag: bytes, pair: object) -> bytes:
    """Encode an attribute of the kinds that repeat, or give nothing."""
    if type(pair) is dict:
        key, wrapped = pair.get("key"), pair.get("value")
        if type(key) is str and type(wrapped) is dict and len(wrapped) == 1:
            [(kind, value)] = wrapped.items()
            if (type(value) is str and len(value) < _MEMO_CHARACTERS > len(key)) or type(value) in (int, bool):
                return _memoised(tag, key, kind, value)
    return b""


@lru_cache(maxsize=1 << 14, typed=True)
def _memoised(tag: bytes, key: str, kind: str, value: str | int) -> bytes:
    return delimited(tag, _key_value({"key": key, "value": {kind: value}}, MAX_LEVELS))


def _key_value(pair: object, levels: int) -> bytes:
    if type(pair) is not dict:
        raise Broken(f"expected an object, not {describe(pair)}")
    key, value = pair.get("key"), pair.get("value")
    step = "key"
    try:
        encoded = delimited(b"\x0a", text(key).encode()) if key is not None else b""
        step = "value"
        return encoded + delimited(b"\x12", _any_value(value, levels)) if value is not None else encoded
    except Broken as broken:
        broken.path.append(step)
        raise


def _any_value(value: object, levels: int) -> bytes:
    if type(value) is not dict:
        raise Broken(f"expected an object, not {describe(value)}")
    encoded = b""
    for key, item in value.items():
        write = _SCALARS.get(key)
        try:
            if write is not None:
                encoded = write(item) if item is not None else b""
            elif key in _NESTED and item is not None:
                encoded = _nested(key, item, levels)
        except Broken as broken:
            broken.path.append(key)
            raise
    return encoded


_NESTED = frozenset({"arrayValue", "array_value", "kvlistValue", "kvlist_value"})


def _nested(key: str, value: object, levels: int) -> bytes:
    if levels <= 0:
        raise Broken(f"nested deeper than {MAX_LEVELS} messages")
    if key in ("arrayValue", "array_value"):
        return delimited(b"\x2a", message({"values": _many(b"\x0a", lambda item: _any_value(item, levels - 2))}, value))
    return delimited(b"\x32", message({"values": _many(b"\x0a", lambda item: _key_value(item, levels - 3))}, value))


def _bool_value(value: object) -> bytes:
    if type(value) is not bool:
        raise Broken(f"expected a boolean, not {describe(value)}")
    return _writer.bool_value(value)


def _double_value(value: object) -> bytes:
    if type(value) is str and _DOUBLE.fullmatch(value):
        value = float(value)
    if type(value) not in (float, int):
        raise Broken(f"expected a number, not {describe(value)}")
    return b"\x21" + struct.pack("<d", value)


def _bytes_value(value: object) -> bytes:
    try:
        return _writer.bytes_value(b64decode(text(value), validate=True))
    except (Error, ValueError):
        raise Broken(f"expected base64, not {describe(value)}") from None


_SCALARS: _Fields = {
    "stringValue": lambda value: _writer.string_value(text(value)),
    "boolValue": _bool_value,
    "intValue": lambda value: _writer.int_value(integer(value, -(1 << 63), 1 << 63)),
    "doubleValue": _double_value,
    "bytesValue": _bytes_value,
}


def _both_spellings(fields: _Fields) -> dict[str, _Write]:
    snake = {re.sub("[A-Z]", lambda match: "_" + match[0].lower(), key): write for key, write in fields.items()}
    return {**snake, **fields}


_SCALARS = _both_spellings(_SCALARS)

KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
STATUS_CODES = ("UNSET", "OK", "ERROR")

_STATUS = _both_spellings(
    {
        "message": _string(b"\x12"),
        "code": _enum(b"\x18", {f"STATUS_CODE_{name}": code for code, name in enumerate(STATUS_CODES)}),
    }
)
_EVENT = _both_spellings(
    {
        "timeUnixNano": _fixed64(b"\x09"),
        "name": _string(b"\x12"),
        "attributes": _attributes(b"\x1a"),
        "droppedAttributesCount": _uint32(b"\x20"),
    }
)
_LINK = _both_spellings(
    {
        "traceId": _identifier(b"\x0a"),
        "spanId": _identifier(b"\x12"),
        "traceState": _string(b"\x1a"),
        "attributes": _attributes(b"\x22"),
        "droppedAttributesCount": _uint32(b"\x28"),
        "flags": _fixed32(b"\x35"),
    }
)
SPAN = _both_spellings(
    {
        "traceId": _identifier(b"\x0a"),
        "spanId": _identifier(b"\x12"),
        "traceState": _string(b"\x1a"),
        "parentSpanId": _identifier(b"\x22"),
        "name": _string(b"\x2a"),
        "kind": _enum(b"\x30", {f"SPAN_KIND_{name}": code for code, name in enumerate(KINDS)}),
        "startTimeUnixNano": _fixed64(b"\x39"),
        "endTimeUnixNano": _fixed64(b"\x41"),
        "attributes": _attributes(b"\x4a"),
        "droppedAttributesCount": _uint32(b"\x50"),
        "events": _many(b"\x5a", lambda item: message(_EVENT, item)),
        "droppedEventsCount": _uint32(b"\x60"),
        "links": _many(b"\x6a", lambda item: message(_LINK, item)),
        "droppedLinksCount": _uint32(b"\x70"),
        "status": _one(b"\x7a", _STATUS),
        "flags": _fixed32(b"\x85\x01"),
    }
)
_ENTITY = _both_spellings(
    {
        "schemaUrl": _string(b"\x0a"),
        "type": _string(b"\x12"),
        "idKeys": _strings(b"\x1a"),
        "descriptionKeys": _strings(b"\x22"),
    }
)
_RESOURCE = _both_spellings(
    {
        "attributes": _attributes(b"\x0a"),
        "droppedAttributesCount": _uint32(b"\x10"),
        "entityRefs": _many(b"\x1a", lambda item: message(_ENTITY, item)),
    }
)
_SCOPE = _both_spellings(
    {
        "name": _string(b"\x0a"),
        "version": _string(b"\x12"),
        "attributes": _attributes(b"\x1a"),
        "droppedAttributesCount": _uint32(b"\x20"),
    }
)
RESOURCE_SPANS = _both_spellings({"resource": _one(b"\x0a", _RESOURCE), "schemaUrl": _string(b"\x1a")})
"""The envelope's half of `ResourceSpans`: all but its scope spans."""
SCOPE_SPANS = _both_spellings({"scope": _one(b"\x0a", _SCOPE), "schemaUrl": _string(b"\x1a")})
"""The envelope's half of `ScopeSpans`: all but its spans."""
