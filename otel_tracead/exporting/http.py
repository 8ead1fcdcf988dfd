"""The HTTP client under the exporters: one POST, and what its answer means for the spans in it."""

import asyncio
import gzip
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final, Literal

import aiohttp
import zstandard

from otel_tracead.config_types import Secret
from otel_tracead.errors import RetryableError
from otel_tracead.status import RETRYABLE_HTTP, error_from_http, parse_retry_after
from otel_tracead.tls import ClientTls

Compression = Literal["gzip", "zstd", "deflate", "zlib", "none", ""]

_MOST_OF_AN_ANSWER: Final = 64 * 1024
_MOST_OF_A_MESSAGE: Final = 500
_LARGE_BODY: Final = 1 << 18
_LEVEL: Final = 1  # spans are repetitive: more effort costs much time and saves little

_COMPRESSORS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "gzip": lambda body: gzip.compress(body, _LEVEL, mtime=0),
    "deflate": lambda body: zlib.compress(body, _LEVEL),
    "zlib": lambda body: zlib.compress(body, _LEVEL),
    "zstd": lambda body: zstandard.ZstdCompressor(level=_LEVEL).compress(body),
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
        url: str,
        *,
        headers: Mapping[str, Secret],
        compression: Compression,
        tls: ClientTls,
        retryable: frozenset[int] = RETRYABLE_HTTP,
        explain: Callable[[str, bytes], str] = lambda _type, body: body.decode(errors="replace"),
    ) -> None:
        """Prepare; opens nothing yet.

        Args:
            url: where to post.
            headers: sent with every request.
            compression: of the bodies.
            tls: how to speak https.
            retryable: the HTTP status codes after which the same body may pass later.
            explain: makes a message of an error's content type and body.
        """
        self._url = url
        self._headers = {"User-Agent": f"otel-tracead/{version('otel-tracead')}"}
        self._headers |= {name: value.get_secret_value() for name, value in headers.items()}
        self._compress = _COMPRESSORS.get(compression)
        if self._compress is not None:
            self._headers["Content-Encoding"] = compression
        self._tls = tls
        self._retryable = retryable
        self._explain = explain
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the session.

        Raises:
            OSError: a certificate cannot be read.
        """
        connector = aiohttp.TCPConnector(limit=0, ssl=self._tls.context())
        # The time limit is the queue's: it counts for every exporter alike.
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
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
            body = await asyncio.to_thread(self._compress, body) if large else self._compress(body)
        try:
            async with self._session.post(
                self._url,
                data=body,
                headers={"Content-Type": content_type},
                allow_redirects=False,
                server_hostname=self._tls.server_name_override,
            ) as response:
                answer = Answer(response.content_type, await _read(response.content))
                if 200 <= response.status < 300:
                    return answer
                message = self._explain(answer.content_type, answer.body)[:_MOST_OF_A_MESSAGE].strip()
                retry_after = parse_retry_after(response.headers.get("Retry-After"))
                raise error_from_http(response.status, message, retry_after, self._retryable)
        except aiohttp.ClientError as error:
            raise RetryableError(str(error) or type(error).__name__) from error


async def _read(content: aiohttp.StreamReader) -> bytes:
    """Read an answer; whatever a backend sends, no more than we need."""
    parts: list[bytes] = []
    size = 0
    while size < _MOST_OF_AN_ANSWER and (part := await content.read(_MOST_OF_AN_ANSWER - size)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)
