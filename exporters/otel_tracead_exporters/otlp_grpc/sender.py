"""Sends batches to `TraceService/Export` over one gRPC channel, as raw bytes."""

from typing import Any, Final

import grpc
import grpc.aio

from otel_tracead.auth import client_authenticator
from otel_tracead.component import ClientAuthenticator, Settings
from otel_tracead.errors import ConfigError, PipelineError, RetryableError, TooLarge
from otel_tracead.status import Code, error_from_grpc
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.otlp import encode_request
from otel_tracead.wire.rpc_status import RpcStatus
from otel_tracead_exporters.otlp_grpc.config import OtlpGrpcConfig
from otel_tracead_exporters.otlp_partial_success import PartialSuccess

_METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_DETAILS: Final = "grpc-status-details-bin"
# Servers take 4 MiB by default (grpc.max_receive_message_length); some room is left for what they add.
_MOST_BYTES: Final = 4 * 1024 * 1024 - 64 * 1024
_COMPRESSION: Final = {"gzip": "Gzip", "deflate": "Deflate", "none": "NoCompression", "": "NoCompression"}
# The queue waits between attempts; a channel that waits longer by itself would let them all fail at once.
_MOST_RECONNECT_MS: Final = 2000


class OtlpGrpcSender:
    """A `Sender` for one backend.

    Raises:
        ConfigError: `auth` names no extension that authenticates us, or stands there without TLS.
    """

    def __init__(self, config: OtlpGrpcConfig, settings: Settings) -> None:
        self._config = config
        self._partial_success = PartialSuccess(settings)
        self._metadata = tuple((name.lower(), value.get_secret_value()) for name, value in config.headers.items())
        self._authenticator = client_authenticator(settings, config.auth)
        if self._authenticator is not None and config.insecure:
            raise ConfigError(["auth: the credentials require transport level security: turn TLS on"])
        self._compression = getattr(grpc.Compression, _COMPRESSION[config.compression])
        self._channel: Any = None
        self._export: Any = None

    async def start(self) -> None:
        """Make the channel; it connects by itself, when it is needed.

        Raises:
            OSError: a certificate cannot be read.
        """
        config = self._config
        options = _options(config)
        if config.insecure:
            self._channel = grpc.aio.insecure_channel(config.target, options=options)
        else:
            self._channel = grpc.aio.secure_channel(config.target, config.tls.credentials(), options=options)
        self._export = self._channel.unary_unary(_METHOD)

    async def send(self, batch: SpanBatch) -> None:
        """Send *batch* (see `otel_tracead.exporting.Sender`).

        Raises:
            PipelineError: what the status of the call means.
        """
        if self._export is None:
            raise RetryableError("not started")
        body = encode_request(batch)
        if len(body) > _MOST_BYTES and len(batch) > 1:
            raise TooLarge(f"{len(body)} bytes are more than gRPC servers take")
        try:
            response: bytes = await self._export(
                body,
                metadata=self._metadata if self._authenticator is None else self._proof(self._authenticator),
                compression=self._compression,
                wait_for_ready=self._config.wait_for_ready,
            )
        except grpc.aio.AioRpcError as error:
            raise _meaning(error) from error
        if response:
            self._partial_success.note_protobuf(response)

    def _proof(self, authenticator: ClientAuthenticator) -> tuple[tuple[str, str], ...]:
        return (*self._metadata, *((name.lower(), value) for name, value in authenticator.credentials().items()))

    async def shutdown(self) -> None:
        """Close the channel."""
        channel, self._channel, self._export = self._channel, None, None
        if channel is not None:
            await channel.close()


def _meaning(error: Any) -> PipelineError:
    trailers = {key: value for key, value in error.trailing_metadata() or () if key == _DETAILS}
    status = RpcStatus.decode(trailers[_DETAILS]) if _DETAILS in trailers else None
    return error_from_grpc(
        Code(error.code().value[0]), error.details() or "", status.retry_after if status is not None else None
    )


def _options(config: OtlpGrpcConfig) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", _MOST_RECONNECT_MS // 2),
        ("grpc.min_reconnect_backoff_ms", _MOST_RECONNECT_MS // 2),
        ("grpc.max_reconnect_backoff_ms", _MOST_RECONNECT_MS),
        ("grpc.lb_policy_name", config.balancer_name),
    ]
    if config.authority:
        options.append(("grpc.default_authority", config.authority))
    if config.user_agent:
        options.append(("grpc.primary_user_agent", config.user_agent))
    if config.tls.server_name_override is not None:
        options.append(("grpc.ssl_target_name_override", config.tls.server_name_override))
    if config.keepalive is not None:
        options += [
            ("grpc.keepalive_time_ms", round(config.keepalive.time * 1000)),
            ("grpc.keepalive_timeout_ms", round(config.keepalive.timeout * 1000)),
            ("grpc.keepalive_permit_without_calls", int(config.keepalive.permit_without_stream)),
        ]
    return options
