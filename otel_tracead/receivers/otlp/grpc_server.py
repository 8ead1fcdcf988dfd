"""OTLP over gRPC: `TraceService/Export` on raw bytes, so that nothing is parsed twice."""

import asyncio
import socket
from typing import Final

from otel_tracead.auth import server_authenticator, warn_if_open
from otel_tracead.component import Consumer, Settings
from otel_tracead.config_types import Endpoint
from otel_tracead.receivers.intake import Intake
from otel_tracead.receivers.listening import bind, stop_accepting
from otel_tracead.receivers.otlp.config import GrpcServerConfig
from otel_tracead.receivers.otlp.grpc_connection import GrpcConnection
from otel_tracead.receivers.otlp.grpc_hall import Hall
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.otlp import Envelopes, decode_request

_MIB: Final = 1 << 20
_STREAMS: Final = 1000
_ROOM: Final = 256 * _MIB
_HANDSHAKE: Final = 20.0
_GOODBYE: Final = 1.0
_ACCEPTED: Final = 0.1


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
        self._hall: Hall | None = None
        self._server: asyncio.Server | None = None
        self._socket: socket.socket | None = None
        self._drain_timeout = 0.0

    async def start(self, drain_timeout: float, before: "OtlpGrpcServer | None") -> None:
        """Listen; `stop` will wait up to *drain_timeout* seconds for requests under way.

        Args:
            drain_timeout: in seconds.
            before: the server whose successor this one is: on the same endpoint the two share the socket, so that whoever
                connects finds one of them.

        Raises:
            OSError: the endpoint cannot be bound, or a certificate cannot be read.
        """
        config = self._config
        context = None if config.tls is None else config.tls.context("h2")
        limit = config.max_recv_msg_size_mib * _MIB
        hall = self._hall = Hall(
            self._intake,
            self._authenticator,
            self._decode,
            limit=limit,
            streams=config.max_concurrent_streams or _STREAMS,
            keepalive=config.keepalive,
            room=max(_ROOM, 2 * limit),
        )
        listening = (None if before is None else before.shared(config.endpoint)) or bind(config.endpoint)
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: GrpcConnection(hall),
                sock=listening,
                ssl=context,
                ssl_handshake_timeout=None if context is None else _HANDSHAKE,
                ssl_shutdown_timeout=None if context is None else _GOODBYE,
            )
        except BaseException:
            listening.close()
            raise
        self._socket, self._drain_timeout = listening, drain_timeout
        host, self.port = listening.getsockname()[:2]
        asks = self._authenticator is not None or (config.tls is not None and config.tls.client_ca_file is not None)
        warn_if_open(self._logger, config.endpoint, host, encrypted=config.tls is not None, guarded=asks)

    def shared(self, endpoint: Endpoint) -> socket.socket | None:
        """Give a second descriptor of the listening socket, if *endpoint* is where it listens."""
        return None if self._socket is None or endpoint != self.endpoint else self._socket.dup()

    async def retire(self) -> None:
        """Leave the address to the successor, tell the clients to connect again, and stop."""
        server = self._server
        if self._socket is not None and server is not None:

            async def close() -> None:
                server.close()

            await stop_accepting(self._socket, close, _ACCEPTED)
        await self.stop()

    async def stop(self) -> None:
        """Stop listening, let requests under way end, close the connections."""
        server, self._server, self._socket = self._server, None, None
        if server is None or self._hall is None:
            return
        server.close()
        self._hall.closed = True
        for connection in tuple(self._hall.connections):
            connection.drain()
        try:
            async with asyncio.timeout(self._drain_timeout):
                await self._hall.left.wait()
        except TimeoutError:
            for connection in tuple(self._hall.connections):
                connection.cut()
            await self._hall.left.wait()
        await self._intake.finish(self._drain_timeout)

    def _decode(self, body: bytes) -> SpanBatch:
        return decode_request(body, self._envelopes)
