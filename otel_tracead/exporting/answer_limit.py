"""A time limit on an answer that does not count as passed while the answer lies unread: after a pause of the process."""

import asyncio
from types import TracebackType
from typing import Final

_LOOKS: Final = 3
_LOOK: Final = 0.05
_SHARE: Final = 0.05


class AnswerLimit:
    """Limits its body to some seconds, then gives it a last chance to see what has arrived.

    A process that was stopped, a virtual machine that was moved, a loop that was kept busy: when they go on, event loops run
    the timers that are due before they read their sockets, and a request would be given up, and sent again, whose answer
    is there. So the loop reads a few times more, for 150 ms at most and 15 % of the limit, before time is up.

    Args:
        seconds: the limit; None for none.

    Raises:
        TimeoutError: the body took longer.
    """

    __slots__ = ("_limit", "_loop", "_seconds", "_timer")

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._limit = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        """See the class."""
        await self._limit.__aenter__()
        self._loop = asyncio.get_running_loop()
        self._timer = (
            None if self._seconds is None else self._loop.call_later(self._seconds, self._look, self._seconds, _LOOKS)
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See the class."""
        if self._timer is not None:
            self._timer.cancel()
        await self._limit.__aexit__(kind, error, trace)

    def _look(self, seconds: float, looks: int) -> None:
        if looks:
            pause = min(_LOOK, _SHARE * seconds)
            self._timer = self._loop.call_later(pause, self._look, seconds, looks - 1)
        else:
            self._limit.reschedule(self._loop.time())
