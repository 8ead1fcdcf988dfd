"""Twins in memory for tests, ours and those of people who write components."""

import asyncio
from collections import deque

from otel_tracead.delivery import Consignment
from otel_tracead.wire.batch import SpanBatch


class RecordingConsumer:
    """A consumer that keeps what it was given.

    Attributes:
        batches: what was taken, in order.
        refusal: what `admit` raises, if anything.
        failures: what the next calls of `consume` raise, one each; None for a call that works.
        gate: clear it to make `consume` wait.
    """

    def __init__(self) -> None:
        self.batches: list[SpanBatch] = []
        self.refusal: Exception | None = None
        self.failures: deque[Exception | None] = deque()
        self.gate = asyncio.Event()
        self.gate.set()

    @property
    def spans(self) -> list[bytes]:
        """Every span that was taken."""
        return [span for batch in self.batches for _, span in batch]

    def admit(self, spans: int) -> None:
        """Say yes, or raise `refusal`."""
        del spans
        if self.refusal is not None:
            raise self.refusal

    async def consume(self, consignment: Consignment) -> None:
        """Take *consignment* and settle it, or raise what `failures` says."""
        await self.gate.wait()
        failure = self.failures.popleft() if self.failures else None
        if failure is not None:
            raise failure
        self.batches.append(consignment.batch)
        consignment.settle()


class RecordingSender:
    """An exporter's sender that keeps what it was given.

    Attributes:
        batches: what was delivered, in order.
        attempts: what was tried, in order.
        failures: what the next calls of `send` raise, one each; None for a call that works.
        gate: clear it to make `send` wait.
        running: whether it was started and not shut down.
    """

    def __init__(self) -> None:
        self.batches: list[SpanBatch] = []
        self.attempts: list[SpanBatch] = []
        self.failures: deque[Exception | None] = deque()
        self.gate = asyncio.Event()
        self.gate.set()
        self.running = False

    @property
    def spans(self) -> list[bytes]:
        """Every span that was delivered."""
        return [span for batch in self.batches for _, span in batch]

    async def start(self) -> None:
        """Start."""
        self.running = True

    async def send(self, batch: SpanBatch) -> None:
        """Deliver *batch*, or raise what `failures` says."""
        self.attempts.append(batch)
        await self.gate.wait()
        failure = self.failures.popleft() if self.failures else None
        if failure is not None:
            raise failure
        self.batches.append(batch)

    async def shutdown(self) -> None:
        """Stop."""
        self.running = False
