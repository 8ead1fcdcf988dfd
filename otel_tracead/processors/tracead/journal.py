"""The journal: requests are stored before they are acknowledged, verdicts before the first span leaves.

Four logs of one store. `requests` holds what was accepted, until it is settled. `judged` holds the verdicts of each parcel
of traces, `done` the numbers of those that were handed on: a mark is on disk before any request of its parcel is
removed, so that a replay never sees half a trace as a whole one. Once all requests of a parcel are gone, only its
decisions are kept, in `decisions`, for spans that come later.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from otel_tracead import telemetry
from otel_tracead.component import Settings
from otel_tracead.delivery import Delivery
from otel_tracead.errors import StartError, TooLarge
from otel_tracead.log_limit import LogLimiter
from otel_tracead.processors.tracead.judged import (
    JudgedParcel,
    StoredRequest,
    Verdicts,
    count_decisions,
    pack_decisions,
    read_judged,
    unpack_decisions,
)
from otel_tracead.processors.tracead.parcels import Parcel
from otel_tracead.processors.tracead.replay import Again, Replay
from otel_tracead.storage import Entry, Log, StorageUnavailable, Store
from otel_tracead.traces.late import Decision
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.otlp import Envelopes
from otel_tracead.wire.stored import pack, unpack

FoundT = TypeVar("FoundT")

_CLAIM_SECONDS: Final = 5.0
_PATIENCE: Final = 5.0  # what a disk that hangs may hold spans up for
_PAUSE: Final = 1.0  # between two tries, and for senders while the disk fails
_READ_TOGETHER: Final = 8 << 20  # bytes
_COMPACTED: Final = 4096  # traces


@dataclass(slots=True, eq=False)
class _Judged:
    """A parcel of judged traces, from its verdicts' way to the disk until only their decisions are kept.

    Attributes:
        decisions: packed.
        record: until it is on disk, or has turned out to be too large for it.
        number: of the record, once it is there.
        handed_on: whether all of its spans are.
        done: the number of the mark that says so, once it is on disk.
        holds: on the requests, given back then.
        requests: how many of them are not yet gone.
    """

    decisions: bytes
    record: bytes = b""
    number: int | None = None
    handed_on: bool = False
    done: int | None = None
    holds: Sequence[tuple[Delivery, int]] = ()
    requests: int = 0

    @property
    def traces(self) -> int:
        """How many there are."""
        return count_decisions(self.decisions)


class _OfParcel(Delivery):
    """What a parcel is settled by, for all of its requests."""

    __slots__ = ()

    @property
    def kept(self) -> bool:
        """Yes: in the journal, or where the spans came from."""
        return True


@dataclass(slots=True)
class Restored:
    """What follows from a request that was stored before the process began.

    Attributes:
        request: to be settled by whoever takes it; None if it cannot be read.
        spans: those of it that come as if they had just arrived.
        again: parcels that were judged and are to be handed on, perhaps once more.
        left: how many of its spans were handed on.
    """

    request: StoredRequest | None
    spans: SpanBatch
    again: list[Parcel]
    left: int


@dataclass(slots=True)
class _Found:
    """What the logs held at the start."""

    requests: list[Entry] = field(default_factory=list)
    waiting_for: dict[int, list[_Judged]] = field(default_factory=dict)  # by request
    again: dict[int, _Judged] = field(default_factory=dict)  # by record


class Journal:
    """What the processor keeps on disk.

    Args:
        store: the processor's own.
        settings: id, telemetry, logger.
        decision_cache: how many decisions to keep, at least.

    Attributes:
        decisions: found by `open`, the oldest first.
    """

    def __init__(self, store: Store, settings: Settings, decision_cache: int) -> None:
        self.decisions: list[tuple[bytes, Decision]] = []
        self._replay = Replay((), (), ())
        self._store = store
        self._settings = settings
        self._decision_cache = decision_cache
        self._requests: Log = store.log("requests")
        self._judged: Log = store.log("judged")
        self._done: Log = store.log("done")
        self._decisions: Log = store.log("decisions")
        self._owned = AsyncExitStack()
        self._envelopes = Envelopes()
        self._found = _Found()
        self._living = 0  # requests that are not settled
        self._under_way = 0  # parcels, from their verdicts' storing to their settling
        self._gone: list[int] = []
        self._closed: list[_Judged] = []
        self._closed_traces = 0
        self._kept: deque[tuple[int, int]] = deque()  # records of decisions: number, traces
        self._tasks: set[asyncio.Task[None]] = set()
        self._failing: list[_Judged] = []
        self._closing = False
        self._refusing_until = 0.0
        self._log = LogLimiter(settings.logger)
        counter, label = settings.telemetry.counter, settings.id
        self._failures = {what: counter(telemetry.JOURNAL_FAILURES, label, what) for what in ("write", "read")}
        settings.telemetry.observe(telemetry.JOURNAL_REQUESTS, lambda: self._living, label)

    async def open(self) -> None:
        """Take over what is stored, and read all of it but the spans.

        Raises:
            StartError: somebody else has it, or the disk does not answer.
        """
        try:
            async with asyncio.timeout(_CLAIM_SECONDS):
                await self._owned.enter_async_context(self._store.claim())
        except TimeoutError:
            raise StartError(
                "its storage still belongs to the one before, whose spans are on their way; try again later"
            ) from None
        try:
            await self._read_all()
        except StorageUnavailable as error:
            raise StartError(f"its storage cannot be read: {error}") from error

    async def restored(self) -> AsyncIterator[Restored]:
        """Go through the requests that were stored and not settled, in their order; wait for a disk that fails."""
        found, self._found.requests = self._found.requests, []
        for entries in _together(found):
            records = await self._read_back([entry.number for entry in entries])
            for entry, record in zip(entries, records, strict=True):
                yield self._restored(entry.number, record)

    async def _read_back(self, numbers: Sequence[int]) -> list[bytes | None]:
        while True:
            try:
                return await asyncio.gather(*(self._requests.read(number) for number in numbers))
            except StorageUnavailable as error:
                self._failures["read"].add()
                self._log.warning("the storage does not give records; they are asked for again", error=str(error))
                await asyncio.sleep(_PAUSE)

    def _restored(self, number: int, record: bytes | None) -> Restored:
        try:
            batch = unpack(record or b"", self._envelopes)
        except ValueError as error:
            if record is None:  # the store has said so, and has it no more
                self._failures["read"].add()
                self._request(number).settle()
            else:
                self._unreadable("requests", number, error)
            again = self._replay.missing(number)
            return Restored(None, SpanBatch([]), [self._again(one) for one in again], 0)
        request = self._request(number)
        found = self._replay.take(request, batch)
        return Restored(request, found.rest, [self._again(one) for one in found.again], found.left)

    def _again(self, again: Again) -> Parcel:
        parcel = again.parcel()
        self._hold(parcel, self._found.again.pop(again.number))
        return parcel

    def admit(self) -> None:
        """Say whether the disk worked when it was last tried.

        Raises:
            StorageUnavailable: it did not, a moment ago.
        """
        if self._refusing_until and time.monotonic() < self._refusing_until:
            raise StorageUnavailable(f"{self._settings.id}: the storage does not work", _PAUSE)

    async def put(self, batch: SpanBatch) -> StoredRequest:
        """Store a request.

        Raises:
            StorageUnavailable: it is not stored.
            TooLarge: it never will be.
        """
        try:
            number = await self._requests.append(pack(batch))
        except StorageUnavailable as error:
            self._trouble(error)
            raise
        self._refusing_until = 0.0
        return self._request(number)

    async def judged(self, parcels: Iterable[Parcel]) -> None:
        """Store the verdicts of *parcels*, and see to it that their requests stay until all of them are handed on.

        What the disk does not take, or not in time, is stored later; spans are not held up for it. Until then a crash has
        those traces judged again, as whole as they were, since their requests stay as long.
        """
        entered = [self._enter(parcel, parcel.verdicts) for parcel in parcels if parcel.verdicts is not None]
        writing = [self._spawn(self._write(judged)) for judged in entered]
        if writing:
            await asyncio.wait(writing, timeout=_PATIENCE)

    def follow(self, decision_cache: int) -> None:
        """Keep another number of decisions from now on."""
        self._decision_cache = decision_cache

    async def close(self) -> None:
        """Finish what is being written, as long as the disk takes it; what is settled later is still noted."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_PATIENCE)
        self._closing = True
        await self._let_go()

    async def _let_go(self) -> None:
        """Let a successor have the store, once nothing of ours is on its way."""
        if not self._under_way:
            await self._owned.aclose()

    def _request(self, number: int) -> StoredRequest:
        self._living += 1
        request = StoredRequest(number, self._settled)
        for judged in self._found.waiting_for.pop(number, ()):
            request.listeners.append(partial(self._one_less, judged))
        return request

    def _settled(self, request: StoredRequest) -> None:
        self._living -= 1
        if not self._gone:
            asyncio.get_running_loop().call_soon(self._remove_gone)
        self._gone.append(request.number)
        for listener in request.listeners:
            listener()

    def _remove_gone(self) -> None:
        gone, self._gone = self._gone, []
        if gone:
            self._requests.remove(gone)

    def _enter(self, parcel: Parcel, verdicts: Verdicts) -> _Judged:
        judged = _Judged(verdicts.decisions, verdicts.record)
        parcel.verdicts = None
        for delivery, _ in parcel.holds:
            if isinstance(delivery, StoredRequest):
                judged.requests += 1
                delivery.listeners.append(partial(self._one_less, judged))
        self._hold(parcel, judged)
        return judged

    def _hold(self, parcel: Parcel, judged: _Judged) -> None:
        judged.holds = parcel.holds
        parcel.holds = ((_OfParcel(partial(self._handed_on, judged)), 1),)
        self._under_way += 1

    async def _write(self, judged: _Judged) -> None:
        """Bring what is to be known of a parcel onto the disk: its verdicts, and later that it was handed on."""
        try:
            if judged.number is None:
                judged.number = await self._judged.append(judged.record)
                judged.record = b""
            if judged.handed_on:
                judged.done = await self._done.append(b"", judged.number)
                self._give_back(judged)
        except StorageUnavailable as error:
            self._trouble(error)
            if not self._failing:
                self._spawn(self._try_again())
            self._failing.append(judged)
        except TooLarge as error:
            self._failures["write"].add()
            self._log.error("verdicts are too large to be stored", traces=judged.traces, error=str(error))
            judged.record = b""
            if judged.handed_on:
                self._give_back(judged)

    async def _try_again(self) -> None:
        await asyncio.sleep(_PAUSE)
        failing, self._failing = self._failing, []
        for judged in failing:
            await self._write(judged)

    def _handed_on(self, judged: _Judged) -> None:
        self._under_way -= 1
        judged.handed_on = True
        if judged.number is None:
            if not judged.record:
                self._give_back(judged)
            return  # else whoever writes it sees to it
        self._spawn(self._write(judged))
        if self._closing:
            # The store may be closed any moment: what is to be done is said at once, in its order.
            asyncio.get_running_loop().call_soon(self._give_back, judged)
            self._spawn(self._let_go())

    def _give_back(self, judged: _Judged) -> None:
        holds, judged.holds = judged.holds, ()
        for delivery, count in holds:
            delivery.settle(count)
        if self._closing:
            self._remove_gone()

    def _one_less(self, judged: _Judged) -> None:
        judged.requests -= 1
        if judged.requests == 0:
            self._close(judged)

    def _close(self, judged: _Judged) -> None:
        self._closed.append(judged)
        self._closed_traces += judged.traces
        if not self._closing and self._closed_traces >= min(_COMPACTED, self._decision_cache):
            self._spawn(self._compact())

    async def _compact(self) -> None:
        """Keep of closed parcels their decisions only."""
        closed, self._closed = self._closed, []
        traces, self._closed_traces = self._closed_traces, 0
        if not closed:
            return
        self._remove_gone()
        try:
            number = await self._decisions.append(b"".join(judged.decisions for judged in closed), traces)
        except StorageUnavailable as error:
            self._trouble(error)
            self._closed = closed + self._closed
            self._closed_traces += traces
            return
        self._judged.remove([judged.number for judged in closed if judged.number is not None])
        self._done.remove([judged.done for judged in closed if judged.done is not None])
        self._kept.append((number, traces))
        self._forget_old()

    def _forget_old(self) -> None:
        kept = sum(traces for _, traces in self._kept)
        while self._kept and kept - self._kept[0][1] >= self._decision_cache:
            number, traces = self._kept.popleft()
            kept -= traces
            self._decisions.remove([number])

    async def _read_all(self) -> None:
        requests = await self._requests.entries()
        marks = {entry.note: entry.number for entry in await self._done.entries()}
        for entry in await self._decisions.entries():
            self._kept.append((entry.number, entry.note))
            self.decisions += await self._read(self._decisions, "decisions", entry.number, unpack_decisions) or ()
        stored = {entry.number for entry in requests}
        parcels: list[tuple[int, JudgedParcel]] = []
        entries = await self._judged.entries()
        for entry in entries:
            parcel = await self._read(self._judged, "judged", entry.number, read_judged)
            if parcel is not None:
                parcels.append((entry.number, parcel))
                self.decisions += parcel.decisions()
                self._take_over(entry.number, parcel, marks.get(entry.number), stored)
        del self.decisions[: -self._decision_cache]
        self._done.remove([marks[number] for number in marks.keys() - {entry.number for entry in entries}])
        self._replay = Replay(parcels, marks, stored)
        self._found.requests = list(requests)

    def _take_over(self, number: int, parcel: JudgedParcel, done: int | None, stored: set[int]) -> None:
        judged = _Judged(pack_decisions(parcel.decisions()), number=number, done=done)
        requests = parcel.requests() & stored
        judged.requests = len(requests)
        for request in requests:
            self._found.waiting_for.setdefault(request, []).append(judged)
        if not requests:
            self._closed.append(judged)
            self._closed_traces += judged.traces
        elif done is None:
            self._found.again[number] = judged

    async def _read(self, log: Log, name: str, number: int, read: Callable[[bytes], FoundT]) -> FoundT | None:
        record = await log.read(number)
        if record is None:  # the store has said so
            self._failures["read"].add()
            return None
        try:
            return read(record)
        except ValueError as error:
            self._unreadable(name, number, error)
            return None

    def _unreadable(self, log: str, number: int, error: ValueError) -> None:
        """Say that a record makes no sense; it stays where it is, for a version that can read it."""
        self._failures["read"].add()
        self._log.error("a stored record cannot be read and is left out", log=log, number=number, error=str(error))

    def _trouble(self, error: StorageUnavailable) -> None:
        self._failures["write"].add()
        self._refusing_until = time.monotonic() + _PAUSE
        self._log.warning("the storage does not take records", error=str(error))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _together(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Cut *entries* into runs that are read together."""
    run: list[Entry] = []
    size = 0
    for entry in entries:
        if run and size + entry.size > _READ_TOGETHER:
            yield run
            run, size = [], 0
        run.append(entry)
        size += entry.size
    if run:
        yield run
