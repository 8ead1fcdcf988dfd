"""The socket of an HTTP/2 connection, for both ends: what comes is read, what is to be sent is written once a round of the event loop."""

import asyncio
import socket
from abc import abstractmethod
from typing import Any, Generic, TypeVar

from otel_tracead.http2 import Connection, ConnectionFailure, Events

C = TypeVar("C")
"""What one end knows of a request."""


class Http2Protocol(asyncio.Protocol, Events, Generic[C]):
    """Speaks HTTP/2 with one other side; heirs say what its `Events` mean to them.

    Args:
        client: which end this is.
        streams: as `Connection` takes them.

    Attributes:
        open: whether requests may still begin; when none may, the socket is closed behind the last answer.
    """

    def __init__(self, *, client: bool, streams: int = 0) -> None:
        self._loop = asyncio.get_running_loop()
        self.open = True
        self._http = Connection(self, client=client, streams=streams)
        self._calls: dict[int, C] = {}
        self._heard = self._loop.time()
        self._transport: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._reading = False
        self._flushing = False

    @abstractmethod
    def _fail(self, error: ConnectionFailure) -> None:
        """Leave a connection that cannot go on; the other side has been told why."""

    def cut(self) -> None:
        """Close at once."""
        self.open = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.Protocol`."""
        self._transport = transport
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX:
            # asyncio does so only for sockets that were made with a protocol number; without it a message may wait 40 ms for an ACK.
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._flush()

    def connection_lost(self, _error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._transport, self.open = None, False
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._transport is None or self._transport.is_closing():
            return
        self._heard = self._loop.time()
        self._reading = True
        try:
            self._http.receive(data)
        except ConnectionFailure as error:
            self._http.give_up(error)
            self._flush()
            self._fail(error)
        finally:
            self._reading = False
        self._flush()

    def _flush_soon(self) -> None:
        """Send what was collected, once for all requests of this round of the event loop (a call of the kernel each)."""
        if not self._reading and not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        transport = self._transport
        if transport is None:
            return
        out = self._http.take()
        if out:
            transport.write(out)
        if not self.open and not self._calls and not self._http.waiting:
            transport.close()
