"""OTLP over gRPC: `TraceService/Export` on raw bytes, so that nothing is parsed twice."""

from collections.abc import Callable
from typing import Any, Final

import grpc
import grpc.aio

from otel_tracead.auth import server_authenticator
from otel_tracead.component import Consumer, ServerAuthenticator, Settings
from otel_tracead.errors import InvalidRequest, Unauthenticated
from otel_tracead.receivers.intake import Intake
from otel_tracead.receivers.listening import address, bind, cannot_listen, warn_if_open
from otel_tracead.receivers.otlp.config import GrpcServerConfig, KeepaliveServer
from otel_tracead.status import answer
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.otlp import Envelopes, decode_request

_METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_MIB: Final = 1 << 20
_DETAILS: Final = "grpc-status-details-bin"
_SUCCESS: Final = b""  # an ExportTraceServiceResponse with partial_success unset


class OtlpGrpcServer:
    """One gRPC server.

    Attributes:
        endpoint: where it is to listen.
        port: the port that was bound; 0 before the start.

    Raises:
        ConfigError: `auth` names no extension that authenticates senders.
    """

    def __init__(self, config: GrpcServerConfig, settings: Settings, consumer: Consumer) -> None:
        self.port = 0
        self.endpoint = config.endpoint
        self._config = config
        self._logger = settings.logger
        self._intake = Intake(settings, consumer, "grpc")
        self._authenticator = server_authenticator(settings, config.auth)
        self._envelopes = Envelopes()
        self._server: Any = None
        self._drain_timeout = 0.0

    async def start(self, drain_timeout: float, before: "OtlpGrpcServer | None") -> None:
        """Listen; `stop` will wait up to *drain_timeout* seconds for requests under way.

        Args:
            drain_timeout: in seconds.
            before: the server whose successor this one is: on the same endpoint it binds the port beside it.

        Raises:
            OSError: the endpoint cannot be bound, or a certificate cannot be read.
        """
        config = self._config
        port = config.endpoint.port
        if before is not None and before.endpoint == config.endpoint:
            port = before.port
        elif port:
            bind(config.endpoint).close()  # or we might join somebody else's port
        credentials = None if config.tls is None else config.tls.credentials()
        host = address(config.endpoint)
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        guards = [] if self._authenticator is None else [_Guard(self._authenticator, self._intake)]
        server = grpc.aio.server(interceptors=guards, options=_options(config))
        server.add_generic_rpc_handlers((_OneMethod(self._export, self._intake),))
        try:
            if credentials is None:
                self.port = server.add_insecure_port(target)
            else:
                self.port = server.add_secure_port(target, credentials)
        except RuntimeError as error:
            raise cannot_listen(config.endpoint, error) from error
        self._drain_timeout = drain_timeout
        await server.start()
        self._server = server
        warn_if_open(self._logger, config.endpoint, host, secured=config.tls is not None)

    async def retire(self) -> None:
        """Stop; clients connect again, to the successor. What they send in the same moment gRPC answers with CANCELLED."""
        await self.stop()

    async def stop(self) -> None:
        """Stop listening, let requests under way end, close the connections."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(self._drain_timeout)
            await self._intake.finish(self._drain_timeout)

    async def _export(self, _requests: Any, context: Any) -> bytes:
        try:
            await self._intake.take(await self._read(context), self._decode)
        except Exception as error:  # noqa: BLE001 (whatever it is, the sender gets a status)
            await _abort(context, error)
        return _SUCCESS

    async def _read(self, context: Any) -> bytes:
        body = await context.read()
        if isinstance(body, bytes):
            return body
        error = InvalidRequest("there is no message, or none that gRPC can unpack")
        self._intake.refuse(error)
        raise error

    def _decode(self, body: bytes) -> SpanBatch:
        return decode_request(body, self._envelopes)


_GenericHandler: Any = grpc.GenericRpcHandler


class _OneMethod(_GenericHandler):  # type: ignore[misc]  # grpc ships no types
    """The one method that there is; requests for others are counted, and answered with UNIMPLEMENTED.

    Its message is read as a stream of one. Read otherwise, a request whose message gRPC refuses (too large, not the
    compression that it says) would never be heard of.
    """

    def __init__(self, export: Callable[..., Any], intake: Intake) -> None:
        self._export = grpc.stream_unary_rpc_method_handler(export)
        self._intake = intake

    def service(self, details: Any) -> Any:
        if details.method == _METHOD:
            return self._export
        self._intake.refuse(InvalidRequest(f"no such method: {details.method}"))
        return None


_Interceptor: Any = grpc.aio.ServerInterceptor


class _Guard(_Interceptor):  # type: ignore[misc]  # grpc ships no types
    """Lets requests pass whose sender may send; the others are answered before their body is read."""

    def __init__(self, authenticator: ServerAuthenticator, intake: Intake) -> None:
        self._authenticator = authenticator
        self._intake = intake

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        metadata: dict[str, list[str]] = {}
        for name, value in details.invocation_metadata:
            metadata.setdefault(name, []).append(value if isinstance(value, str) else "")
        try:
            self._authenticator.authenticate(metadata)
        except Unauthenticated as error:
            self._intake.refuse(error)
            refusal = error

            async def refuse(_requests: Any, context: Any) -> bytes:
                await _abort(context, refusal)
                return _SUCCESS

            return grpc.stream_unary_rpc_method_handler(
                refuse
            )  # a stream is read by its handler, and this one does not
        return await continuation(details)


async def _abort(context: Any, error: Exception) -> None:
    row, status = answer(error)
    await context.abort(grpc.StatusCode[row.code.name], status.message, ((_DETAILS, status.encode()),))


def _options(config: GrpcServerConfig) -> list[tuple[str, int]]:
    options = [
        ("grpc.max_receive_message_length", config.max_recv_msg_size_mib * _MIB),
        ("grpc.so_reuseport", 1),  # for our successor
        *_keepalive(config.keepalive),
    ]
    if config.max_concurrent_streams is not None:
        options.append(("grpc.max_concurrent_streams", config.max_concurrent_streams))
    return options


def _keepalive(config: KeepaliveServer) -> list[tuple[str, int]]:
    parameters, policy = config.server_parameters, config.enforcement_policy
    seconds = {
        "grpc.max_connection_idle_ms": parameters.max_connection_idle,
        "grpc.max_connection_age_ms": parameters.max_connection_age,
        "grpc.max_connection_age_grace_ms": parameters.max_connection_age_grace,
        "grpc.keepalive_time_ms": parameters.time,
        "grpc.keepalive_timeout_ms": parameters.timeout,
        "grpc.http2.min_ping_interval_without_data_ms": policy.min_time,
    }
    options = [(name, round(value * 1000)) for name, value in seconds.items() if value is not None]
    options.append(("grpc.keepalive_permit_without_calls", int(policy.permit_without_stream)))
    return options
