"""What a user writes for the `otlp` receiver; keys and defaults are the Collector's."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from otel_tracead.auth import AuthConfig
from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import (
    Duration,
    Endpoint,
    NotHere,
    PositiveDuration,
    PositiveSize,
    Size,
    WithoutEffect,
)
from otel_tracead.receivers.http_config import HttpListenerConfig
from otel_tracead.tls import ServerTls

_TRACES_ONLY = WithoutEffect("otel-tracead takes traces only; other signals get 404")


def _absolute(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"


class KeepaliveServerParameters(ComponentConfig):
    """When an idle or old connection is closed, and how a silent one is probed.

    Attributes:
        max_connection_idle: a connection without requests for so long is closed.
        max_connection_age: an older connection is closed.
        max_connection_age_grace: how long requests under way on it may then take.
        time: after this silence a ping is sent.
        timeout: without an answer to it within this time the connection is closed.
    """

    max_connection_idle: PositiveDuration | None = None
    max_connection_age: PositiveDuration | None = None
    max_connection_age_grace: PositiveDuration | None = None
    time: PositiveDuration = 7200.0
    timeout: PositiveDuration = 20.0


class KeepaliveEnforcementPolicy(ComponentConfig):
    """How often clients may ping.

    Attributes:
        min_time: a client that pings more often is cut off.
        permit_without_stream: whether clients may ping while no request is under way.
    """

    min_time: Duration = 300.0
    permit_without_stream: bool = False


class KeepaliveServer(ComponentConfig):
    """The `keepalive` section of a gRPC server.

    Attributes:
        server_parameters: how connections are closed and probed.
        enforcement_policy: what clients may do.
    """

    server_parameters: KeepaliveServerParameters = KeepaliveServerParameters()
    enforcement_policy: KeepaliveEnforcementPolicy = KeepaliveEnforcementPolicy()


class GrpcServerConfig(ComponentConfig):
    """OTLP over gRPC.

    Attributes:
        endpoint: where to listen.
        transport: of the connections; TCP is what there is.
        tls: encryption; without it plain text.
        auth: who may send; without it everybody.
        max_recv_msg_size_mib: the largest request, before and after decompression.
        max_concurrent_streams: requests at a time on one connection; without it 1000.
        keepalive: how connections are kept and closed.
    """

    endpoint: Endpoint = Endpoint("localhost", 4317)
    transport: Literal["tcp"] = "tcp"
    tls: ServerTls | None = None
    auth: AuthConfig | None = None
    max_recv_msg_size_mib: Annotated[int, Field(gt=0, le=2047)] = 4
    max_concurrent_streams: PositiveSize | None = None
    keepalive: KeepaliveServer = KeepaliveServer()
    read_buffer_size: Annotated[Size | None, WithoutEffect("the event loop sizes its buffers itself")] = None
    write_buffer_size: Annotated[Size | None, WithoutEffect("the event loop sizes its buffers itself")] = None
    include_metadata: Annotated[bool | None, WithoutEffect("no component here reads the metadata of requests")] = None
    middlewares: Annotated[Any, NotHere("there are no middleware extensions")] = None
    dialer: Annotated[Any, NotHere("a listener calls nobody")] = None


class HttpServerConfig(HttpListenerConfig):
    """OTLP over HTTP, protobuf and JSON.

    Attributes:
        traces_url_path: the path that takes traces.
    """

    endpoint: Endpoint = Endpoint("localhost", 4318)
    traces_url_path: Annotated[str, AfterValidator(_absolute)] = "/v1/traces"
    metrics_url_path: Annotated[str | None, _TRACES_ONLY] = None
    logs_url_path: Annotated[str | None, _TRACES_ONLY] = None


class Protocols(ComponentConfig):
    """The protocols spoken; one that is absent is off.

    Attributes:
        grpc: OTLP over gRPC; present but empty is on with its defaults.
        http: OTLP over HTTP; likewise.
    """

    grpc: GrpcServerConfig | None = None
    http: HttpServerConfig | None = None

    @model_validator(mode="after")
    def _at_least_one(self) -> Self:
        if self.grpc is None and self.http is None:
            raise ValueError("must specify at least one protocol (grpc, http) when using the OTLP receiver")
        return self


class OtlpReceiverConfig(ComponentConfig):
    """The `otlp` receiver.

    Attributes:
        protocols: at least one.
    """

    protocols: Protocols

    @model_validator(mode="before")
    @classmethod
    def _without_protocols(cls, written: Any) -> Any:
        # So that an empty `otlp:` says what is missing and not only that something is.
        return {"protocols": {}, **written} if isinstance(written, dict) else written
