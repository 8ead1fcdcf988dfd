"""Where generated requests go: a trace file, or an OTLP endpoint."""

import gzip
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, cast
from urllib.parse import urlsplit

from otel_tracead.errors import Backpressure, PermanentError, RetryableError
from otel_tracead.wire import otlp, otlp_json

Write = Callable[[bytes], None]
Sink = AbstractContextManager[Write]

_EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_DEFAULT_PORT: Final = 4317
_TIMEOUT_S: Final = 30.0
_GIVE_UP_S: Final = 60.0
_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 5.0
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
# opentelemetry-proto docs/specification.md, "Failures"; RESOURCE_EXHAUSTED too, since a generator only waits by it.
_RETRYABLE: Final = frozenset(
    {
        "CANCELLED",
        "DEADLINE_EXCEEDED",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNAVAILABLE",
        "DATA_LOSS",
        "RESOURCE_EXHAUSTED",
    }
)


def file_sink(path: Path) -> Sink:
    """Return a sink that writes a trace file, in the form that its name says; an existing file is replaced.

    `.jsonl`: OTLP JSON, one request a line; `.pb`: OTLP protobuf, each request after its length in four bytes, big
    end first; both as the Collector's file exporter writes them. With `.gz` or `.zst` after that, compressed.

    Raises:
        ValueError: another name.
        OSError: when it is entered and the file cannot be written.
    """
    compression = path.suffix if path.suffix in {".gz", ".zst"} else ""
    form = Path(path.name.removesuffix(compression)).suffix
    if form not in {".jsonl", ".pb"}:
        raise ValueError(
            f"{path}: the name says the format; let it end in .jsonl or .pb, or one of these and .gz or .zst"
        )
    return _file(path, compression, form)


def _opened(path: Path, compression: str) -> BinaryIO:
    if compression == ".gz":
        return cast("BinaryIO", gzip.open(path, "wb", compresslevel=6))
    if compression == ".zst":
        import zstandard

        return cast("BinaryIO", zstandard.open(path, "wb"))
    return path.open("wb")


@contextmanager
def _file(path: Path, compression: str, form: str) -> Iterator[Write]:
    envelopes = otlp.Envelopes()
    with _opened(path, compression) as file:

        def as_json(request: bytes) -> None:
            file.write(otlp_json.encode_request(otlp.decode_request(request, envelopes)) + b"\n")

        def as_protobuf(request: bytes) -> None:
            file.write(struct.pack(">I", len(request)) + request)

        yield as_json if form == ".jsonl" else as_protobuf


def endpoint_sink(endpoint: str, *, insecure: bool | None = None, give_up_s: float = _GIVE_UP_S) -> Sink:
    """Return a sink that sends requests to an OTLP endpoint over gRPC, one after the other.

    Args:
        endpoint: `http://host:4317`, `https://host:4317` or `host:4317`.
        insecure: without TLS; None: if the scheme is http, or there is none and the host is this one.
        give_up_s: how long a request is tried again while the endpoint says "later".

    Raises:
        ValueError: that is no endpoint.
        PermanentError: when writing, and the endpoint refuses.
        RetryableError: when writing, and the endpoint cannot be reached, or says "later", for too long.
    """
    wrong = f"{endpoint!r} is no OTLP gRPC endpoint; write it as http://localhost:4317"
    try:
        parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
        port = parts.port or _DEFAULT_PORT
    except ValueError as error:
        raise ValueError(f"{wrong} ({error})") from None
    if parts.scheme not in {"", "http", "https"} or not parts.hostname or parts.path.strip("/"):
        raise ValueError(wrong)
    plain = insecure
    if plain is None:
        plain = parts.scheme == "http" or (not parts.scheme and parts.hostname in _LOOPBACK)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return _endpoint(f"{host}:{port}", plain=plain, give_up_s=give_up_s)


@contextmanager
def _endpoint(target: str, *, plain: bool, give_up_s: float) -> Iterator[Write]:
    import grpc

    channel = grpc.insecure_channel(target) if plain else grpc.secure_channel(target, grpc.ssl_channel_credentials())
    with channel:
        export = channel.unary_unary(_EXPORT, request_serializer=None, response_deserializer=None)

        def send(request: bytes) -> None:
            end, wait_s = time.monotonic() + give_up_s, _FIRST_WAIT_S
            while True:
                try:
                    _check(target, export(request, timeout=_TIMEOUT_S))
                except grpc.RpcError as error:
                    failure = _failure(target, error)
                    if not isinstance(failure, RetryableError) or time.monotonic() + wait_s > end:
                        raise failure from None
                    time.sleep(wait_s)
                    wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
                else:
                    return

        yield send


def _failure(target: str, error: Any) -> PermanentError | RetryableError:
    code = error.code().name
    text = f"{target} answered {code}: {error.details()}"
    if code == "RESOURCE_EXHAUSTED":
        return Backpressure(text)
    if code in _RETRYABLE:
        return RetryableError(f"{text}; is an OTLP gRPC receiver listening there, and is TLS wanted (--insecure)?")
    return PermanentError(text)


def _check(target: str, response: bytes) -> None:
    if not response:
        return
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    partial = ExportTraceServiceResponse.FromString(response).partial_success
    if partial.rejected_spans:
        raise PermanentError(f"{target} rejected {partial.rejected_spans} spans: {partial.error_message}")
