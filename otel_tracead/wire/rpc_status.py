"""`google.rpc.Status` with `RetryInfo`, in protobuf and JSON: what OTLP says when it says no.

Source: google/rpc/status.proto and error_details.proto (googleapis); only the fields that OTLP uses.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

_F = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "otel_tracead.rpc"
_RETRY_INFO: Final = "type.googleapis.com/google.rpc.RetryInfo"
_NANOS: Final = 1_000_000_000
_SECONDS_A_YEAR: Final = 366 * 86_400


@dataclass(frozen=True, slots=True)
class RpcStatus:
    """What a server says about a request that it did not take.

    Attributes:
        code: the gRPC status code as a number.
        message: for people.
        retry_after: seconds, where `RetryInfo` was given.
    """

    code: int
    message: str
    retry_after: float | None = None

    def encode(self) -> bytes:
        """Give the protobuf bytes, as in `grpc-status-details-bin`."""
        status = _Status(code=self.code, message=self.message)
        if self.retry_after is not None:
            seconds, nanos = _split(self.retry_after)
            retry_info = _RetryInfo(retry_delay=_Duration(seconds=seconds, nanos=nanos))
            status.details.add(type_url=_RETRY_INFO, value=retry_info.SerializeToString())
        return status.SerializeToString()

    def encode_json(self) -> bytes:
        """Give the JSON form."""
        status: dict[str, object] = {"code": self.code, "message": self.message}
        if self.retry_after is not None:
            status["details"] = [{"@type": _RETRY_INFO, "retryDelay": f"{self.retry_after:g}s"}]
        return orjson.dumps(status)

    @classmethod
    def decode(cls, encoded: bytes) -> "RpcStatus | None":
        """Read the protobuf bytes; None if they are something else."""
        try:
            status = _Status.FromString(encoded)
            retry_after = None
            for detail in status.details:
                if detail.type_url == _RETRY_INFO:
                    delay = _RetryInfo.FromString(detail.value).retry_delay
                    retry_after = _sane(delay.seconds + delay.nanos / _NANOS)
        except DecodeError:
            return None
        return cls(status.code, status.message, retry_after)


def _split(seconds: float) -> tuple[int, int]:
    whole = int(seconds)
    return whole, int((seconds - whole) * _NANOS)


def _sane(seconds: float) -> float:
    """Bound what a backend may ask for: never the past, never beyond a year."""
    return min(max(seconds, 0.0), float(_SECONDS_A_YEAR))


def _build() -> dict[str, type[Message]]:
    file = descriptor_pb2.FileDescriptorProto(name="otel_tracead/rpc_status.proto", package=_PACKAGE, syntax="proto3")

    def message(name: str, *fields: tuple[int, str, "_F.Type.ValueType", str, bool]) -> None:
        added = file.message_type.add(name=name)
        for number, field_name, kind, type_name, repeated in fields:
            field = added.field.add(name=field_name, number=number, type=kind)
            field.label = _F.LABEL_REPEATED if repeated else _F.LABEL_OPTIONAL
            if type_name:
                field.type_name = f".{_PACKAGE}.{type_name}"

    message("Duration", (1, "seconds", _F.TYPE_INT64, "", False), (2, "nanos", _F.TYPE_INT32, "", False))
    message("RetryInfo", (1, "retry_delay", _F.TYPE_MESSAGE, "Duration", False))
    message("Detail", (1, "type_url", _F.TYPE_STRING, "", False), (2, "value", _F.TYPE_BYTES, "", False))
    message(
        "Status",
        (1, "code", _F.TYPE_INT32, "", False),
        (2, "message", _F.TYPE_STRING, "", False),
        (3, "details", _F.TYPE_MESSAGE, "Detail", True),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in ("Duration", "RetryInfo", "Status")
    }


if TYPE_CHECKING:
    from collections.abc import Iterator

    class _Detail(Message):
        type_url: str
        value: bytes

    class _Details:
        def __iter__(self) -> Iterator[_Detail]: ...
        def add(self, *, type_url: str, value: bytes) -> _Detail: ...

    class _Duration(Message):
        seconds: int
        nanos: int

        def __init__(self, *, seconds: int, nanos: int) -> None: ...

    class _RetryInfo(Message):
        retry_delay: _Duration

        def __init__(self, *, retry_delay: _Duration) -> None: ...

    class _Status(Message):
        code: int
        message: str
        details: _Details

        def __init__(self, *, code: int, message: str) -> None: ...

else:
    _classes = _build()
    _Duration, _RetryInfo, _Status = _classes["Duration"], _classes["RetryInfo"], _classes["Status"]

__all__ = ["RpcStatus"]
