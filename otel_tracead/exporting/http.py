"""The HTTP client under the exporters: one POST, and what its answer means for the spans in it."""

import asyncio
import gzip
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

import aiohttp
import cramjam
import zstandard

from otel_tracead.auth import client_authenticator
from otel_tracead.component import Settings
from otel_tracead.errors import RetryableError
from otel_tracead.exporting.http_config import HttpExporterConfig
from otel_tracead.redaction import secrets_of, without
from otel_tracead.status import RETRYABLE_HTTP, error_from_http, parse_retry_after

_MOST_OF_AN_ANSWER: Final = 64 * 1024
_MOST_OF_A_MESSAGE: Final = 500
_LARGE_BODY: Final = 1 << 18
_LEVEL: Final = 1  # spans are repetitive: more effort costs much time and saves little
_IDLE_FOREVER: Final = 24 * 3600.0

_COMPRESSORS: Final[Mapping[str, Callable[[bytes, int], bytes]]] = {
    "gzip": lambda body, level: gzip.compress(body, level, mtime=0),
    "deflate": zlib.compress,
    "zlib": zlib.compress,
    "zstd": lambda body, level: zstandard.ZstdCompressor(level=level).compress(body),
    "snappy": lambda body, _level: bytes(cramjam.snappy.compress_raw(body)),
    "x-snappy-framed": lambda body, _level: bytes(cramjam.snappy.compress(body)),
    "lz4": lambda body, _level: bytes(cramjam.lz4.compress(body)),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A 2xx answer.

    Attributes:
        content_type: without parameters.
        body: at most its first 64 KiB.
    """

    content_type: str
    body: bytes


class HttpClient:
    """Posts bodies to one URL."""

    def __init__(
        self,
        config: HttpExporterConfig,
        settings: Settings,
        url: str,
        *,
        retryable: frozenset[int] = RETRYABLE_HTTP,
        explain: Callable[[str, bytes], str] = lambda _type, body: body.decode(errors="replace"),
    ) -> None:
        """Prepare; opens nothing yet.

        Args:
            config: what the user wrote.
            settings: what the service gives.
            url: where to post.
            retryable: the HTTP status codes after which the same body may pass later.
            explain: makes a message of an error's content type and body.

        Raises:
            ConfigError: `auth` names no extension that authenticates us.
        """
        self._config = config
        self._url = url
        self._headers = {"User-Agent": f"otel-tracead/{version('otel-tracead')}"}
        given = {name: value.get_secret_value() for name, value in config.headers.items()}
        self._headers |= given
        self._secrets = secrets_of(given.values(), url, config.proxy_url or "")
        self._compress = _COMPRESSORS.get(config.compression)
        self._level = config.compression_params.level or _LEVEL
        if self._compress is not None:
            self._headers["Content-Encoding"] = config.compression
        self._authenticator = client_authenticator(settings, config.auth)
        if self._authenticator is not None and not url.lower().startswith("https:"):
            settings.logger.warning("credentials go to the backend as plain text: its URL is not https")
        self._retryable = retryable
        self._explain = explain
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the session.

        Raises:
            OSError: a certificate cannot be read.
        """
        config = self._config
        context = config.tls.context()
        once = config.disable_keep_alives
        connector = aiohttp.TCPConnector(
            limit=0,
            limit_per_host=config.max_conns_per_host,
            ssl=context,
            force_close=once,
            keepalive_timeout=None if once else config.idle_conn_timeout or _IDLE_FOREVER,
        )
        # The time limit is the queue's: it counts for every exporter alike.
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None),
            headers=self._headers,
            cookie_jar=aiohttp.CookieJar(unsafe=True) if config.cookies.enabled else aiohttp.DummyCookieJar(),
        )

    async def shutdown(self) -> None:
        """Close the session."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def post(self, body: bytes, content_type: str) -> Answer:
        """Post *body*.

        Raises:
            RetryableError: the connection failed, or the status code is one of the retryable.
            PermanentError: any other answer than 2xx.
        """
        if self._session is None:
            raise RetryableError("not started")
        if self._compress is not None:
            large = len(body) >= _LARGE_BODY
            compress, level = self._compress, self._level
            body = await asyncio.to_thread(compress, body, level) if large else compress(body, level)
        credentials = {} if self._authenticator is None else self._authenticator.credentials()
        try:
            async with self._session.post(
                self._url,
                data=body,
                headers={"Content-Type": content_type, **credentials},
                allow_redirects=False,
                proxy=self._config.proxy_url,
                server_hostname=self._config.tls.server_name_override,
            ) as response:
                answer = Answer(response.content_type, await _read(response.content))
                if 200 <= response.status < 300:
                    return answer
                message = self._explain(answer.content_type, answer.body)
                message = self.without_secrets(message)[:_MOST_OF_A_MESSAGE].strip()
                retry_after = parse_retry_after(response.headers.get("Retry-After"))
                raise error_from_http(response.status, message, retry_after, self._retryable)
        except aiohttp.ClientError as error:
            raise RetryableError(self.without_secrets(str(error)) or type(error).__name__) from error

    def without_secrets(self, text: str) -> str:
        """Give what a backend says without what it was told in confidence: it may repeat the request."""
        credentials = {} if self._authenticator is None else self._authenticator.credentials()
        return without(text, (*self._secrets, *secrets_of(credentials.values())))


async def _read(content: aiohttp.StreamReader) -> bytes:
    """Read an answer; whatever a backend sends, no more than we need."""
    parts: list[bytes] = []
    size = 0
    while size < _MOST_OF_AN_ANSWER and (part := await content.read(_MOST_OF_AN_ANSWER - size)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)
