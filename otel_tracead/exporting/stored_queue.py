"""A sending queue on disk: what it took survives the process; in memory is only what will be sent next."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import groupby
from typing import Any, Final, NamedTuple

from otel_tracead.delivery import Consignment, Delivery
from otel_tracead.errors import Backpressure
from otel_tracead.exporting.config import QueueConfig
from otel_tracead.exporting.queue import SendingQueue
from otel_tracead.exporting.sizing import SIZERS, parts
from otel_tracead.storage import Log, NotStored, StorageUnavailable, Store
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.otlp import Envelopes
from otel_tracead.wire.stored import pack, unpack

_WINDOW: Final = 16 << 20
"""Bytes of spans that are in memory, too: usually all there is, so that nothing is ever read back."""
_LARGEST: Final = 64 << 20
"""Bytes of spans in a record; larger batches are cut."""
_RETRY: Final = 1.0


class _Stored(NamedTuple):
    number: int
    spans: int
    amount: int


class _Receipt(Delivery):
    """What stands for a record: settled when its spans were sent or given up, and then it is removed."""

    __slots__ = ("stored",)

    def __init__(self, stored: _Stored, on_settled: Callable[[], None]) -> None:
        super().__init__(on_settled)
        self.stored = stored


class StoredQueue:
    """Has the face of a `SendingQueue`, and what it holds is on disk.

    Batches of up to `_WINDOW` bytes wait in memory for the consumers; of the others there are only numbers, and each is
    read when its turn comes. Whoever puts a batch in is done with it once it is stored.

    Args:
        config: the section `sending_queue`.
        open_store: gives the exporter's store.
        logger: the exporter's.

    Attributes:
        size: how full it is, in what its sizer measures; of what was found at the start, bytes are those of records.
        capacity: how full it may be.
        spans: how many are in it.
    """

    def __init__(self, config: QueueConfig, open_store: Callable[[], Store], logger: Any) -> None:
        self.size = 0
        self.capacity = config.queue_size
        self.spans = 0
        self._sizer = config.sizer
        self._measure = SIZERS[config.sizer]
        self._window = SendingQueue(config.model_copy(update={"sizer": "bytes", "queue_size": _WINDOW}))
        self._open_store = open_store
        self._log: Log | None = None
        self._logger = logger
        self._envelopes = Envelopes()
        self._here: set[int] = set()
        self._backlog: deque[_Stored] = deque()
        self._feeding = False
        self._wake = asyncio.Event()
        self._fed = asyncio.Event()
        self._fed.set()
        self._room = asyncio.Event()
        self._closing = False
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Open the store, and begin with what lies in it.

        Raises:
            StartError: it cannot be opened.
        """
        store = self._open_store()
        self._log = store.log("queue")
        self._tasks = [asyncio.create_task(work) for work in (self._own(store, self._log), self._feed(self._log))]

    def admits(self, spans: int) -> bool:
        """Say whether a consignment of *spans* spans would find room (by bytes: any room at all)."""
        return self._fits(spans if self._sizer == "items" else 1)

    async def take(self, consignment: Consignment, *, blocking: bool) -> None:
        """Store *consignment* and settle it; with *blocking*, as soon as there is room.

        Raises:
            NotStored: there is none, or the disk takes nothing.
        """
        if self._log is None:
            raise NotStored("the exporter is not running")
        amount = self._measure(consignment.batch)
        while not self._fits(amount):
            if not blocking:
                raise NotStored("sending queue is full")
            if self._closing:
                raise NotStored("the exporter is shutting down")
            self._room.clear()
            await self._room.wait()
        self.size += amount
        taken: list[tuple[_Stored, SpanBatch]] = []
        try:
            for part in parts(consignment.batch, _LARGEST, "bytes"):
                number = await self._log.append(pack(part), len(part))
                taken.append((_Stored(number, len(part), self._measure(part)), part))
        except BaseException:
            self._log.remove(stored.number for stored, _ in taken)
            self._room.set()
            raise
        finally:
            self.size -= amount
        consignment.settle()
        for stored, part in taken:
            self._hold(stored, part)

    async def get(self) -> tuple[list[Consignment], Callable[[], None]]:
        """Wait for the next requests to send; see `SendingQueue.get`."""
        return await self._window.get()

    async def close(self) -> None:
        """Wait until everything was done; batches do not wait for more any longer."""
        self._closing = True
        self._room.set()
        await self._fed.wait()
        await self._window.close()

    async def leave(self, left: Iterable[Consignment]) -> list[Consignment]:
        """Leave to the next owner what is stored; nothing is left that anybody else would have to see to.

        What was sent of a record in part would be sent again with the rest, so only the rest stays.

        Args:
            left: what consumers had in hand and did not send.
        """
        self._closing = True
        self._room.set()
        self._window.take_all()
        for receipts, group in groupby(left, key=lambda consignment: [receipt for receipt, _ in consignment.holds]):
            rest = list(group)
            spans = sum(receipt.stored.spans for receipt in receipts if isinstance(receipt, _Receipt))
            if self._log is not None and sum(len(one.batch) for one in rest) < spans:
                try:
                    for one in rest:
                        await self._log.append(pack(one.batch), len(one.batch))
                        self.spans += len(one.batch)
                except StorageUnavailable as error:
                    self._logger.warning("spans that were sent will be sent again", error=str(error))
                    continue
                for one in rest:
                    one.settle()
        tasks, self._tasks = self._tasks, []
        if tasks and self.spans:
            self._logger.warning("spans stay in the storage", spans=self.spans)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return []

    def _hold(self, stored: _Stored, batch: SpanBatch | None) -> None:
        """Queue what is stored; *batch* where it is in memory."""
        if stored.number in self._here:
            return
        self._here.add(stored.number)
        self.size += stored.amount
        self.spans += stored.spans
        if batch is not None and not self._backlog and not self._feeding:
            with suppress(Backpressure):  # the window is full
                self._window.put(self._consignment(stored, batch))
                return
        self._backlog.append(stored)
        self._fed.clear()
        self._wake.set()

    def _consignment(self, stored: _Stored, batch: SpanBatch) -> Consignment:
        return Consignment(batch, ((_Receipt(stored, lambda: self._done(stored)), 1),))

    def _done(self, stored: _Stored) -> None:
        if self._log is not None:
            self._log.remove((stored.number,))
        self._forget(stored)

    def _forget(self, stored: _Stored) -> None:
        self._here.discard(stored.number)
        self.size -= stored.amount
        self.spans -= stored.spans
        self._room.set()

    def _fits(self, amount: int) -> bool:
        return self.size == 0 or self.size + amount <= self.capacity

    async def _own(self, store: Store, log: Log) -> None:
        """Take over what an earlier owner left, to send it first, and own it until the end."""
        async with store.claim():
            while True:
                try:
                    entries = await log.entries()
                    break
                except StorageUnavailable:
                    await asyncio.sleep(_RETRY)
            found = [
                _Stored(number, note, {"requests": 1, "items": note, "bytes": size}[self._sizer])
                for number, note, size in entries
                if number not in self._here
            ]
            since, self._backlog = self._backlog, deque()
            for stored in found:
                self._hold(stored, None)
            self._backlog += since
            if found:
                spans = sum(stored.spans for stored in found)
                self._logger.info("spans that are stored are sent", spans=spans, requests=len(found))
            await asyncio.Event().wait()

    async def _feed(self, log: Log) -> None:
        """Read what waits on disk, one after the other, as the window has room."""
        while True:
            while not self._backlog:
                self._feeding = False
                self._fed.set()
                self._wake.clear()
                await self._wake.wait()
            self._feeding = True
            stored = self._backlog[0]
            try:
                record = await log.read(stored.number)
                batch = None if record is None else unpack(record, self._envelopes)
            except StorageUnavailable:
                await asyncio.sleep(_RETRY)
                continue
            except ValueError as error:
                self._logger.warning("a stored request cannot be read; it stays where it is", error=str(error))
                batch = None
            if batch is not None:
                await self._window.take(self._consignment(stored, batch), blocking=True)
            else:
                self._forget(stored)
            self._backlog.remove(stored)
