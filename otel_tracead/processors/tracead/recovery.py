"""What the journal held at the start: verdicts at once, requests one after the other as they are asked for."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from otel_tracead.log_limit import LogLimiter
from otel_tracead.processors.tracead.journaled import Journaled, Logs
from otel_tracead.processors.tracead.judged import (
    JudgedParcel,
    StoredRequest,
    pack_decisions,
    read_judged,
    unpack_decisions,
)
from otel_tracead.processors.tracead.kept_decisions import KeptDecisions
from otel_tracead.processors.tracead.parcels import Parcel
from otel_tracead.processors.tracead.replay import Again, Replay
from otel_tracead.storage import Entry, Log, StorageUnavailable
from otel_tracead.telemetry import Counter
from otel_tracead.traces.late import Decision
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.otlp import Envelopes
from otel_tracead.wire.stored import unpack

FoundT = TypeVar("FoundT")

_PAUSE: Final = 1.0
"""Seconds between two tries."""
_READ_TOGETHER: Final = 8 << 20
"""Bytes of requests."""


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


class Recovery:
    """Reads what there is.

    Args:
        logs: the journal's.
        kept: is told of what is there of former parcels.
        take: makes the request of a number.
        hold: lets the journal have a parcel that goes out again.
        failures: counts what cannot be read.
        log: for what cannot be read.

    Attributes:
        decisions: found by `read`, the oldest first.
    """

    def __init__(
        self,
        logs: Logs,
        kept: KeptDecisions,
        take: Callable[[int], StoredRequest],
        hold: Callable[[Parcel, Journaled], None],
        failures: Counter,
        log: LogLimiter,
    ) -> None:
        self.decisions: list[tuple[bytes, Decision]] = []
        self._logs = logs
        self._kept = kept
        self._take = take
        self._hold = hold
        self._failures = failures
        self._log = log
        self._envelopes = Envelopes()
        self._replay = Replay((), (), ())
        self._requests: list[Entry] = []
        self._waiting_for: dict[int, list[Journaled]] = {}  # by request
        self._again: dict[int, Journaled] = {}  # by record

    async def read(self) -> None:
        """Read all that is stored but the spans.

        Raises:
            StorageUnavailable: the disk does not answer.
        """
        requests = await self._logs.requests.entries()
        marks = {entry.note: entry.number for entry in await self._logs.done.entries()}
        for entry in await self._logs.decisions.entries():
            self._kept.found(entry.number, entry.note)
            self.decisions += await self._read(self._logs.decisions, "decisions", entry.number, unpack_decisions) or ()
        stored = {entry.number for entry in requests}
        parcels: list[tuple[int, JudgedParcel]] = []
        entries = await self._logs.judged.entries()
        for entry in entries:
            parcel = await self._read(self._logs.judged, "judged", entry.number, read_judged)
            if parcel is not None:
                parcels.append((entry.number, parcel))
                self.decisions += parcel.decisions()
                self._take_over(entry.number, parcel, marks.get(entry.number), stored)
        del self.decisions[: -self._kept.enough]
        self._logs.done.remove([marks[number] for number in marks.keys() - {entry.number for entry in entries}])
        self._replay = Replay(parcels, marks, stored)
        self._requests = list(requests)

    def waiting_for(self, number: int) -> Sequence[Journaled]:
        """Give the parcels that have spans of a request."""
        return self._waiting_for.pop(number, ())

    async def restored(self) -> AsyncIterator[Restored]:
        """Go through the requests that were stored and not settled, in their order; wait for a disk that fails."""
        requests, self._requests = self._requests, []
        for entries in _together(requests):
            records = await self._read_back([entry.number for entry in entries])
            for entry, record in zip(entries, records, strict=True):
                yield self._restored(entry.number, record)

    async def _read_back(self, numbers: Sequence[int]) -> list[bytes | None]:
        while True:
            try:
                return await asyncio.gather(*(self._logs.requests.read(number) for number in numbers))
            except StorageUnavailable as error:
                self._failures.add()
                self._log.warning("the storage does not give records; they are asked for again", error=str(error))
                await asyncio.sleep(_PAUSE)

    def _restored(self, number: int, record: bytes | None) -> Restored:
        try:
            batch = unpack(record or b"", self._envelopes)
        except ValueError as error:
            if record is None:  # the store has said so, and has it no more
                self._failures.add()
                self._take(number).settle()
            else:
                self._unreadable("requests", number, error)
            again = self._replay.missing(number)
            return Restored(None, SpanBatch([]), [self._parcel(one) for one in again], 0)
        request = self._take(number)
        found = self._replay.take(request, batch)
        return Restored(request, found.rest, [self._parcel(one) for one in found.again], found.left)

    def _parcel(self, again: Again) -> Parcel:
        parcel = again.parcel()
        self._hold(parcel, self._again.pop(again.number))
        return parcel

    def _take_over(self, number: int, parcel: JudgedParcel, done: int | None, stored: set[int]) -> None:
        judged = Journaled(pack_decisions(parcel.decisions()), number=number, done=done)
        requests = parcel.requests() & stored
        judged.requests = len(requests)
        for request in requests:
            self._waiting_for.setdefault(request, []).append(judged)
        if not requests:
            self._kept.add(judged)
        elif done is None:
            self._again[number] = judged

    async def _read(self, log: Log, name: str, number: int, read: Callable[[bytes], FoundT]) -> FoundT | None:
        record = await log.read(number)
        if record is None:  # the store has said so
            self._failures.add()
            return None
        try:
            return read(record)
        except ValueError as error:
            self._unreadable(name, number, error)
            return None

    def _unreadable(self, log: str, number: int, error: ValueError) -> None:
        """Say that a record makes no sense; it stays where it is, for a version that can read it."""
        self._failures.add()
        self._log.error("a stored record cannot be read and is left out", log=log, number=number, error=str(error))


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
