"""What a user writes for any HTTP listener; keys and defaults are those of the Collector's confighttp."""

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from otel_tracead.auth import HttpServerAuthConfig
from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import Duration, Endpoint, Headers, NotHere, Size, Strings, WithoutEffect
from otel_tracead.tls import ServerTls

DEFAULT_BODY_LIMIT: Final = 20 * 1024 * 1024

ContentEncoding = Literal["", "gzip", "zstd", "zlib", "snappy", "deflate", "lz4", "x-snappy-framed"]


class CorsConfig(ComponentConfig):
    """What scripts of other origins may do, in browsers.

    Attributes:
        allowed_origins: `https://shop.example`, with one `*` for anything inside, or `*` for every origin; none of them, no CORS.
        allowed_headers: headers that requests may have; `*` for any. Without them `Accept`, `Content-Type` and `X-Requested-With`.
        exposed_headers: headers of the answer that scripts may read.
        max_age: seconds for which a browser may remember the answer; negative for not at all.
    """

    null_is_off: ClassVar[bool] = True

    allowed_origins: Strings = ()
    allowed_headers: Strings = ()
    exposed_headers: Strings = ()
    max_age: int = 0


class HttpListenerConfig(ComponentConfig):
    """Base of the configuration of everything that listens with HTTP.

    Attributes:
        endpoint: where to listen.
        transport: of the connections; TCP is what there is.
        tls: encryption; without it plain text.
        auth: who may send; without it everybody.
        cors: for browsers; without it scripts of other origins are refused by them.
        max_request_body_size: bytes of the largest request, before and after decompression; 0 for the default.
        compression_algorithms: `Content-Encoding`s that are taken; `""` is a body without one.
        response_headers: added to every answer.
        read_timeout: for a request's body; 0 for none.
        read_header_timeout: for a request's headers, the first from when the connection is there; 0 for none. The Collector's default,
            but for its `otlp` receiver, which has none.
        idle_timeout: after it a connection without requests is closed; 0 for an hour.
        keep_alives_enabled: off closes the connection after every answer.
    """

    endpoint: Endpoint
    transport: Literal["tcp"] = "tcp"
    tls: ServerTls | None = None
    auth: HttpServerAuthConfig | None = None
    cors: CorsConfig | None = None
    max_request_body_size: Size = DEFAULT_BODY_LIMIT
    compression_algorithms: Annotated[tuple[ContentEncoding, ...], Field(strict=False)] = (
        "",
        "gzip",
        "zstd",
        "zlib",
        "snappy",
        "deflate",
        "lz4",
        "x-snappy-framed",
    )
    response_headers: Headers = Field(default_factory=dict)
    read_timeout: Duration = 0.0
    read_header_timeout: Duration = 60.0
    idle_timeout: Duration = 0.0
    keep_alives_enabled: bool = True
    include_metadata: Annotated[bool | None, WithoutEffect("no component here reads the metadata of requests")] = None
    write_timeout: Annotated[Duration | None, WithoutEffect("answers are a few bytes and have no time limit")] = None
    middlewares: Annotated[Any, NotHere("there are no middleware extensions")] = None
    dialer: Annotated[Any, NotHere("a listener calls nobody")] = None

    @property
    def body_limit(self) -> int:
        """Bytes of the largest request."""
        return self.max_request_body_size or DEFAULT_BODY_LIMIT
