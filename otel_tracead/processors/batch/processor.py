"""The processor: a timer around the accumulator, and one sender that waits while the next consumer has no room."""

import asyncio
import math
from contextlib import suppress
from typing import Final

from otel_tracead import metrics
from otel_tracead.component import Consumer, Settings, wants_originals
from otel_tracead.delivery import Consignment
from otel_tracead.errors import Backpressure, RetryableError
from otel_tracead.processors.batch.accumulator import Accumulator, Trigger
from otel_tracead.processors.batch.config import BatchConfig

_RETRY_AFTER: Final = 0.1
_LEAST_ROOM: Final = 8192
_DRAIN_SECONDS: Final = 25.0


class BatchProcessor:
    """Holds spans until a batch is full or old enough.

    While a batch waits for the next consumer, another one may fill; then more is refused.

    Args:
        config: what the user wrote.
        settings: what the service gives.
        consumer: the next one.

    Attributes:
        undelivered: spans that were left at the shutdown.
    """

    def __init__(self, config: BatchConfig, settings: Settings, consumer: Consumer | None) -> None:
        if consumer is None:
            raise ValueError("a processor needs a next consumer")
        self.undelivered = 0
        self._next = consumer
        self._room = max(config.send_batch_size, _LEAST_ROOM)
        self._accumulator = Accumulator(config)
        self._logger = settings.logger
        count = settings.telemetry.counter
        self._incoming = count(metrics.PROCESSOR_INCOMING, settings.id)
        self._outgoing = count(metrics.PROCESSOR_OUTGOING, settings.id)
        self._dropped = count(metrics.SPANS_DROPPED, settings.id)
        self._triggers = {
            Trigger.SIZE: count(metrics.BATCH_SIZE_TRIGGER, settings.id),
            Trigger.TIMEOUT: count(metrics.BATCH_TIMEOUT_TRIGGER, settings.id),
        }
        self._sizes = settings.telemetry.histogram(metrics.BATCH_SEND_SIZE, settings.id)
        self._arrived = asyncio.Event()
        self._sending: Consignment | None = None
        self._sender: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def originals(self) -> bool:
        """See `wants_originals`."""
        return wants_originals(self._next)

    async def start(self) -> None:
        """Start the sender."""
        self._sender = asyncio.get_running_loop().create_task(self._send_for_ever())

    async def shutdown(self) -> None:
        """Send everything that waits, then stop; what cannot be sent in time is counted as `undelivered`."""
        sender, self._sender = self._sender, None
        if sender is None:
            return
        self._stopping = True
        self._arrived.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(sender, _DRAIN_SECONDS)
        held = len(self._sending.batch) if self._sending is not None else 0
        self.undelivered = self._accumulator.spans + held

    def admit(self, spans: int) -> None:
        """Say whether there is room.

        Raises:
            Backpressure: a batch waits for the next consumer, and another one has filled behind it.
        """
        if self._sending is not None and self._accumulator.spans >= self._room:
            raise Backpressure("the batch processor is full: the next consumer is too slow", _RETRY_AFTER)
        if self._sending is None:
            self._next.admit(spans)

    async def consume(self, consignment: Consignment) -> None:
        """Take the spans.

        Raises:
            Backpressure: see `admit`.
        """
        spans = len(consignment.batch)
        self.admit(spans)
        self._incoming.add(spans)
        self._accumulator.add(consignment, asyncio.get_running_loop().time())
        self._arrived.set()

    async def _send_for_ever(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            trigger = Trigger.TIMEOUT if self._stopping else self._accumulator.due(clock())
            batch = self._accumulator.take(clock()) if trigger else None
            if trigger is not None and batch is not None:
                self._triggers[trigger].add()
                await self._send(batch)
            elif self._stopping:
                return
            else:
                self._arrived.clear()
                wait = self._accumulator.deadline() - clock()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._arrived.wait(), None if math.isinf(wait) else wait)

    async def _send(self, batch: Consignment) -> None:
        self._sending = batch
        spans = len(batch.batch)
        while self._sending is not None:
            try:
                await self._next.consume(batch)
                self._outgoing.add(spans)
                self._sizes.observe(spans)
                self._sending = None
            except RetryableError as error:
                await asyncio.sleep(error.retry_after or _RETRY_AFTER)
            except Exception as error:  # noqa: BLE001 (one bad batch must not stop the sender)
                self._logger.error("batch refused for good", spans=spans, error=str(error))  # noqa: TRY400
                self._dropped.add(spans)
                batch.settle()
                self._sending = None
