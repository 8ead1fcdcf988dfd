"""The room that requests over HTTP take from their first byte to their answer, bounded over all connections of a listener."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from otel_tracead.errors import Backpressure

REQUEST: Final = 4096
"""Bytes that a request takes in memory beside its body."""
# How long a request may take to come whole when there is no room for others.
_PATIENCE: Final = 10.0


class Room:
    """Bytes that requests may take together.

    Args:
        size: in bytes.
        clock: seconds, of a clock that never goes back.

    Attributes:
        left: bytes; below zero while a request is being refused.
    """

    def __init__(self, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.left = size
        self.clock = clock
        self._visits: set[Visit] = set()
        self._cleared = -1.0

    def visit(self) -> "Visit":
        """Let a request in; it takes its bytes by `Visit.take`, and `Visit.leave` gives them back."""
        visit = Visit(self)
        self._visits.add(visit)
        return visit

    def forget(self, visit: "Visit") -> None:
        """Take back what a request had."""
        self._visits.discard(visit)
        self.left += visit.taken

    def make_room(self) -> None:
        """Refuse what has been coming for long: who stops in the middle of requests shall not keep everybody else out."""
        now = self.clock()
        if now >= self._cleared + 1:  # whoever is refused meanwhile costs no look at all requests
            self._cleared = now
            for visit in self._visits:
                if visit.since < now - _PATIENCE:
                    visit.evict()


class Visit:
    """One request.

    Attributes:
        since: when it began to come.
        taken: bytes.
        evicted: whether it has lost its place to others.
    """

    def __init__(self, room: Room) -> None:
        self.since = room.clock()
        self.taken = 0
        self.evicted = False
        self._room = room
        self._patience: asyncio.Timeout | None = None

    def comes(self, patience: asyncio.Timeout | None) -> None:
        """Say what ends the wait for its body; None: it has come whole."""
        self._patience = patience

    def take(self, size: int) -> None:
        """Take *size* bytes more.

        Raises:
            Backpressure: there is no room.
        """
        self.taken += size
        self._room.left -= size
        if self._room.left < 0:
            self._room.make_room()
            # What is evicted gives its bytes back when its own task runs; until then nobody gets them.
            raise Backpressure("too many requests come in at a time")

    def leave(self) -> None:
        """Give back what was taken: the request is answered."""
        self._room.forget(self)

    def evict(self) -> None:
        """End the wait for a body that is still coming."""
        if self._patience is not None and not self.evicted:
            self.evicted = True
            self._patience.reschedule(0)
