"""The HTTP listener under the receivers: who may send, bodies read within their limit, errors answered, requests drained."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import HttpVersion11, web

from otel_tracead.auth import server_authenticator, warn_if_open
from otel_tracead.component import Settings
from otel_tracead.config_types import Endpoint
from otel_tracead.errors import Backpressure, InvalidRequest, PipelineError, Unauthenticated
from otel_tracead.receivers.compression import too_large
from otel_tracead.receivers.cors import Cors
from otel_tracead.receivers.http_config import HttpListenerConfig
from otel_tracead.receivers.http_connection import HttpConnections
from otel_tracead.receivers.listening import bind, stop_accepting
from otel_tracead.receivers.room import Visit
from otel_tracead.status import answer, retry_after_header

_READ_BUFFER: Final = 1 << 18
_LONGEST_IDLE: Final = 3600.0
_PAUSE: Final = 0.05
_HANDSHAKE: Final = 1.0
_LISTENS_ON: Final = 1.0
LINGER: Final = 10.0
"""Seconds that idle connections to a listener which has a successor are kept: SDKs send every 5 s."""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Refuse = Callable[[web.BaseRequest, PipelineError], web.StreamResponse]


class HttpListener:
    """One HTTP server on one endpoint; every request that may come in goes to one handler.

    Args:
        config: what the user wrote.
        settings: what the service gives.
        handler: answers requests.
        refuse: answers a request whose sender may not send, before its body is read.

    Attributes:
        port: the port that was bound; 0 before the start.

    Raises:
        ConfigError: `auth` names no extension that authenticates senders.
    """

    def __init__(self, config: HttpListenerConfig, settings: Settings, handler: Handler, refuse: Refuse) -> None:
        self.port = 0
        self._config = config
        self._handler = handler
        self._refuse = refuse
        self._logger = settings.logger
        self._authenticator = server_authenticator(settings, config.auth)
        self._params = () if config.auth is None else config.auth.request_params
        self._cors = Cors(config.cors) if config.cors is not None and config.cors.allowed_origins else None
        self._headers = {name: value.get_secret_value() for name, value in config.response_headers.items()}
        self._runner: web.ServerRunner | None = None
        self._socket: socket.socket | None = None
        self._retiring = False

    async def start(self, drain_timeout: float, before: "HttpListener | None" = None) -> None:
        """Listen; `stop` will wait up to *drain_timeout* seconds for requests under way.

        Args:
            drain_timeout: in seconds.
            before: a listener whose successor this one is: on the same endpoint the two share the socket, so that whoever
                connects finds one of them, until the other has retired.

        Raises:
            OSError: the endpoint cannot be bound, or a certificate cannot be read.
        """
        config = self._config
        context = None if config.tls is None else config.tls.context()
        # No `web.Application`: there is nothing to route.
        server = HttpConnections(
            self._serve,
            config.read_header_timeout,
            access_log=None,
            auto_decompress=False,  # ours is bounded
            read_bufsize=_READ_BUFFER,
            lingering_time=_LISTENS_ON,  # to a body that was not asked for: whoever sends it reads the answer
            keepalive_timeout=config.idle_timeout or _LONGEST_IDLE,
        )
        runner = web.ServerRunner(server, shutdown_timeout=drain_timeout)
        listening = (None if before is None else before.shared(config.endpoint)) or bind(config.endpoint)
        try:
            await runner.setup()
            await web.SockSite(runner, listening, ssl_context=context).start()
        except BaseException:
            listening.close()
            await runner.cleanup()
            raise
        self._runner, self._socket = runner, listening
        host, self.port = listening.getsockname()[:2]
        asks = self._authenticator is not None or (config.tls is not None and config.tls.client_ca_file is not None)
        warn_if_open(self._logger, config.endpoint, host, encrypted=config.tls is not None, guarded=asks)

    async def stop(self) -> None:
        """Stop listening, let requests under way end, close the connections."""
        runner, self._runner = self._runner, None
        self._socket = None
        if runner is not None:
            await runner.cleanup()

    async def retire(self) -> None:
        """Stop listening; close each connection with the answer to its next request, and after `LINGER` seconds all; stop.

        A connection that is just closed while a client sends on it costs a request of one that does not try again.
        """
        runner, listening, self._socket = self._runner, self._socket, None
        if runner is None or listening is None or runner.server is None:
            return
        self._retiring = True

        async def close() -> None:
            for site in runner.sites:
                await site.stop()

        await stop_accepting(listening, close, _HANDSHAKE)
        until = time.monotonic() + LINGER
        while self._runner is runner and runner.server.connections and time.monotonic() < until:  # noqa: ASYNC110 (no event tells)
            await asyncio.sleep(_PAUSE)
        await self.stop()

    def shared(self, endpoint: Endpoint) -> socket.socket | None:
        """Give a second descriptor of the listening socket, if *endpoint* is where it listens."""
        if self._socket is None or endpoint != self._config.endpoint:
            return None
        return self._socket.dup()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if "Expect" in request.headers:
            await _go_ahead(request)
        preflight = None if self._cors is None else self._cors.preflight(request.method, request.headers)
        if preflight is not None:
            response: web.StreamResponse = web.Response(status=204, headers=preflight)
        else:
            response = await self._answer(request)
            if self._cors is not None:
                response.headers.update(self._cors.answer(request.headers))
        for name, value in self._headers.items():
            response.headers.setdefault(name, value)
        if self._retiring or not self._config.keep_alives_enabled:
            response.force_close()
        return response

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._authenticator is not None:
            try:
                waiting = self._authenticator.authenticate(self._proof(request))
                if waiting is not None:
                    await waiting
            except PipelineError as error:
                response = self._refuse(request, error)
                if isinstance(error, Unauthenticated) and self._authenticator.challenge:
                    response.headers["WWW-Authenticate"] = self._authenticator.challenge
                response.force_close()  # nobody reads a body that was not asked for
                return response
        return await self._handler(request)

    def _proof(self, request: web.BaseRequest) -> Mapping[str, list[str]]:
        """Give the headers by name in lower case, and the parameters that stand for some."""
        headers: dict[str, list[str]] = {}
        for name, value in request.headers.items():
            headers.setdefault(name.lower(), []).append(value)
        for name in self._params:
            if name in request.query:
                headers[name.lower()] = request.query.getall(name)
        return headers


async def _go_ahead(request: web.BaseRequest) -> None:
    """Ask for the body of a sender that waits to be asked (RFC 9110, section 10.1.1).

    Raises:
        HTTPExpectationFailed: it expects something else.
    """
    expected = request.headers["Expect"]
    if expected.lower() != "100-continue":
        raise web.HTTPExpectationFailed(text=f"unknown expectation: {expected[:40]!r}\n")
    if request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")


async def read_body(request: web.BaseRequest, config: HttpListenerConfig, visit: Visit) -> bytes:
    """Read the body of *request* as it came, within the size that *config* allows and the room that there is.

    Raises:
        TooLarge: it has more bytes than *config* allows.
        InvalidRequest: it is broken as HTTP, or too slow.
        Backpressure: there is no room for it.
    """
    limit = config.body_limit
    if request.content_length is not None and request.content_length > limit:
        raise too_large(limit)
    content, body = request.content, bytearray()
    try:
        if content.is_eof():  # it came with its headers, as small ones do: nothing to wait for
            whole = content.read_nowait()
            visit.take(len(whole))
            if len(whole) > limit:
                raise too_large(limit)
            return whole
        async with asyncio.timeout(config.read_timeout or None) as patience:
            visit.comes(patience)
            while part := await content.readany():
                visit.take(len(part))
                body += part
                if len(body) > limit:
                    raise too_large(limit)
    except TimeoutError as error:
        if visit.evicted:
            raise Backpressure("the request did not come whole in time, and others wait for room") from error
        raise InvalidRequest(f"the body did not come within {config.read_timeout:g} s") from error
    except (web.RequestPayloadError, ConnectionError) as error:
        raise InvalidRequest(f"the body could not be read: {error}") from error
    finally:
        visit.comes(None)
    return bytes(body)


def text(status: int, message: str, **headers: str) -> web.Response:
    """Make a plain text answer."""
    return web.Response(status=status, text=message + "\n", headers=headers)


def text_of(error: Exception) -> web.Response:
    """Make a plain text answer of what went wrong."""
    row, status = answer(error)
    headers = {} if status.retry_after is None else {"Retry-After": retry_after_header(status.retry_after)}
    return text(row.http, status.message, **headers)
