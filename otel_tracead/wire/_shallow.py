"""Protobuf messages with OTLP's field numbers that leave everything below the envelope as bytes.

A field of type message and one of type bytes look the same on the wire (both are length-delimited), so
parsing OTLP with these classes stops where we want it to stop. Singular fields are declared `repeated`
where they are only carried along: whatever number of them came goes out again.
Source: opentelemetry-proto, trace/v1/trace.proto.
"""

from typing import TYPE_CHECKING, cast

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

_F = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "otel_tracead.shallow"


def _message(
    file: descriptor_pb2.FileDescriptorProto, name: str, *fields: tuple[int, str, "_F.Type.ValueType | str", bool]
) -> None:
    message = file.message_type.add(name=name)
    for number, field_name, kind, repeated in fields:
        field = message.field.add(name=field_name, number=number)
        field.label = _F.LABEL_REPEATED if repeated else _F.LABEL_OPTIONAL
        if isinstance(kind, str):
            field.type = _F.TYPE_MESSAGE
            field.type_name = f".{_PACKAGE}.{kind}"
        else:
            field.type = kind


def _build() -> dict[str, type[Message]]:
    file = descriptor_pb2.FileDescriptorProto(name="otel_tracead/shallow.proto", package=_PACKAGE, syntax="proto3")
    _message(file, "Request", (1, "resource_spans", "ResourceSpans", True))
    _message(
        file,
        "ResourceSpans",
        (1, "resource", _F.TYPE_BYTES, True),
        (2, "scope_spans", "ScopeSpans", True),
        (3, "schema_url", _F.TYPE_BYTES, True),
    )
    _message(
        file,
        "ScopeSpans",
        (1, "scope", _F.TYPE_BYTES, True),
        (2, "spans", _F.TYPE_BYTES, True),
        (3, "schema_url", _F.TYPE_BYTES, True),
    )
    _message(
        file,
        "SpanHead",
        (1, "trace_id", _F.TYPE_BYTES, False),
        (2, "span_id", _F.TYPE_BYTES, False),
        (4, "parent_span_id", _F.TYPE_BYTES, False),
        (5, "name", _F.TYPE_BYTES, False),
        (6, "kind", _F.TYPE_INT32, False),
        (7, "start", _F.TYPE_FIXED64, False),
        (8, "end", _F.TYPE_FIXED64, False),
        (9, "attributes", _F.TYPE_BYTES, True),
        (15, "status", "Status", False),
    )
    _message(file, "Status", (3, "code", _F.TYPE_INT32, False))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in ("Request", "ResourceSpans", "ScopeSpans", "SpanHead")
    }


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Generic, TypeVar

    _T = TypeVar("_T")

    class _Repeated(Generic[_T]):
        def __iter__(self) -> Iterator[_T]: ...
        def __len__(self) -> int: ...
        def __getitem__(self, index: slice) -> list[_T]: ...
        def extend(self, values: Iterable[_T]) -> None: ...
        def add(self) -> _T: ...

    class _Status(Message):
        code: int

    class Request(Message):
        resource_spans: _Repeated["ResourceSpans"]

    class ResourceSpans(Message):
        resource: _Repeated[bytes]
        scope_spans: _Repeated["ScopeSpans"]
        schema_url: _Repeated[bytes]

    class ScopeSpans(Message):
        scope: _Repeated[bytes]
        spans: _Repeated[bytes]
        schema_url: _Repeated[bytes]

    class SpanHead(Message):
        trace_id: bytes
        span_id: bytes
        parent_span_id: bytes
        name: bytes
        kind: int
        start: int
        end: int
        attributes: _Repeated[bytes]
        status: _Status

else:
    _classes = _build()
    Request = cast("type[Message]", _classes["Request"])
    ResourceSpans = _classes["ResourceSpans"]
    ScopeSpans = _classes["ScopeSpans"]
    SpanHead = _classes["SpanHead"]

__all__ = ["Request", "ResourceSpans", "ScopeSpans", "SpanHead"]
