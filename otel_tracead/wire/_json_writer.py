"""Encoded spans as OTLP/JSON; what repeats from span to span is printed once and then looked up by its bytes.

Most of a span's JSON is put together from its bytes, where they are laid out as encoders do it: a quarter of the time that
a parsed message takes. Spans of another layout are parsed.
Source: opentelemetry-proto, docs/specification.md (JSON Protobuf Encoding) and trace/v1/trace.proto.
"""

from base64 import b64encode
from collections.abc import Iterable
from functools import lru_cache
from struct import Struct
from typing import Any, Final

import orjson
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_tracead.wire._shallow import SpanHead
from otel_tracead.wire.values import double

_Object = dict[str, Any]
_LONG: Final = 256  # bytes of an attribute from which on it is not remembered: memory is bounded
_LONG_REST: Final = 512
_IDS: Final = 28  # bytes of the fields of the trace id and the span id
_PARENT: Final = 10
_START_AND_END: Final = Struct("<BQBQ")
_NAME, _KIND, _START, _END = 0x2A, 0x30, 0x39, 0x41
_LENGTH_GOES_ON: Final = 0x80


class _Unusual(Exception):  # noqa: N818 (never leaves this module)
    """Of another layout."""


def spans(encoded: Iterable[bytes]) -> orjson.Fragment:
    """Print the list of *encoded* spans."""
    return orjson.Fragment("[" + ",".join(map(_span, encoded)) + "]")


def _span(encoded: bytes) -> str:
    try:
        return _usual(encoded)
    except (_Unusual, IndexError):
        return orjson.dumps(_object(encoded)).decode()


def _usual(encoded: bytes) -> str:
    if encoded[:2] != b"\x0a\x10" or encoded[18:20] != b"\x12\x08":
        raise _Unusual
    ids, parent, at = encoded[:_IDS].hex(), "", _IDS
    if encoded[at : at + 2] == b"\x22\x08":
        at += _PARENT
        parent = f'"parentSpanId":"{encoded[at - 8 : at].hex()}",'
    end = at
    if encoded[end] == _NAME:
        end += 2 + encoded[end + 1]
        if encoded[at + 1] >= _LENGTH_GOES_ON:
            raise _Unusual
    if encoded[end] == _KIND:
        end += 2
        if encoded[end - 1] >= _LENGTH_GOES_ON:
            raise _Unusual
    if encoded[end] != _START or encoded[end + 9] != _END or len(encoded) < end + _START_AND_END.size:
        raise _Unusual
    _, started, _, ended = _START_AND_END.unpack_from(encoded, end)
    rest = encoded[end + _START_AND_END.size :]
    flags, more = (_remembered_rest(rest) if len(rest) < _LONG_REST else _printed_rest(rest)) if rest else ("", "")
    return (
        f'{{"traceId":"{ids[4:36]}","spanId":"{ids[40:]}",{parent}{flags}{_name_and_kind(encoded[at:end])}'
        f'"startTimeUnixNano":"{started}","endTimeUnixNano":"{ended}"{more}}}'
    )


@lru_cache(maxsize=1 << 12)
def _name_and_kind(encoded: bytes) -> str:
    span = Span.FromString(encoded)
    kind = f'"kind":{span.kind},' if span.kind else ""
    return f'"name":{orjson.dumps(span.name).decode()},{kind}'


def _printed_rest(encoded: bytes) -> tuple[str, str]:
    """Print what follows a span's times: its flags, which JSON has further up, and the other fields."""
    span = Span.FromString(encoded)
    head = (span.trace_id, span.span_id, span.parent_span_id, span.trace_state, span.name)
    if any(head) or span.kind or span.start_time_unix_nano or span.end_time_unix_nano:
        raise _Unusual  # a field that comes once more, and counts
    if span.ByteSize() != len(encoded):
        raise _Unusual  # perhaps one that comes once more and is empty
    printed = orjson.dumps(_rest(span, encoded))[1:-1].decode()
    return f'"flags":{span.flags},' if span.flags else "", f",{printed}" if printed else ""


_remembered_rest: Final = lru_cache(maxsize=1 << 11)(_printed_rest)


def _object(encoded: bytes) -> _Object:
    span = Span.FromString(encoded)
    result: _Object = {"traceId": span.trace_id.hex(), "spanId": span.span_id.hex()}
    if span.trace_state:
        result["traceState"] = span.trace_state
    if span.parent_span_id:
        result["parentSpanId"] = span.parent_span_id.hex()
    if span.flags:
        result["flags"] = span.flags
    result["name"] = span.name
    if span.kind:
        result["kind"] = span.kind
    result["startTimeUnixNano"] = str(span.start_time_unix_nano)
    result["endTimeUnixNano"] = str(span.end_time_unix_nano)
    return result | _rest(span, encoded)


def _rest(span: Any, encoded: bytes) -> _Object:
    result = _span_attributes(span, encoded)
    if span.events:
        result["events"] = [
            {"timeUnixNano": str(event.time_unix_nano), "name": event.name, **attributes(event)}
            for event in span.events
        ]
    if span.dropped_events_count:
        result["droppedEventsCount"] = span.dropped_events_count
    if span.links:
        result["links"] = [
            {"traceId": link.trace_id.hex(), "spanId": link.span_id.hex()}
            | filled(traceState=link.trace_state, flags=link.flags)
            | attributes(link)
            for link in span.links
        ]
    if span.dropped_links_count:
        result["droppedLinksCount"] = span.dropped_links_count
    if span.HasField("status"):
        result["status"] = filled(message=span.status.message, code=span.status.code)
    return result


def _span_attributes(span: Any, encoded: bytes) -> _Object:
    # Attributes repeat from span to span, so that their text is looked up by their bytes: most of the time went there.
    result: _Object = {}
    if pairs := SpanHead.FromString(encoded).attributes[:]:
        result["attributes"] = [_remembered(pair) if len(pair) < _LONG else _fragment(pair) for pair in pairs]
    if span.dropped_attributes_count:
        result["droppedAttributesCount"] = span.dropped_attributes_count
    return result


def filled(**fields: Any) -> dict[str, Any]:
    """Give the fields that are not empty."""
    return {key: value for key, value in fields.items() if value}


def attributes(holder: Any) -> dict[str, Any]:
    """Give the attributes of a message that has some, and the count of dropped ones."""
    result: _Object = {}
    if holder.attributes:
        result["attributes"] = [_key_value(pair) for pair in holder.attributes]
    if holder.dropped_attributes_count:
        result["droppedAttributesCount"] = holder.dropped_attributes_count
    return result


def _fragment(encoded: bytes) -> orjson.Fragment:
    # As text, which is as long as it is: the bytes that orjson gives keep some KiB more than they need.
    return orjson.Fragment(orjson.dumps(_key_value(KeyValue.FromString(encoded))).decode())


_remembered: Final = lru_cache(maxsize=1 << 13)(_fragment)


def _key_value(pair: KeyValue) -> _Object:
    if pair.HasField("value"):
        return {"key": pair.key, "value": _any_value(pair.value)}
    return {"key": pair.key}


def _any_value(value: AnyValue) -> _Object:  # noqa: PLR0911 (one a type)
    match value.WhichOneof("value"):
        case "string_value":
            return {"stringValue": value.string_value}
        case "int_value":
            return {"intValue": str(value.int_value)}
        case "bool_value":
            return {"boolValue": value.bool_value}
        case "double_value":
            return {"doubleValue": double(value.double_value)}
        case "array_value":
            return {"arrayValue": {"values": [_any_value(item) for item in value.array_value.values]}}
        case "kvlist_value":
            return {"kvlistValue": {"values": [_key_value(pair) for pair in value.kvlist_value.values]}}
        case "bytes_value":
            return {"bytesValue": b64encode(value.bytes_value).decode()}
    return {}
