"""A channel to a backend: its addresses, the connections to them, and which of these takes the next call."""

import asyncio
import os
import socket
import ssl
import time
from typing import Final, Literal

from otel_tracead.http2 import Status
from otel_tracead.status import Code
from otel_tracead_exporters.otlp_grpc.config import KeepaliveClient
from otel_tracead_exporters.otlp_grpc.connection import Answer, ClientConnection, NotLookedAt
from otel_tracead_exporters.otlp_grpc.target import Proxy, Target, proxy_for

_CONNECTS: Final = 20.0
# The queue waits between attempts; a channel that waits longer by itself would let them all fail at once.
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 2.0
_MOST_TRIES: Final = 5
_LARGEST_PROXY_ANSWER: Final = 1 << 16

_Address = tuple[str, int]


class Channel:
    """Connections to every address of a target (`round_robin`), or to the first that answers (`pick_first`).

    It connects when the first call is made, and again when a connection is lost and calls come.

    Args:
        target: where to.
        context: for TLS; None for plain text.
        server_name: that the certificate must have.
        keepalive: how silence is probed.
        balancer: which connections there are.
    """

    def __init__(
        self,
        target: Target,
        context: ssl.SSLContext | None,
        server_name: str | None,
        keepalive: KeepaliveClient | None,
        balancer: Literal["round_robin", "pick_first"],
    ) -> None:
        self._target = target
        self._context = context
        self._server_name = server_name
        self._keepalive = keepalive
        self._balancer = balancer
        self._connections: dict[_Address, ClientConnection] = {}
        self._turn = 0
        self._connecting: asyncio.Task[None] | None = None
        self._error = "there is no address"
        self._pause = 0.0
        self._again_at = 0.0
        self._change: asyncio.Future[None] | None = None
        self._closed = False

    async def call(self, headers: bytes, body: bytes, *, wait_for_ready: bool = False) -> Answer:
        """Make a call (see `ClientConnection.call`); without a connection its status is UNAVAILABLE.

        Args:
            headers: their block.
            body: the message behind its prefix.
            wait_for_ready: wait for a connection, however long that takes.
        """
        for _ in range(_MOST_TRIES):
            connection = await self._ready(wait_for_ready=wait_for_ready)
            if connection is None:
                return Answer(
                    Status(Code.UNAVAILABLE, f"failed to connect to all addresses; last error: {self._error}")
                )
            answer = connection.call(headers, body)
            try:
                return await answer
            except NotLookedAt:
                continue
            except asyncio.CancelledError:
                connection.cancel(answer)
                raise
        return Answer(Status(Code.UNAVAILABLE, "the server refuses calls"))

    async def close(self) -> None:
        """Close every connection; calls under way fail."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        for connection in tuple(self._connections.values()):
            connection.retire()
            connection.cut()
        self._connections.clear()
        await asyncio.sleep(0)  # the event loop closes sockets a moment later

    async def _ready(self, *, wait_for_ready: bool) -> ClientConnection | None:
        while True:
            connection = self._pick()
            if connection is not None:
                return connection
            if any(one.open for one in self._connections.values()):
                await asyncio.wait({self._next_change()})
                continue
            now = time.monotonic()
            if self._connecting is None and now < self._again_at:
                if not wait_for_ready:
                    return None
                await asyncio.sleep(self._again_at - now)
                continue
            self._connect()
            if self._connecting is not None:
                await asyncio.wait({self._connecting, self._next_change()}, return_when=asyncio.FIRST_COMPLETED)

    def _pick(self) -> ClientConnection | None:
        connections = list(self._connections.values())
        for offset in range(len(connections)):
            connection = connections[(self._turn + offset) % len(connections)]
            if connection.room:
                self._turn += offset + 1
                return connection
        return None

    def _next_change(self) -> asyncio.Future[None]:
        """Give what all calls wait for that find no room; one for all, so that those that give up leave nothing behind."""
        if self._change is None or self._change.done():
            self._change = asyncio.get_running_loop().create_future()
        return self._change

    def _changed(self) -> None:
        """Hear that a connection takes more calls than before, or none."""
        gone = [address for address, connection in self._connections.items() if not connection.open]
        for address in gone:
            del self._connections[address]
        if gone and self._connections and not self._closed:
            self._connect()  # the others go on meanwhile
        if self._change is not None and not self._change.done():
            self._change.set_result(None)

    def _connect(self) -> None:
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect_all())
            self._connecting.add_done_callback(self._connected)

    def _connected(self, task: asyncio.Task[None]) -> None:
        self._connecting = None
        if task.cancelled():
            return
        if self._connections:
            self._pause = 0.0
        else:
            self._pause = min(_LONGEST_PAUSE, 2 * self._pause) or _FIRST_PAUSE
            self._again_at = time.monotonic() + self._pause

    async def _connect_all(self) -> None:
        """Look the addresses up, connect to those that there is no connection to, leave those that are no longer named."""
        try:
            addresses = await self._addresses()
        except OSError as error:
            self._error = f"the name cannot be looked up: {error.strerror or error}"
            return
        if self._balancer == "pick_first":
            for address in addresses:
                if await self._connect_to(address):
                    return
            return
        for address in set(self._connections) - set(addresses):
            self._connections[address].retire()
        await asyncio.gather(*(self._connect_to(address) for address in addresses if address not in self._connections))

    async def _addresses(self) -> list[_Address]:
        if self._target.path:
            return [(self._target.path, 0)]
        loop = asyncio.get_running_loop()
        found: dict[_Address, None] = {}
        for host, port in self._target.hosts:
            if proxy_for(host, port) is not None:  # the proxy looks the name up
                found[host, port] = None
                continue
            for *_, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                found[str(address[0]), port] = None
        return list(found)

    async def _connect_to(self, address: _Address) -> bool:
        connection: ClientConnection | None = None
        try:
            async with asyncio.timeout(_CONNECTS):
                connection = await self._opened(*address)
                await connection.ready
        except (OSError, TimeoutError) as error:
            where = address[0] if self._target.path else f"{address[0]}:{address[1]}"
            self._error = f"{where}: {_words(error)}"
            return False
        finally:
            if connection is not None and not (connection.ready.done() and connection.open):
                connection.cut()
        if not connection.open:
            return False
        self._connections[address] = connection
        self._changed()
        return True

    async def _opened(self, host: str, port: int) -> ClientConnection:
        loop = asyncio.get_running_loop()
        name = None if self._context is None else self._server_name

        def make() -> ClientConnection:
            return ClientConnection(self._keepalive, self._changed)

        if self._target.path:
            return (await loop.create_unix_connection(make, host, ssl=self._context, server_hostname=name))[1]
        proxy = proxy_for(host, port)
        if proxy is None:
            return (await loop.create_connection(make, host, port, ssl=self._context, server_hostname=name))[1]
        tunnel = await _through(proxy, host, port)
        try:
            return (await loop.create_connection(make, sock=tunnel, ssl=self._context, server_hostname=name))[1]
        except BaseException:
            tunnel.close()
            raise


def _words(error: OSError) -> str:
    """Say what is wrong; asyncio says "Connect call failed" whatever it was."""
    if error.errno is not None and not isinstance(error, ssl.SSLError | socket.gaierror):
        return os.strerror(error.errno)
    return str(error) or f"no answer within {_CONNECTS:g} s"


async def _through(proxy: Proxy, host: str, port: int) -> socket.socket:
    """Give a socket that a proxy has connected to *host*."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(proxy.host, proxy.port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = found[0]
    tunnel = socket.socket(family, kind, protocol)
    tunnel.setblocking(False)
    try:
        await loop.sock_connect(tunnel, address)
        await loop.sock_sendall(tunnel, proxy.request(host, port))
        answer = b""
        byte = b"?"
        while byte and not answer.endswith(b"\r\n\r\n") and len(answer) < _LARGEST_PROXY_ANSWER:
            byte = await loop.sock_recv(tunnel, 1)  # what follows is no longer the proxy's
            answer += byte
        proxy.check(answer)
    except BaseException:
        tunnel.close()
        raise
    return tunnel
