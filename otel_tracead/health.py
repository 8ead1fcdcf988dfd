"""How a component is: what it says of itself, and since when; the Collector's component status."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """The Collector's names."""

    STARTING = "StatusStarting"
    OK = "StatusOK"
    RECOVERABLE_ERROR = "StatusRecoverableError"
    PERMANENT_ERROR = "StatusPermanentError"
    STOPPING = "StatusStopping"
    STOPPED = "StatusStopped"


_ENDING = (Status.STOPPING, Status.STOPPED)


@dataclass(frozen=True, slots=True)
class Event:
    """What a component is.

    Attributes:
        status: in one word.
        since: when it became that, seconds since 1970.
        error: why, if it is not well.
    """

    status: Status
    since: float
    error: str = ""


class Health:
    """What one component says of itself; the service says when it starts and stops.

    Attributes:
        event: the latest.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self.event = Event(Status.STARTING, now())

    def started(self) -> None:
        """It has started, and has said nothing else."""
        if self.event.status is Status.STARTING:
            self._become(Status.OK)

    def ok(self) -> None:
        """It works."""
        if self.event.status is not Status.OK:
            self._become(Status.OK)

    def recoverable(self, error: str) -> None:
        """It does not work just now, and may come back by itself."""
        self._become(Status.RECOVERABLE_ERROR, error)

    def permanent(self, error: str) -> None:
        """It does not work, and somebody has to do something."""
        self._become(Status.PERMANENT_ERROR, error)

    def stopping(self) -> None:
        """It hands on what it holds."""
        self._become(Status.STOPPING)

    def stopped(self) -> None:
        """It is no more."""
        self._become(Status.STOPPED)

    def _become(self, status: Status, error: str = "") -> None:
        before = self.event
        if before.status in _ENDING and status not in _ENDING:
            return
        since = before.since if before.status is status else self._now()
        self.event = Event(status, since, error)


@dataclass(frozen=True, slots=True)
class Overview:
    """Everybody's health.

    Attributes:
        extensions: by `extension:id`.
        pipelines: by the pipeline's id, its components by `receiver:id`, `processor:id` and `exporter:id`.
    """

    extensions: Mapping[str, Event]
    pipelines: Mapping[str, Mapping[str, Event]]


def worst(events: Iterable[Event], order: Iterable[Status]) -> Event | None:
    """Give of *events* the first one in *order* of their status, of those the latest; None of none."""
    rank = {status: number for number, status in enumerate(order)}
    return min(events, key=lambda event: (rank[event.status], -event.since), default=None)
