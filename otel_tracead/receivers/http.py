"""The HTTP listener under the receivers: bodies read within their limit, errors answered, requests drained."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from otel_tracead.config_types import Endpoint
from otel_tracead.errors import InvalidRequest
from otel_tracead.receivers.compression import decompress, too_large
from otel_tracead.receivers.listening import bind, warn_if_open
from otel_tracead.tls import ServerTls

_READ_BUFFER: Final = 1 << 18

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpListener:
    """One HTTP server on one endpoint; every request goes to one handler.

    Attributes:
        port: the port that was bound; 0 before the start.
    """

    def __init__(
        self, endpoint: Endpoint, tls: ServerTls | None, handler: Handler, body_limit: int, logger: Any
    ) -> None:
        self.port = 0
        self._endpoint = endpoint
        self._tls = tls
        self._handler = handler
        self._body_limit = body_limit
        self._logger = logger
        self._runner: web.AppRunner | None = None

    async def start(self, drain_timeout: float) -> None:
        """Listen; `stop` will wait up to *drain_timeout* seconds for requests under way.

        Raises:
            OSError: the endpoint cannot be bound, or a certificate cannot be read.
        """
        context = None if self._tls is None else self._tls.context()
        application = web.Application(client_max_size=self._body_limit)
        application.router.add_route("*", "/{path:.*}", self._handler)
        runner = web.AppRunner(
            application,
            access_log=None,
            auto_decompress=False,  # ours is bounded
            read_bufsize=_READ_BUFFER,
            shutdown_timeout=drain_timeout,
        )
        listening = bind(self._endpoint)
        try:
            await runner.setup()
            await web.SockSite(runner, listening, ssl_context=context).start()
        except BaseException:
            listening.close()
            await runner.cleanup()
            raise
        self._runner = runner
        host, self.port = listening.getsockname()[:2]
        warn_if_open(self._logger, self._endpoint, host, secured=self._tls is not None)

    async def stop(self) -> None:
        """Stop listening, let requests under way end, close the connections."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()


async def read_body(request: web.Request, limit: int) -> bytes:
    """Read the body of *request*, out of its compression.

    Raises:
        TooLarge: it has more than *limit* bytes, before or after decompression.
        InvalidRequest: it is not what its `Content-Encoding` says, or broken as HTTP.
    """
    if request.content_length is not None and request.content_length > limit:
        raise too_large(limit)
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise too_large(limit) from error
    except web.RequestPayloadError as error:
        raise InvalidRequest(f"the body could not be read: {error}") from error
    return decompress(request.headers.get("Content-Encoding", ""), body, limit)


def text(status: int, message: str, **headers: str) -> web.Response:
    """Make a plain text answer."""
    return web.Response(status=status, text=message + "\n", headers=headers)
