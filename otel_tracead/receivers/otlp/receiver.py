"""The `otlp` receiver: a server for each protocol that the configuration names."""

from collections.abc import Callable, Mapping
from functools import partial

from pydantic import BaseModel

from otel_tracead.component import Consumer, Settings
from otel_tracead.receivers.network import NetworkReceiver, Server
from otel_tracead.receivers.otlp.config import OtlpReceiverConfig
from otel_tracead.receivers.otlp.grpc_server import OtlpGrpcServer
from otel_tracead.receivers.otlp.http_server import OtlpHttpServer


class OtlpReceiver(NetworkReceiver):
    """Takes OTLP requests over gRPC and HTTP."""

    @staticmethod
    def servers(
        config: OtlpReceiverConfig, settings: Settings, consumer: Consumer
    ) -> Mapping[str, tuple[BaseModel, Callable[[], Server]]]:
        """See `NetworkReceiver.servers`."""
        found: dict[str, tuple[BaseModel, Callable[[], Server]]] = {}
        if (grpc := config.protocols.grpc) is not None:
            found["grpc"] = (grpc, partial(OtlpGrpcServer, grpc, settings, consumer))
        if (http := config.protocols.http) is not None:
            found["http"] = (http, partial(OtlpHttpServer, http, settings, consumer))
        return found
