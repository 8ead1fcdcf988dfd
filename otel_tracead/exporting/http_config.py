"""What a user writes for any exporter that speaks HTTP; keys and defaults are those of the Collector's confighttp."""

from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from otel_tracead.auth import AuthConfig
from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import Duration, Headers, NotHere, Size, WithoutEffect
from otel_tracead.exporting.config import ExporterConfig
from otel_tracead.redaction import PrivateUrl, without_secrets
from otel_tracead.tls import ClientTls

Compression = Literal["gzip", "zstd", "deflate", "zlib", "snappy", "x-snappy-framed", "lz4", "none", ""]

_SOCKETS = WithoutEffect("the kernel's socket buffers are used as they are")
_HTTP2 = WithoutEffect("HTTP/1.1 is spoken")


def _is_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f'"{without_secrets(url)}" is no URL: write http://host:port or https://host:port')
    return url


Url = Annotated[PrivateUrl, AfterValidator(_is_url)]
"""An http or https URL."""


class CompressionParams(ComponentConfig):
    """How hard the compression tries.

    Attributes:
        level: of gzip, zlib and deflate -1 (a compromise) to 9, of zstd 1 to 22; 0 for the fastest that compresses.
    """

    level: Annotated[int, Field(ge=-1, le=22)] = 0


class CookiesConfig(ComponentConfig):
    """Whether cookies are kept.

    Attributes:
        enabled: what the backend sets is sent back to it.
    """

    enabled: bool = False


class HttpExporterConfig(ExporterConfig):
    """Base of the HTTP exporters' configurations.

    Attributes:
        headers: sent with every request; a map, or a list of `name` and `value`.
        auth: what proves who we are.
        tls: for https URLs.
        compression: of the requests.
        compression_params: of `compression`.
        proxy_url: the proxy that requests go through; the environment is not asked.
        max_conns_per_host: connections at a time; 0 for no bound.
        idle_conn_timeout: after it an unused connection is closed.
        disable_keep_alives: a connection for every request.
        cookies: what is done with the backend's.
    """

    headers: Headers = Field(default_factory=dict)
    auth: AuthConfig | None = None
    tls: ClientTls = ClientTls()
    compression: Compression = "gzip"
    compression_params: CompressionParams = CompressionParams()
    proxy_url: Url | None = None
    max_conns_per_host: Size = 0
    idle_conn_timeout: Duration = 90.0
    disable_keep_alives: bool = False
    cookies: CookiesConfig = CookiesConfig()
    max_idle_conns: Annotated[
        Size | None, WithoutEffect("connections that wait are closed after idle_conn_timeout")
    ] = None
    max_idle_conns_per_host: Annotated[
        Size | None, WithoutEffect("connections that wait are closed after idle_conn_timeout")
    ] = None
    read_buffer_size: Annotated[Size | None, _SOCKETS] = None
    write_buffer_size: Annotated[Size | None, _SOCKETS] = None
    http2_read_idle_timeout: Annotated[Duration | None, _HTTP2] = None
    http2_ping_timeout: Annotated[Duration | None, _HTTP2] = None
    force_attempt_http2: Annotated[bool | None, _HTTP2] = None
    middlewares: Annotated[Any, NotHere("there are no middleware extensions")] = None

    @model_validator(mode="after")
    def _level_fits(self) -> Self:
        level = self.compression_params.level
        highest = {"gzip": 9, "zlib": 9, "deflate": 9, "zstd": 22}.get(self.compression, 0)
        if level > highest or (level < 0 and highest == 0):
            raise ValueError(f'unsupported compression_params::level {level} for compression "{self.compression}"')
        return self
