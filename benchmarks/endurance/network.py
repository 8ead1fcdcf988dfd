"""The network between stage and backend, which can be taken away, slowed, cut, or answer nonsense.

A proxy in a thread of its own. Before it breaks connections it holds back what the stage sends, in the middle, and lets the answers to
what the backend has already got pass: so nothing that was counted is sent again because its answer was lost, and what comes twice
was doubled by the stage.
"""

import asyncio
import random
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, Self

from tools.peers.process import HOST

_CHUNK: Final = 1 << 16
_QUIET: Final = 1.0  # seconds without an answer after which none is expected any longer, on a busy machine, too
_LONGEST: Final = 6.0
_PATIENCE: Final = 30.0


class Network:
    """A port in front of another one, as a context manager.

    Args:
        port: it listens here.
        behind: port of the backend.
        seed: of the nonsense.
    """

    def __init__(self, port: int, behind: int, seed: int = 0) -> None:
        self.port = port
        self._behind = behind
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._server: asyncio.Server | None = None
        self._passing = asyncio.Event()
        self._passing.set()
        self._answered = 0.0
        self._delay = 0.0
        self._nonsense = False
        self._open: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self.back()
        return self

    def __exit__(self, *_: object) -> None:
        self.gone()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE)
        self._loop.close()

    def gone(self) -> None:
        """Nobody listens any longer; what is under way is cut."""
        self._do(self._gone())

    def back(self) -> None:
        """Everything as usual."""
        self._do(self._back())

    def cut(self) -> None:
        """Break all connections in the middle of what the stage sends; new ones are taken."""
        self._do(self._cut())

    def slow(self, delay: float) -> None:
        """Let each answer wait for *delay* seconds."""
        self._delay = delay

    def nonsense(self) -> None:
        """Answer with random bytes instead of asking the backend, until `back`."""
        self._nonsense = True
        self.cut()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)

    async def _gone(self) -> None:
        if self._server:
            self._server.close()
            self._server = None
        await self._cut()

    async def _back(self) -> None:
        self._delay = 0.0
        if self._nonsense:
            self._nonsense = False
            self._abort()
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, HOST, self.port, limit=_CHUNK)

    async def _cut(self) -> None:
        self._passing.clear()
        begun = self._answered = self._loop.time()
        while (now := self._loop.time()) - self._answered < _QUIET + self._delay and now - begun < _LONGEST:  # noqa: ASYNC110 (for time to pass without an answer)
            await asyncio.sleep(_QUIET / 10)
        self._abort()
        self._passing.set()

    def _abort(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if self._nonsense:
                await self._talk_nonsense(reader, writer)
            else:
                await self._pass_on(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _talk_nonsense(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(_CHUNK):
            writer.write(self._random.randbytes(self._random.randint(1, 4096)))
            await writer.drain()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection(HOST, self._behind, limit=_CHUNK)
        self._open.add(ours)
        ways = [asyncio.create_task(self._up(reader, ours)), asyncio.create_task(self._down(theirs, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
                with suppress(asyncio.CancelledError, OSError):
                    await way
            self._open.discard(ours)
            ours.transport.abort()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(_CHUNK):
            if not self._passing.is_set():
                writer.write(part[: len(part) // 2])  # the rest never comes
                await asyncio.Event().wait()
            writer.write(part)
            await writer.drain()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(_CHUNK):
            self._answered = self._loop.time()
            if self._delay:
                await asyncio.sleep(self._delay)
            writer.write(part)
            await writer.drain()
            self._answered = self._loop.time()
