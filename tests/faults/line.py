"""A TCP line between two ends that a test cuts, stalls and throttles."""

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from typing import Any, Self

_PART = 4096
_TICK = 0.01
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: closing resets the connection


class Line:
    """Listens on a port of its own and passes bytes on to *target* (host:port), in a thread with a loop of its own.

    Attributes:
        endpoint: host:port to connect to.
        target: where new connections go; may be changed at any time.
        refuses: new connections are reset at once.
        stalled: nothing goes through, either way; connections stay.
        deaf: answers do not come back; requests go through.
        rate: bytes a second towards the target, over each connection; None for no limit.
        cut_after: each connection is reset after so many bytes towards the target; None for never.
        answers: each connection is given these bytes for an answer instead of the target's; None for the target's.
        cuts: how many connections were reset so far.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.refuses = self.stalled = self.deaf = False
        self.rate: float | None = None
        self.cut_after: int | None = None
        self.answers: bytes | None = None
        self.cuts = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def restore(self) -> None:
        """Let everything through again."""
        self.refuses = self.stalled = self.deaf = False
        self.rate = self.cut_after = self.answers = None

    def cut(self) -> None:
        """Reset every connection that there is."""
        self._loop.call_soon_threadsafe(self._cut_all)

    def _do(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, sock=self._socket)

    async def _close(self) -> None:
        self._server.close()
        self._cut_all()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _cut_all(self) -> None:
        for writer in tuple(self._writers):
            self._reset(writer)

    def _reset(self, writer: asyncio.StreamWriter) -> None:
        if writer in self._writers:
            self._writers.discard(writer)
            self.cuts += 1
            with suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        onward: asyncio.StreamWriter | None = None
        try:
            if self.refuses:
                return
            if self.answers is not None:
                await reader.read(_PART)
                writer.write(self.answers)
                await writer.drain()
                return
            host, port = self.target.rsplit(":", 1)
            back, onward = await asyncio.open_connection(host, int(port))
            pumps = {
                asyncio.create_task(self._pump(reader, onward, towards=True)),
                asyncio.create_task(self._pump(back, writer, towards=False)),
            }
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass
        finally:
            self._reset(writer)
            if onward is not None:
                onward.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, towards: bool) -> None:
        passed = 0
        while part := await reader.read(_PART):
            while self.stalled or (self.deaf and not towards):  # noqa: ASYNC110 (set from another thread)
                await asyncio.sleep(_TICK)
            if towards and self.cut_after is not None and passed + len(part) > self.cut_after:
                writer.write(part[: max(0, self.cut_after - passed)])
                return
            if towards and self.rate:
                await asyncio.sleep(len(part) / self.rate)
            passed += len(part)
            writer.write(part)
            await writer.drain()
