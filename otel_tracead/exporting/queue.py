"""The sending queue: first in, first out, bounded; what is being sent counts until it is done."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from otel_tracead.delivery import Consignment, join
from otel_tracead.errors import Backpressure
from otel_tracead.exporting.config import BatchConfig, QueueConfig
from otel_tracead.exporting.sizing import SIZERS, parts


class SendingQueue:
    """Holds consignments for the consumers.

    Something larger than the whole queue is taken when the queue is empty, or it could never pass.

    Attributes:
        size: how full it is, in what its sizer measures.
        capacity: how full it may be.
    """

    def __init__(self, config: QueueConfig) -> None:
        self.size = 0
        self.capacity = config.queue_size
        self._sizer = config.sizer
        self._measure = SIZERS[config.sizer]
        self._batch = config.batch
        self._waiting: deque[tuple[Consignment, int]] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._room = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._gathering = asyncio.Lock()
        self._flush: asyncio.Timeout | None = None
        self._closing = False

    def admits(self, spans: int) -> bool:
        """Say whether a consignment of *spans* spans would find room (by bytes: any room at all)."""
        amount = {"requests": 1, "items": spans, "bytes": 1}[self._sizer]
        return self._fits(amount)

    async def start(self) -> None:
        """Nothing is to be done for a queue in memory."""

    async def take(self, consignment: Consignment, *, blocking: bool) -> None:
        """Take *consignment* in; with *blocking*, as soon as there is room.

        Raises:
            Backpressure: there is none, or with *blocking* there was none before the queue was closed.
        """
        while blocking and not self._fits(self._measure(consignment.batch)):
            if self._closing:
                raise Backpressure("the exporter is shutting down")
            self._room.clear()
            await self._room.wait()
        self.put(consignment)

    def put(self, consignment: Consignment) -> None:
        """Take *consignment* in.

        Raises:
            Backpressure: there is no room.
        """
        amount = self._measure(consignment.batch)
        if not self._fits(amount):
            raise Backpressure("sending queue is full")
        self.size += amount
        self._waiting.append((consignment, amount))
        self._empty.clear()
        while self._idle:
            waiter = self._idle.popleft()
            if not waiter.done():
                waiter.set_result(None)
                break

    async def get(self) -> tuple[list[Consignment], Callable[[], None]]:
        """Wait for the next requests to send.

        Returns:
            one consignment, or with `batch` several, joined and cut to size; and what to call once they are done.
        """
        if self._batch is None:
            while not self._waiting:
                await self._arrival()
            consignment, amount = self._waiting.popleft()
            return [consignment], lambda: self._done(amount)
        async with self._gathering:  # one consumer gathers at a time, so that batches fill up
            gathered, amount = await self._gather(self._batch)
        whole = gathered[0] if len(gathered) == 1 else join(gathered)
        return whole.split(parts(whole.batch, self._batch.max_size, self._batch.sizer)), lambda: self._done(amount)

    async def close(self) -> None:
        """Wait until everything was done; batches do not wait for more any longer."""
        self._closing = True
        self._room.set()
        if self._flush is not None and not self._flush.expired():
            self._flush.reschedule(0)
        await self._empty.wait()

    async def leave(self, left: Iterable[Consignment]) -> list[Consignment]:
        """Close the queue, and give what nobody has sent.

        Args:
            left: what consumers had in hand and did not send.
        """
        return [*left, *self.take_all()]

    def take_all(self) -> list[Consignment]:
        """Close the queue and give what no consumer has taken."""
        taken = [consignment for consignment, _ in self._waiting]
        self._waiting.clear()
        self._closing = True
        self._room.set()
        return taken

    def _fits(self, amount: int) -> bool:
        return self.size == 0 or self.size + amount <= self.capacity

    def _done(self, amount: int) -> None:
        self.size -= amount
        self._room.set()
        if self.size == 0:
            self._empty.set()

    async def _arrival(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._idle.append(waiter)  # woken one by one: a request needs one consumer, not all of them
        await waiter

    async def _gather(self, config: BatchConfig) -> tuple[list[Consignment], int]:
        while not self._waiting:
            await self._arrival()
        measure = SIZERS[config.sizer]
        first, amount = self._waiting[0]
        count, size, total = 1, measure(first.batch), amount
        # Nothing leaves the queue before the batch is whole: a consumer that is stopped here loses nothing.
        try:
            async with asyncio.timeout(config.flush_timeout) as self._flush:
                while size < config.min_size:
                    if count == len(self._waiting):
                        if self._closing:
                            break
                        await self._arrival()
                        continue
                    consignment, amount = self._waiting[count]
                    count, size, total = count + 1, size + measure(consignment.batch), total + amount
        except TimeoutError:
            pass
        finally:
            self._flush = None
        return [self._waiting.popleft()[0] for _ in range(count)], total
