"""The plain other ends of TLS: a client and a server that show what a handshake came to; nothing above it."""

import asyncio
import contextlib
import socket
import ssl
import threading
import warnings
from dataclasses import dataclass, field
from typing import Self


def old(context: ssl.SSLContext) -> ssl.SSLContext:
    """Make *context* speak TLS 1.1 and nothing newer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1_1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


async def talk(port: int, context: ssl.SSLContext | None, hello: bytes) -> tuple[bytes, str | None]:
    """Connect, say *hello*, and give the first bytes of the answer, none where we are not let in; and the version of TLS."""
    try:
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    except (OSError, ssl.SSLError):
        return b"", None
    try:
        shown = writer.get_extra_info("ssl_object")
        version = shown and shown.version()
        writer.write(hello)
        async with asyncio.timeout(10):
            return await reader.read(64), version
    except (OSError, ssl.SSLError):
        return b"", None
    finally:
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()


@dataclass
class Server:
    """Takes connections in threads of its own (no event loop is in the way), notes what they are, and closes them at the first bytes.

    Attributes:
        context: for the next connection; None for plain text.
        seen: of every connection that said something: its version of TLS, and the certificate that it showed (DER).
        heard: the first bytes of each.
        connections: how many came.
        port: where it listens.
    """

    context: ssl.SSLContext | None
    seen: list[tuple[str | None, bytes | None]] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    async def __aenter__(self) -> Self:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            self._threads.append(threading.Thread(target=self._take, args=(client,)))
            self._threads[-1].start()

    def _take(self, client: socket.socket) -> None:
        client.settimeout(5)
        context = self.context
        with contextlib.suppress(OSError), contextlib.ExitStack() as open_ones:
            talking = open_ones.enter_context(client)
            shown = None
            if context is not None:
                talking = shown = open_ones.enter_context(context.wrap_socket(client, server_side=True))
            said = talking.recv(64)
            if said:
                self.heard.append(said)
                self.seen.append((shown and shown.version(), shown and shown.getpeercert(binary_form=True)))
