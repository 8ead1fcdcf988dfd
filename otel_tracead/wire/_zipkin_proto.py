"""Zipkin's protobuf, `ListOfSpans`, to and from the objects of its v2 JSON.

Source: openzipkin/zipkin-api, zipkin.proto; what a server drops or refuses: openzipkin/zipkin,
zipkin2/internal/Proto3ZipkinFields.java.
"""

from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from otel_tracead.wire._json_reader import Broken
from otel_tracead.wire._zipkin_reader import END_OF_TIME, Endpoint, at, endpoint, number, optional, timed_text

_Object = dict[str, Any]
_F = descriptor_pb2.FieldDescriptorProto
_PACKAGE: Final = "otel_tracead.zipkin"
_KINDS: Final = ("CLIENT", "SERVER", "PRODUCER", "CONSUMER")
_TRACE_ID_BYTES: Final = (8, 16)
_SPAN_ID_BYTES: Final = 8
_IPV4_BYTES, _IPV6_BYTES = 4, 16


def _build() -> type[Message]:
    file = descriptor_pb2.FileDescriptorProto(name="otel_tracead/zipkin.proto", package=_PACKAGE, syntax="proto3")

    def message(
        name: str, *fields: tuple[int, str, "_F.Type.ValueType | str"], repeated: frozenset[str] = frozenset()
    ) -> descriptor_pb2.DescriptorProto:
        added = file.message_type.add(name=name)
        for place, field_name, kind in fields:
            field = added.field.add(name=field_name, number=place)
            field.label = _F.LABEL_REPEATED if field_name in repeated else _F.LABEL_OPTIONAL
            if isinstance(kind, str):
                field.type = _F.TYPE_MESSAGE
                field.type_name = f".{_PACKAGE}.{kind}"
            else:
                field.type = kind
        return added

    message(
        "Endpoint",
        (1, "service_name", _F.TYPE_STRING),
        (2, "ipv4", _F.TYPE_BYTES),
        (3, "ipv6", _F.TYPE_BYTES),
        (4, "port", _F.TYPE_INT32),
    )
    message("Annotation", (1, "timestamp", _F.TYPE_FIXED64), (2, "value", _F.TYPE_STRING))
    span = message(
        "Span",
        (1, "trace_id", _F.TYPE_BYTES),
        (2, "parent_id", _F.TYPE_BYTES),
        (3, "id", _F.TYPE_BYTES),
        (4, "kind", _F.TYPE_INT32),
        (5, "name", _F.TYPE_STRING),
        (6, "timestamp", _F.TYPE_FIXED64),
        (7, "duration", _F.TYPE_UINT64),
        (8, "local_endpoint", "Endpoint"),
        (9, "remote_endpoint", "Endpoint"),
        (10, "annotations", "Annotation"),
        (11, "tags", "Span.TagsEntry"),
        (12, "debug", _F.TYPE_BOOL),
        (13, "shared", _F.TYPE_BOOL),
        repeated=frozenset({"annotations", "tags"}),
    )
    entry = span.nested_type.add(name="TagsEntry")
    entry.options.map_entry = True
    for place, name in ((1, "key"), (2, "value")):
        entry.field.add(name=name, number=place, label=_F.LABEL_OPTIONAL, type=_F.TYPE_STRING)
    message("ListOfSpans", (1, "spans", "Span"), repeated=frozenset({"spans"}))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.ListOfSpans"))


if TYPE_CHECKING:

    class ListOfSpans(Message):
        spans: Any

else:
    ListOfSpans = _build()


def read_list(body: bytes) -> list[_Object]:
    """Give the spans of an encoded `ListOfSpans` as v2 JSON has them; what is absent is left out.

    Raises:
        Broken: it is none, or an id has a wrong length; with the path.
    """
    try:
        spans = ListOfSpans.FromString(body).spans
    except DecodeError as error:
        raise Broken(f"not a valid protobuf ListOfSpans: {error}") from error
    found = []
    for index, span in enumerate(spans):
        try:
            found.append(_read(span))
        except Broken as broken:
            broken.path.append(index)
            raise
    return found


def write_list(spans: Iterable[_Object]) -> bytes:
    """Encode v2 spans as `ListOfSpans`.

    Args:
        spans: what `_zipkin_reader` takes. What a server would not read is left out: addresses that are none, unknown
            fields, annotations at time 0.
    """
    message = ListOfSpans()
    for span in spans:
        _write(span, message.spans.add())
    return message.SerializeToString()


def _read(span: Any) -> _Object:
    if len(span.trace_id) not in _TRACE_ID_BYTES:
        raise at("trace_id", f"expected 8 or 16 bytes, not {len(span.trace_id)}")
    if len(span.id) != _SPAN_ID_BYTES:
        raise at("id", f"expected 8 bytes, not {len(span.id)}")
    if len(span.parent_id) not in (0, _SPAN_ID_BYTES):
        raise at("parent_id", f"expected 8 bytes, not {len(span.parent_id)}")
    result: _Object = {
        "traceId": span.trace_id.hex(),
        "parentId": span.parent_id.hex() if any(span.parent_id) else "",
        "id": span.id.hex(),
        "kind": _KINDS[span.kind - 1] if 1 <= span.kind <= len(_KINDS) else "",
        "name": span.name,
        "timestamp": _time("timestamp", span.timestamp),
        "duration": _time("duration", span.duration),
        "localEndpoint": _read_endpoint("local_endpoint", span.local_endpoint),
        "remoteEndpoint": _read_endpoint("remote_endpoint", span.remote_endpoint),
        "annotations": [
            {"timestamp": _time("annotations", annotation.timestamp), "value": annotation.value}
            for annotation in span.annotations
            if annotation.timestamp and annotation.value
        ],
        "tags": dict(sorted(span.tags.items())),
        "debug": span.debug,
        "shared": span.shared,
    }
    return {key: value for key, value in result.items() if value}


def _time(field: str, microseconds: int) -> int:
    if microseconds >= END_OF_TIME:
        raise at(field, f"{microseconds} is out of range")
    return microseconds


def _read_endpoint(field: str, found: Any) -> _Object:
    if found.port >= 1 << 16:
        raise at(field, f"port {found.port} is out of range")
    result: _Object = {
        "serviceName": found.service_name,
        "ipv4": str(ip_address(found.ipv4)) if len(found.ipv4) == _IPV4_BYTES else "",
        "ipv6": str(ip_address(found.ipv6)) if len(found.ipv6) == _IPV6_BYTES else "",
        "port": max(0, found.port),
    }
    return {key: value for key, value in result.items() if value}


def _write(span: _Object, message: Any) -> None:
    message.trace_id = bytes.fromhex(span["traceId"].zfill(32))  # also one of 64 bits: a Collector takes no shorter one
    message.id = bytes.fromhex(span["id"].zfill(16))
    parent_id = (span.get("parentId") or "").zfill(16)
    if parent_id.strip("0") and parent_id != span["id"].zfill(16):
        message.parent_id = bytes.fromhex(parent_id)
    kind = optional(span, "kind", str)
    if kind:
        message.kind = _KINDS.index(kind) + 1
    message.name = optional(span, "name", str) or ""
    message.timestamp = number(span, "timestamp", END_OF_TIME)
    message.duration = number(span, "duration", END_OF_TIME)
    for key, field in (("localEndpoint", "local_endpoint"), ("remoteEndpoint", "remote_endpoint")):
        found = endpoint(span, key)
        if found != Endpoint():
            _write_endpoint(span[key], found, getattr(message, field))
    for annotation in span.get("annotations") or ():
        microseconds, value = timed_text(annotation)
        message.annotations.add(timestamp=microseconds, value=value)
    message.tags.update(
        {key: value if type(value) is str else repr(value) for key, value in (span.get("tags") or {}).items()}
    )
    message.debug, message.shared = bool(span.get("debug")), bool(span.get("shared"))


def _write_endpoint(written: _Object, found: Endpoint, message: Any) -> None:
    message.SetInParent()
    message.service_name, message.port = found.service, found.port
    for key in ("ipv4", "ipv6"):
        text = written.get(key) or ""
        try:
            address = ip_address(text)
        except ValueError:
            continue
        if isinstance(address, IPv6Address) and "." not in text:
            message.ipv6 = address.packed
        else:  # also one that is embedded, as in ::ffff:192.0.2.1
            message.ipv4 = address.packed[-_IPV4_BYTES:]
