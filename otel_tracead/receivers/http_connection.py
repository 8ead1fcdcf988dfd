"""A connection to an HTTP listener, whose client has to come to the end of a request's headers in time."""

import asyncio
from typing import Any

from aiohttp import web


class HttpConnection(web.RequestHandler):
    """aiohttp's, closed when headers have been coming for too long; the first ones are waited for from the beginning.

    Args:
        server: whose connection it is.
        headers_within: seconds.
        options: as aiohttp takes them.
    """

    __slots__ = ("_headers_within", "_out_of_time")

    def __init__(self, server: web.Server, headers_within: float, **options: Any) -> None:
        super().__init__(server, **options)
        self._headers_within = headers_within
        self._out_of_time: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._begin()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        super().data_received(data)
        waiter = self._waiter
        if waiter is not None and not waiter.done():  # this was not the end of any headers
            if self._out_of_time is None:
                self._begin()
        elif self._out_of_time is not None:
            self._end()

    def connection_lost(self, exc: BaseException | None) -> None:
        """See `asyncio.Protocol`."""
        self._end()
        super().connection_lost(exc)

    def _begin(self) -> None:
        self._out_of_time = asyncio.get_running_loop().call_later(self._headers_within, self.force_close)

    def _end(self) -> None:
        if self._out_of_time is not None:
            self._out_of_time.cancel()
            self._out_of_time = None


class HttpConnections(web.Server):
    """Makes connections of our own kind.

    Args:
        handler: answers requests.
        headers_within: seconds; 0 for ever.
        options: as aiohttp's server takes them.
    """

    def __init__(self, handler: Any, headers_within: float, **options: Any) -> None:
        super().__init__(handler, **options)
        self._headers_within = headers_within
        self._options = options

    def __call__(self) -> web.RequestHandler:
        """Make a connection."""
        if not self._headers_within:
            return super().__call__()
        return HttpConnection(self, self._headers_within, loop=asyncio.get_running_loop(), **self._options)
