"""What a user writes for the `otlp_grpc` exporter; keys and defaults are the Collector's."""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import PositiveDuration, Secret
from otel_tracead.exporting import ExporterConfig
from otel_tracead.tls import ClientTls

_SCHEME: Final = re.compile(r"(https?)://", re.IGNORECASE)


class KeepaliveClient(ComponentConfig):
    """How a silent connection is probed.

    Attributes:
        time: after this silence a ping is sent.
        timeout: without an answer to it within this time the connection is closed.
        permit_without_stream: also while no request is under way.
    """

    time: PositiveDuration = 10.0
    timeout: PositiveDuration = 20.0
    permit_without_stream: bool = False


class OtlpGrpcConfig(ExporterConfig):
    """The `otlp_grpc` exporter.

    Attributes:
        endpoint: `host:port`; `http://` before it turns TLS off, `https://` turns it on.
        compression: of the requests.
        headers: sent with every request; names become lower case, as gRPC wants them.
        keepalive: absent sends no pings.
        tls: on by default.
    """

    endpoint: str
    compression: Literal["gzip", "deflate", "none", ""] = "gzip"
    headers: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\-]+$")], Secret] = Field(default_factory=dict)
    keepalive: KeepaliveClient | None = None
    tls: ClientTls = ClientTls()

    @field_validator("endpoint")
    @classmethod
    def _has_port(cls, endpoint: str) -> str:
        target = _SCHEME.sub("", endpoint.strip()).rstrip("/")
        if not target:
            raise ValueError("requires a non-empty endpoint")
        host, _, port = target.rpartition(":")
        if not target.startswith("unix:") and (not host or not port.isascii() or not port.isdecimal()):
            raise ValueError(f'"{endpoint}" is no endpoint: write host:port, such as localhost:4317')
        return endpoint.strip()

    @model_validator(mode="after")
    def _tls_that_grpc_knows(self) -> Self:
        if self.tls.insecure_skip_verify:
            raise ValueError("tls::insecure_skip_verify: gRPC for Python always verifies; give tls::ca_file instead")
        if self.tls.min_version != "1.2":
            raise ValueError("tls::min_version: gRPC for Python knows 1.2 as minimum only")
        return self

    @property
    def target(self) -> str:
        """The endpoint without its scheme."""
        return _SCHEME.sub("", self.endpoint).rstrip("/")

    @property
    def insecure(self) -> bool:
        """Whether to speak plain text: what the scheme says, else what `tls.insecure` says."""
        scheme = _SCHEME.match(self.endpoint)
        return self.tls.insecure if scheme is None else scheme[1].lower() == "http"
