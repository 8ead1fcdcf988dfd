"""A time limit on an answer that does not count as passed while the answer lies unread: after a pause of the process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

_LOOKS: Final = 3
_LOOK: Final = 0.05
_SHARE: Final = 0.05


@asynccontextmanager
async def answer_within(seconds: float | None) -> AsyncIterator[None]:
    """Limit the body to *seconds*, then give it a last chance to see what has arrived; without *seconds*, do not limit it.

    A process that was stopped, a virtual machine that was moved, a loop that was kept busy: when they go on, event loops run
    the timers that are due before they read their sockets, and a request would be given up, and sent again, whose answer
    is there. So the loop reads a few times more, for 150 ms at most and 15 % of *seconds*, before time is up.

    Raises:
        TimeoutError: the body took longer.
    """
    async with asyncio.timeout(None) as limit:
        if seconds is None:
            yield
            return
        timer = _Timer(limit, seconds)
        try:
            yield
        finally:
            timer.cancel()


class _Timer:
    def __init__(self, limit: asyncio.Timeout, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        self._look = min(_LOOK, _SHARE * seconds)
        self._handle = self._loop.call_later(seconds, self._look_again, _LOOKS)

    def cancel(self) -> None:
        self._handle.cancel()

    def _look_again(self, looks: int) -> None:
        if looks:
            self._handle = self._loop.call_later(self._look, self._look_again, looks - 1)
        else:
            self._limit.reschedule(self._loop.time())
