"""Asks a backend over HTTP: bounded in size and time, again where that may help, and in words where it does not.

aiohttp in a loop of its own: whoever reads traces does so step by step, without one.
"""

import asyncio
from collections.abc import Callable, Iterable
from importlib.metadata import version
from time import sleep
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import aiohttp
import orjson
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from otel_tracead.errors import InputError, RetryableError
from otel_tracead.status import parse_retry_after
from otel_tracead.trace_stores.paging import TooMuch

LARGEST: Final = 64 << 20
"""Bytes of an answer."""

_ATTEMPTS: Final = 5
_LONGEST_WAIT_S: Final = 30.0
_PATIENCE_S: Final = 60.0  # to connect, and for the next bytes
_MOST_OF_A_MESSAGE: Final = 300
_MOST_OF_AN_ERROR: Final = 64 * 1024
_WAITS: Final = wait_exponential(multiplier=0.5, max=8)
_IS_IT_THERE: Final = "does it run, and is this the address of its query API?"
_ADVICE: Final = {
    401: "; write user and password into the address, as user:password@",
    403: "; may this user read traces?",
    404: f"; {_IS_IT_THERE}",
}


class StoreClient:
    """Gets answers of one backend's API; a context manager.

    Args:
        base: URL that paths go behind.
        user: of basic authentication, or None.
        password: of it.
        name: of the backend in errors; no secrets in it.
        wait: called with the seconds between two attempts.
        largest: bytes that an answer may have.
    """

    def __init__(
        self,
        base: str,
        user: str | None,
        password: str,
        *,
        name: str,
        wait: Callable[[float], None] = sleep,
        largest: int = LARGEST,
    ) -> None:
        self._base = base
        self._headers = {"User-Agent": f"otel-tracead/{version('otel-tracead')}", "Accept": "application/json"}
        if user is not None:  # in a header aiohttp would not take it beside a ~/.netrc
            scheme, _, place = base.partition("://")
            self._base = f"{scheme}://{_quoted(user)}:{_quoted(password)}@{place}"
        self._name = name
        self._largest = largest
        self._retrying = Retrying(
            retry=retry_if_exception_type(RetryableError),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=_wait,
            sleep=wait,
            reraise=True,
        )
        self._runner = asyncio.Runner()
        self._session: aiohttp.ClientSession | None = None

    def __enter__(self) -> Self:
        self._runner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._session is not None:
                self._runner.run(self._session.close())
        finally:
            self._runner.close()

    def get(self, path: str, parameters: Iterable[tuple[str, str]] = ()) -> Any:
        """Get the JSON of a 200, parsed.

        Args:
            path: behind the base.
            parameters: of the query.

        Raises:
            InputError: the backend cannot be reached, or says no; after some attempts, where that may pass.
            TooMuch: the answer has more than the largest number of bytes.
        """
        try:
            return self._retrying(lambda: self._runner.run(self._get(path, list(parameters))))
        except RetryableError as error:
            raise InputError(f"{self._name}: {error} (tried {_ATTEMPTS} times)") from error

    async def _get(self, path: str, parameters: list[tuple[str, str]]) -> Any:
        session = self._session = self._session or self._open()
        try:
            async with session.get(f"{self._base}{path}", params=parameters, allow_redirects=False) as response:
                if response.status == 200:
                    return self._json(path, await _read(response.content, self._largest))
                raise self._refused(path, response, await _read(response.content, _MOST_OF_AN_ERROR, cut=True))
        except aiohttp.ClientConnectorError as error:
            raise RetryableError(
                f"cannot be reached ({error.os_error.strerror or error.os_error}); {_IS_IT_THERE}"
            ) from error
        except TimeoutError as error:
            raise RetryableError(
                f"gave no answer to {path} for {_PATIENCE_S:.0f} s; if it is slow, ask with a smaller limit"
            ) from error
        except (aiohttp.InvalidURL, ValueError) as error:  # its words may hold the password
            raise InputError(f"{self._name}: is no address that can be asked") from error
        except aiohttp.ClientError as error:
            raise RetryableError(f"the connection failed: {error or type(error).__name__}") from error

    def _open(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_PATIENCE_S, sock_read=_PATIENCE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=True,  # proxies, and ~/.netrc
        )

    def _json(self, path: str, body: bytes) -> Any:
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise InputError(f"{self._name}: what it answers to {path} is no JSON; {_IS_IT_THERE}") from error

    def _refused(self, path: str, response: aiohttp.ClientResponse, body: bytes) -> Exception:
        status, said = response.status, _said(body)
        words = f"answers {path} with {status} {response.reason or ''}".rstrip() + (f": {said}" if said else "")
        if status >= 500 or status == 429:
            return RetryableError(words, parse_retry_after(response.headers.get("Retry-After")))
        if 300 <= status < 400:
            words += f", and sends on to {_shown(response.headers.get('Location', ''))}"
        return InputError(f"{self._name}: {words}{_ADVICE.get(status, '')}")


def _quoted(text: str) -> str:
    """Write a user or a password for a URL, so that aiohttp, which sends it in ISO 8859-1, sends it in UTF-8."""
    return quote(text.encode().decode("latin-1"), safe="")


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.retry_after if isinstance(error, RetryableError) else None
    return min(max(_WAITS(state), asked or 0.0), _LONGEST_WAIT_S)


async def _read(content: aiohttp.StreamReader, most: int, *, cut: bool = False) -> bytes:
    """Read at most *most* bytes; of a longer answer they are given, if it is to be cut.

    Raises:
        TooMuch: the answer is longer.
    """
    parts: list[bytes] = []
    size = 0
    async for part in content.iter_any():
        parts.append(part)
        size += len(part)
        if size > most:
            if not cut:
                raise TooMuch
            break
    return b"".join(parts)[:most]


def _said(body: bytes) -> str:
    """Give a backend's own words: Jaeger's first error, or the text."""
    try:
        return _shown(str(orjson.loads(body)["errors"][0]["msg"]))
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return "" if body.lstrip().startswith(b"<") else _shown(body.decode(errors="replace"))


def _shown(text: str) -> str:
    """Give what a stranger wrote, on one line and not too long."""
    return "".join(character if character.isprintable() else " " for character in text)[:_MOST_OF_A_MESSAGE].strip()
