"""Twins in memory for tests, ours and those of people who write components."""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from otel_tracead.component import Kind
from otel_tracead.delivery import Consignment
from otel_tracead.storage import Entry, StorageUnavailable
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


class MemoryLog:
    """A log of a `MemoryStore`; see `otel_tracead.storage.Log`."""

    def __init__(self, store: "MemoryStore", name: str) -> None:
        self._store = store
        self._name = name

    async def append(self, record: bytes, note: int = 0) -> int:
        """Store *record*, with whatever else is appended now.

        Raises:
            StorageUnavailable: the test says so.
        """
        return await self._store.do_append(self._name, record, note)

    def remove(self, numbers: Iterable[int]) -> None:
        """Forget records."""
        self._store.do_remove(self._name, numbers)

    async def entries(self) -> Sequence[Entry]:
        """Give what is stored."""
        return [entry for entry, _ in self._store.records[self._name].values()]

    async def read(self, number: int) -> bytes | None:
        """Give a record, None if it is gone or damaged.

        Raises:
            StorageUnavailable: the test says so.
        """
        if (self._name, number) in self._store.hidden:
            raise StorageUnavailable("the disk does not answer")
        found = self._store.records[self._name].get(number)
        return None if found is None or (self._name, number) in self._store.damaged else found[1]


class MemoryStore:
    """A store whose disk is one list of what was done to its logs: a crash keeps a beginning of it.

    Attributes:
        records: what is stored, by log and number.
        damaged: (log, number) of records that can no longer be read.
        hidden: (log, number) of records that the disk does not give now.
        failure: what `append` raises from now on, if anything.
        gate: clear it to make `append` wait.
    """

    def __init__(self) -> None:
        self.records: defaultdict[str, dict[int, tuple[Entry, bytes]]] = defaultdict(dict)
        self.damaged: set[tuple[str, int]] = set()
        self.hidden: set[tuple[str, int]] = set()
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self._done: list[tuple[str, Entry, bytes | None]] = []  # None: it was removed
        self._durable = 0
        self._last = 0
        self._owned = asyncio.Lock()

    def log(self, name: str) -> MemoryLog:
        """Give the log of that name."""
        return MemoryLog(self, name)

    @asynccontextmanager
    async def claim(self) -> AsyncIterator[None]:
        """Own the records, once the owner before has let them go."""
        async with self._owned:
            yield

    def crash(self, more: int = 0) -> "MemoryStore":
        """Give what whoever starts next finds: all that was known to be durable, and the first *more* of the rest.

        What the dead do to this store afterwards changes nothing there.
        """
        found = MemoryStore()
        for log, entry, record in self._done[: self._durable + more]:
            found._note(log, entry, record)
        found._durable = len(found._done)
        found._last = self._last
        found.damaged |= self.damaged
        return found

    async def do_append(self, log: str, record: bytes, note: int) -> int:
        """See `MemoryLog.append`."""
        if self.failure is not None:
            raise self.failure
        self._last += 1
        self._note(log, Entry(self._last, note, len(record)), bytes(record))
        number, position = self._last, len(self._done)
        try:
            await asyncio.sleep(0)
            await self.gate.wait()
        except asyncio.CancelledError:
            self.do_remove(log, [number])
            raise
        self._durable = max(self._durable, position)
        return number

    def do_remove(self, log: str, numbers: Iterable[int]) -> None:
        """See `MemoryLog.remove`."""
        for number in numbers:
            self._note(log, Entry(number, 0, 0), None)

    def _note(self, log: str, entry: Entry, record: bytes | None) -> None:
        self._done.append((log, entry, record))
        if record is None:
            self.records[log].pop(entry.number, None)
        else:
            self.records[log][entry.number] = (entry, record)


class MemoryStorage:
    """An extension that keeps what components store for as long as the object lives.

    Attributes:
        stores: by kind, id of the component and name.
    """

    def __init__(self) -> None:
        self.stores: dict[tuple[Kind, str, str], MemoryStore] = {}

    def store(self, kind: Kind, component: str, name: str = "") -> MemoryStore:
        """Give the store of a component."""
        return self.stores.setdefault((kind, component, name), MemoryStore())

    def crash(self, more: int = 0) -> "MemoryStorage":
        """Give what whoever starts next finds; see `MemoryStore.crash`."""
        found = MemoryStorage()
        found.stores = {whose: store.crash(more) for whose, store in self.stores.items()}
        return found

    async def start(self) -> None:
        """Start."""

    async def shutdown(self) -> None:
        """Stop."""
