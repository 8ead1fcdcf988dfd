"""Sends batches to `TraceService/Export` over one gRPC channel, as raw bytes."""

import asyncio
import gzip
import zlib
from collections.abc import Callable, Mapping
from typing import Final

from otel_tracead._version import __version__
from otel_tracead.auth import client_authenticator
from otel_tracead.component import Settings
from otel_tracead.errors import ConfigError, PipelineError, RetryableError, TooLarge
from otel_tracead.http2 import Status, header_block, pack
from otel_tracead.redaction import secrets_of, without
from otel_tracead.status import Code, error_from_grpc
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.otlp import encode_request
from otel_tracead.wire.rpc_status import RpcStatus
from otel_tracead_exporters.otlp_grpc.channel import Channel
from otel_tracead_exporters.otlp_grpc.config import OtlpGrpcConfig
from otel_tracead_exporters.otlp_grpc.target import Target
from otel_tracead_exporters.otlp_partial_success import PartialSuccess

_METHOD: Final = b"/opentelemetry.proto.collector.trace.v1.TraceService/Export"
# Servers take 4 MiB by default (grpc.max_receive_message_length); some room is left for what they add.
_MOST_BYTES: Final = 4 * 1024 * 1024 - 64 * 1024
# Above this size a body is compressed in a thread, so that the event loop keeps serving the others.
_LARGE_BODY: Final = 1 << 17
_LEVEL: Final = 6

_COMPRESS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "gzip": lambda body: gzip.compress(body, _LEVEL, mtime=0),
    "deflate": lambda body: zlib.compress(body, _LEVEL),
}


class OtlpGrpcSender:
    """A `Sender` for one backend.

    Raises:
        ConfigError: `auth` names no extension that authenticates us, or stands there without TLS; or the endpoint is none.
    """

    def __init__(self, config: OtlpGrpcConfig, settings: Settings) -> None:
        self._config = config
        self._partial_success = PartialSuccess(settings, self._without_secrets)
        self._authenticator = client_authenticator(settings, config.auth)
        if self._authenticator is not None and config.insecure:
            raise ConfigError(["auth: the credentials require transport level security: turn TLS on"])
        try:
            self._target = Target.parse(config.target)
        except ValueError as error:
            raise ConfigError([f"endpoint: {error}"]) from error
        self._compress = _COMPRESS.get(config.compression)
        self._headers = header_block(_headers(config, self._target))
        self._secrets = secrets_of([value.get_secret_value() for value in config.headers.values()])
        self._channel: Channel | None = None

    async def start(self) -> None:
        """Make the channel; it connects by itself, when it is needed.

        Raises:
            OSError: a certificate cannot be read.
        """
        config = self._config
        context = None if config.insecure else config.tls.context("h2")
        name = config.tls.server_name_override or _host_of(config.authority or self._target.authority)
        self._channel = Channel(self._target, context, name, config.keepalive, config.balancer_name)

    async def send(self, batch: SpanBatch) -> None:
        """Send *batch* (see `otel_tracead.exporting.Sender`).

        Raises:
            PipelineError: what the status of the call means.
        """
        if self._channel is None:
            raise RetryableError("not started")
        message = await self._packed(batch)
        headers = self._headers + header_block(
            (name.lower().encode(), value.encode()) for name, value in self._proof().items()
        )
        answer = await self._channel.call(headers, message, wait_for_ready=self._config.wait_for_ready)
        if answer.status.code != Code.OK:
            raise _meaning(answer.status, self._without_secrets(answer.status.message))
        if answer.message:
            self._partial_success.note_protobuf(answer.message)

    async def _packed(self, batch: SpanBatch) -> bytes:
        """Encode *batch*; while the answer is waited for its bytes are there once more than its spans, not twice.

        Raises:
            TooLarge: no server takes so much at once.
        """
        body = encode_request(batch)
        if len(body) > _MOST_BYTES and len(batch) > 1:
            raise TooLarge(f"{len(body)} bytes are more than gRPC servers take")
        if self._compress is None or not body:
            return pack(body)
        compress = self._compress
        return pack(
            compress(body) if len(body) < _LARGE_BODY else await asyncio.to_thread(compress, body), compressed=True
        )

    def _proof(self) -> Mapping[str, str]:
        return {} if self._authenticator is None else self._authenticator.credentials()

    def _without_secrets(self, text: str) -> str:
        """Give what a backend says without what it was told in confidence: it may repeat the request."""
        return without(text, (*self._secrets, *secrets_of(self._proof().values())))

    async def shutdown(self) -> None:
        """Close the channel."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()


def _headers(config: OtlpGrpcConfig, target: Target) -> list[tuple[bytes, bytes]]:
    authority = config.authority or config.tls.server_name_override or target.authority
    agent = f"{config.user_agent} otel-tracead/{__version__}".strip()
    fields = [
        (b":method", b"POST"),
        (b":scheme", b"http" if config.insecure else b"https"),
        (b":path", _METHOD),
        (b":authority", authority.encode()),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"user-agent", agent.encode()),
    ]
    if config.compression in _COMPRESS:
        fields.append((b"grpc-encoding", config.compression.encode()))
    return [
        *fields,
        *((name.lower().encode(), value.get_secret_value().encode()) for name, value in config.headers.items()),
    ]


def _host_of(authority: str) -> str:
    host = authority.rpartition(":")[0] if authority.rpartition(":")[2].isdecimal() else authority
    return host.removeprefix("[").removesuffix("]")


def _meaning(status: Status, message: str) -> PipelineError:
    details = RpcStatus.decode(status.details) if status.details else None
    return error_from_grpc(Code(status.code), message, details.retry_after if details is not None else None)
