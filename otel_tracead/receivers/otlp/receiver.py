"""The life of the `otlp` receiver: its servers start together and drain together."""

from otel_tracead.component import Consumer, Settings
from otel_tracead.receivers.otlp.config import OtlpReceiverConfig
from otel_tracead.receivers.otlp.grpc_server import OtlpGrpcServer
from otel_tracead.receivers.otlp.http_server import OtlpHttpServer


class OtlpReceiver:
    """Takes OTLP requests over gRPC and HTTP.

    Attributes:
        drain_timeout: seconds that `shutdown` gives requests under way.
    """

    drain_timeout = 10.0

    def __init__(self, config: OtlpReceiverConfig, settings: Settings, consumer: Consumer) -> None:
        self._logger = settings.logger
        self._servers: dict[str, OtlpGrpcServer | OtlpHttpServer] = {}
        if config.protocols.grpc is not None:
            self._servers["grpc"] = OtlpGrpcServer(config.protocols.grpc, settings, consumer)
        if config.protocols.http is not None:
            self._servers["http"] = OtlpHttpServer(config.protocols.http, settings, consumer)

    @property
    def ports(self) -> dict[str, int]:
        """The bound port of each protocol; 0 before the start."""
        return {name: server.port for name, server in self._servers.items()}

    async def start(self) -> None:
        """Listen on every endpoint.

        Raises:
            OSError: an endpoint cannot be bound, or a certificate cannot be read.
        """
        try:
            for server in self._servers.values():
                await server.start(self.drain_timeout)
        except BaseException:
            await self.shutdown()
            raise
        self._logger.info("receiver listens", **self.ports)

    async def shutdown(self) -> None:
        """Stop listening; requests under way are answered first."""
        for server in self._servers.values():
            await server.stop()
