"""The plain other ends of TLS: a client and a server that show what a handshake came to; nothing above it."""

import asyncio
import contextlib
import ssl
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
    """Takes connections, notes what they are, and closes them at the first bytes.

    Attributes:
        context: for the next connection; None for plain text.
        seen: of every connection that said something: its version of TLS, and the certificate that it showed (DER).
        heard: the first bytes of each.
    """

    context: ssl.SSLContext | None
    seen: list[tuple[str | None, bytes | None]] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError, ssl.SSLError):
            if self.context is not None:
                await writer.start_tls(self.context, ssl_handshake_timeout=5)
            said = await reader.read(64)
            if said:
                shown: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
                self.heard.append(said)
                self.seen.append((shown and shown.version(), shown and shown.getpeercert(binary_form=True)))
        writer.close()
