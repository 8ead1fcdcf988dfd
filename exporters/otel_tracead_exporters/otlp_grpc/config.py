"""What a user writes for the `otlp_grpc` exporter; keys and defaults are the Collector's."""

import re
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, field_validator

from otel_tracead.auth import AuthConfig
from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import Metadata, NotHere, PositiveDuration, Size, WithoutEffect
from otel_tracead.exporting import ExporterConfig
from otel_tracead.redaction import PrivateUrl, without_secrets
from otel_tracead.tls import ClientTls

_BUFFERS: Final = WithoutEffect("the event loop sizes its buffers itself")
_SCHEME: Final = re.compile(r"(https?)://", re.IGNORECASE)


class KeepaliveClient(ComponentConfig):
    """How a silent connection is probed.

    Attributes:
        time: after this silence a ping is sent.
        timeout: without an answer to it within this time the connection is closed.
        permit_without_stream: also while no request is under way.
    """

    null_is_off: ClassVar[bool] = True

    time: PositiveDuration = 10.0
    timeout: PositiveDuration = 20.0
    permit_without_stream: bool = False


class OtlpGrpcConfig(ExporterConfig):
    """The `otlp_grpc` exporter.

    Attributes:
        endpoint: `host:port`; `http://` before it turns TLS off, `https://` turns it on.
        compression: of the requests.
        headers: sent with every request; names become lower case, as gRPC wants them.
        auth: what proves who we are; not without TLS.
        keepalive: absent sends no pings.
        tls: on by default.
        balancer_name: which of the addresses that a name stands for get the requests.
        wait_for_ready: an attempt waits for the connection, up to `timeout`, instead of failing at once.
        authority: the `:authority` header, instead of the endpoint's host.
        user_agent: said in front of our own.
    """

    endpoint: PrivateUrl
    compression: Literal["gzip", "deflate", "none", ""] = "gzip"
    headers: Metadata = Field(default_factory=dict)
    auth: AuthConfig | None = None
    keepalive: KeepaliveClient | None = None
    tls: ClientTls = ClientTls()
    balancer_name: Literal["round_robin", "pick_first"] = "round_robin"
    wait_for_ready: bool = False
    authority: str = ""
    user_agent: str = ""
    read_buffer_size: Annotated[Size | None, _BUFFERS] = None
    write_buffer_size: Annotated[Size | None, _BUFFERS] = None
    middlewares: Annotated[Any, NotHere("there are no middleware extensions")] = None

    @field_validator("endpoint")
    @classmethod
    def _has_port(cls, endpoint: str) -> str:
        target = _SCHEME.sub("", endpoint.strip()).rstrip("/")
        if not target:
            raise ValueError("requires a non-empty endpoint")
        host, _, port = target.rpartition(":")
        if not target.startswith("unix:") and (not host or not port.isascii() or not port.isdecimal()):
            raise ValueError(f'"{without_secrets(endpoint)}" is no endpoint: write host:port, such as localhost:4317')
        return endpoint.strip()

    @field_validator("compression", mode="before")
    @classmethod
    def _that_grpc_knows(cls, compression: object) -> object:
        if compression in {"snappy", "zstd"}:
            raise ValueError(
                f'"{compression}" is not in otel-tracead: gRPC bodies are compressed with gzip and deflate only'
            )
        return compression

    @property
    def target(self) -> str:
        """The endpoint without its scheme."""
        return _SCHEME.sub("", self.endpoint).rstrip("/")

    @property
    def insecure(self) -> bool:
        """Whether to speak plain text: what the scheme says, else what `tls.insecure` says."""
        scheme = _SCHEME.match(self.endpoint)
        return self.tls.insecure if scheme is None else scheme[1].lower() == "http"
