"""One log line of a kind a tick: what repeats a thousand times a second is said once, with its number."""

import time
from collections.abc import Callable
from typing import Any


class LogLimiter:
    """Passes the first line of an event through and holds its repeats back until the tick is over."""

    def __init__(self, logger: Any, tick: float = 10.0, now: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._tick = tick
        self._now = now
        self._events: dict[str, tuple[float, int]] = {}

    def warning(self, event: str, **fields: object) -> None:
        """Log *event*, a fixed text (what varies goes into *fields*), unless it was logged within the tick."""
        self._say(self._logger.warning, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Do the same as an error."""
        self._say(self._logger.error, event, fields)

    def _say(self, log: Callable[..., Any], event: str, fields: dict[str, object]) -> None:
        now = self._now()
        since, held_back = self._events.get(event, (-self._tick, 0))
        if now - since < self._tick:
            self._events[event] = (since, held_back + 1)
            return
        self._events[event] = (now, 0)
        if held_back:
            fields["repeated"] = held_back
        log(event, **fields)
