"""`QueuedExporter`: a component made of a `Sender`, that keeps what was accepted until the backend has it."""

import asyncio
import random as random_module
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from otel_tracead.component import Settings
from otel_tracead.delivery import Consignment
from otel_tracead.errors import Backpressure, InvalidRequest, PermanentError, RetryableError
from otel_tracead.exporting.attempts import Attempts, Sender
from otel_tracead.exporting.config import ExporterConfig, QueueConfig
from otel_tracead.exporting.outcomes import Outcomes
from otel_tracead.exporting.queue import SendingQueue
from otel_tracead.exporting.sizing import halves
from otel_tracead.exporting.stored_queue import StoredQueue
from otel_tracead.log_limit import LogLimiter
from otel_tracead.metrics import (
    EXPORTER_ENQUEUE_FAILED,
    EXPORTER_FAILED,
    EXPORTER_QUEUE_CAPACITY,
    EXPORTER_QUEUE_SIZE,
    EXPORTER_SENT,
)
from otel_tracead.storage import NotStored, find_storage
from otel_tracead.wire.batch import SpanBatch, concatenate

_SIGNAL: Final = "traces"
# A backend that refuses everything shall not be asked about every single span of a huge batch.
_MOST_REFUSALS: Final = 1024


class QueuedExporter:
    """Queue, consumers, timeout and retry around a `Sender`.

    Args:
        settings: what the service gives.
        config: what the user wrote of the queue and of attempts.
        sender: sends.
        originals: see there.
        sleep: waits for so many seconds.
        now: seconds, of a clock that never goes back.
        random: between 0 and 1.

    Attributes:
        originals: whether the sender looks at the form that spans came in (see `wants_originals`).
        drain_timeout: seconds that `shutdown` goes on trying for; set by the service.
        undelivered: spans that were accepted and still not delivered when `shutdown` was over, but for those that are
            kept elsewhere (in a journal, in Kafka) until they are settled.
    """

    def __init__(
        self,
        settings: Settings,
        config: ExporterConfig,
        sender: Sender,
        *,
        originals: bool = True,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        self.originals = originals
        self.drain_timeout = 25.0
        self.undelivered = 0
        self._sender = sender
        self._queue = _queue(settings, config.sending_queue)
        self._refusal = NotStored if isinstance(self._queue, StoredQueue) else Backpressure
        self._blocking = config.sending_queue.block_on_overflow
        self._outcomes = Outcomes() if config.sending_queue.wait_for_result else None
        self._consumers = config.sending_queue.num_consumers
        self._tasks: list[asyncio.Task[None]] = []
        self._busy: set[int] = set()
        self._stopping = self._leaving = False
        self._left: list[Consignment] = []
        self._closed = False
        self._logger = settings.logger
        self._logs = LogLimiter(settings.logger)
        self._attempts = Attempts(sender, config, settings, self._logs, sleep, now, random)
        telemetry, label = settings.telemetry, settings.id
        self._sent = telemetry.counter(EXPORTER_SENT, label)
        self._failed = telemetry.counter(EXPORTER_FAILED, label)
        self._enqueue_failed = telemetry.counter(EXPORTER_ENQUEUE_FAILED, label)
        if (queue := self._queue) is not None:
            telemetry.observe(EXPORTER_QUEUE_SIZE, lambda: queue.size, label, _SIGNAL)
            telemetry.observe(EXPORTER_QUEUE_CAPACITY, lambda: queue.capacity, label, _SIGNAL)

    def admit(self, spans: int) -> None:
        """Say whether the queue has room for a request of *spans* spans.

        Raises:
            Backpressure: it is full, or the exporter is shutting down; where the queue is stored, the latter is `NotStored`.
        """
        if self._stopping:
            self._enqueue_failed.add(spans)
            raise self._refusal("the exporter is shutting down")
        if self._queue is not None and not self._blocking and not self._queue.admits(spans):
            self._enqueue_failed.add(spans)
            self._logs.warning("sending queue is full; senders are told to come back")
            raise Backpressure("sending queue is full")

    async def consume(self, consignment: Consignment) -> None:
        """Queue *consignment*; without a queue, or with `wait_for_result`, return once it was sent or given up in part.

        Raises:
            Backpressure: the queue is full, or the exporter is shutting down; or nobody waits any longer for the
                backend, which took nothing now.
            PermanentError: likewise, and it will never take anything of it.
        """
        if self._stopping:
            self._enqueue_failed.add(len(consignment.batch))
            raise self._refusal("the exporter is shutting down")
        if self._queue is None:
            await self._deliver(consignment, hand_back=True)
        elif self._outcomes is not None:
            await self._outcomes.wait(consignment, self._put)
        else:
            await self._put(consignment)

    async def _put(self, consignment: Consignment) -> None:
        if self._queue is None:
            return
        try:
            await self._queue.take(consignment, blocking=self._blocking)
        except Backpressure:
            self._enqueue_failed.add(len(consignment.batch))
            raise

    async def start(self) -> None:
        """Start the sender and the consumers of the queue."""
        if self._queue is not None:
            await self._queue.start()
        await self._sender.start()
        if self._queue is not None:
            work = (self._consume_queue(self._queue, number) for number in range(self._consumers))
            self._tasks = [asyncio.create_task(one) for one in work]

    async def shutdown(self) -> None:
        """Deliver what is left, trying for up to `drain_timeout` seconds; then count it as undelivered and close."""
        if self._closed:
            return
        self._closed = True
        self._stopping = True
        self._attempts.hurry()
        if self._queue is not None and self._tasks:
            try:
                async with asyncio.timeout(self.drain_timeout):
                    await self._queue.close()
            except TimeoutError:
                pass
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self.undelivered = sum(len(one.batch) for one in await self._take_left() if not one.kept)
        if self.undelivered:
            self._failed.add(self.undelivered)
            self._logger.error("exporter stopped with spans undelivered", spans=self.undelivered)
        await self._sender.shutdown()

    async def hand_over(self) -> list[Consignment]:
        """Finish the attempts under way, make no others, and give what the backend has not taken (see `HandsOver`)."""
        self._stopping = self._leaving = True
        self._attempts.end()
        tasks, self._tasks = self._tasks, []
        for number, task in enumerate(tasks):
            if number not in self._busy:
                task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=self.drain_timeout)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return await self._take_left()

    async def _take_left(self) -> list[Consignment]:
        """Give what was not sent, and what is not stored where the queue is."""
        left, self._left = self._left, []
        return left if self._queue is None else await self._queue.leave(left)

    async def _consume_queue(self, queue: SendingQueue | StoredQueue, number: int) -> None:
        while not self._leaving:
            self._busy.discard(number)
            consignments, done = await queue.get()
            self._busy.add(number)
            while consignments and not self._leaving:
                try:
                    await self._deliver_queued(consignments[0])
                except asyncio.CancelledError:
                    self._left += consignments[1:]
                    raise
                del consignments[0]
            self._left += consignments
            done()

    async def _deliver_queued(self, consignment: Consignment) -> None:
        if self._outcomes is None:
            await self._deliver(consignment, hand_back=False)
            return
        with self._outcomes.noted(consignment):
            await self._deliver(consignment, hand_back=True)

    async def _deliver(self, consignment: Consignment, *, hand_back: bool) -> None:
        """Send *consignment* or drop what the backend refuses for good, then settle it.

        With *hand_back*, a consignment of which nothing was sent stays the caller's.

        Raises:
            Backpressure: *hand_back*, and the backend took nothing now.
            PermanentError: *hand_back*, and the backend refused every span for good; they are counted.
        """
        pieces = deque([consignment.batch])
        refusals = delivered = 0
        refused: PermanentError | None = None
        while pieces:
            piece = pieces[0]
            try:
                await self._attempts.send(piece)
                delivered += len(piece)
                self._sent.add(len(piece))
            except asyncio.CancelledError:
                if self._queue is not None:  # without a queue whoever waits for us still holds the spans
                    self._left.append(Consignment(concatenate(pieces), consignment.holds))
                raise
            except PermanentError as error:
                refused = error.with_traceback(None)  # which knows this frame, and with it the spans
                refusals += isinstance(error, InvalidRequest)
                if isinstance(error, InvalidRequest) and len(piece) > 1 and refusals <= _MOST_REFUSALS:
                    pieces.extend(halves(piece))
                else:
                    self._drop(piece, error)
            except RetryableError as error:
                if self._leaving and self._queue is not None:
                    self._left.append(Consignment(concatenate(pieces), consignment.holds))
                    return
                if hand_back and delivered == 0 and refusals == 0:
                    raise Backpressure(str(error), error.retry_after) from error
                self._drop(piece, error)
            pieces.popleft()
        if hand_back and delivered == 0 and refused is not None:
            try:
                raise refused
            finally:
                refused = None
        consignment.settle()

    def _drop(self, batch: SpanBatch, error: Exception) -> None:
        self._failed.add(len(batch))
        self._logs.warning("spans given up", error=str(error), spans=len(batch))


def _queue(settings: Settings, config: QueueConfig) -> SendingQueue | StoredQueue | None:
    if not config.enabled:
        return None
    if config.storage is None:
        return SendingQueue(config)
    storage = find_storage(settings, config.storage, "sending_queue::storage")
    return StoredQueue(config, lambda: storage.store(settings.kind, settings.id, _SIGNAL), settings.logger)
