"""When a batch is full or old enough, and what goes into it; no I/O, time is an argument."""

import math
from collections import deque
from enum import Enum

from otel_tracead.delivery import Consignment, join
from otel_tracead.processors.batch.config import BatchConfig
from otel_tracead.wire.batch import SpanBatch


class Trigger(Enum):
    """Why a batch is sent."""

    SIZE = "size"
    TIMEOUT = "timeout"


class Accumulator:
    """Consignments that wait to be joined.

    Attributes:
        spans: how many spans wait.
    """

    def __init__(self, config: BatchConfig) -> None:
        self.spans = 0
        self._config = config
        self._waiting: deque[Consignment] = deque()
        self._oldest = math.inf

    def add(self, consignment: Consignment, now: float) -> None:
        """Take *consignment*."""
        if not self._waiting:
            self._oldest = now
        self._waiting.append(consignment)
        self.spans += len(consignment.batch)

    def due(self, now: float) -> Trigger | None:
        """Say why a batch should be sent now, None if none should."""
        if not self._waiting:
            return None
        if self.spans >= self._config.send_batch_size:
            return Trigger.SIZE
        return Trigger.TIMEOUT if now >= self.deadline() else None

    def deadline(self) -> float:
        """Give the time at which what waits is old enough; infinite if nothing waits."""
        return self._oldest + self._config.timeout if self._waiting else math.inf

    def take(self, now: float) -> Consignment | None:
        """Take the next batch out: all that waits, or as much of it as one batch may hold."""
        if not self._waiting:
            return None
        most = self._config.send_batch_max_size or math.inf
        parts: list[Consignment] = []
        room = most
        while self._waiting and room > 0:
            consignment = self._waiting.popleft()
            spans = len(consignment.batch)
            if spans > room:
                first, rest = consignment.split(cut(consignment.batch, int(room)))
                self._waiting.appendleft(rest)
                consignment, spans = first, int(room)
            parts.append(consignment)
            room -= spans
            self.spans -= spans
        self._oldest = now if self._waiting else math.inf
        return join(parts)


def cut(batch: SpanBatch, at: int) -> tuple[SpanBatch, SpanBatch]:
    """Cut *batch* into its first *at* spans and the rest; order and envelopes are kept."""
    first, rest = SpanBatch(), SpanBatch()
    for envelope, spans in batch.groups:
        head, tail = spans[:at], spans[at:]
        at -= len(head)
        if head:
            first.groups.append((envelope, head))
        if tail:
            rest.groups.append((envelope, tail))
    return first, rest
