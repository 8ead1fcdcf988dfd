"""The journal: requests are stored before they are acknowledged, verdicts before the first span leaves.

Four logs of one store. `requests` holds what was accepted, until it is settled. `judged` holds the verdicts of each parcel
of traces, `done` the numbers of those that were handed on: a mark is on disk before any request of its parcel is
removed, so that a replay never sees half a trace as a whole one. Once all requests of a parcel are gone, only its
decisions are kept, in `decisions`, for spans that come later.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final

from otel_tracead import metrics
from otel_tracead.component import Settings
from otel_tracead.errors import StartError, TooLarge
from otel_tracead.log_limit import LogLimiter
from otel_tracead.processors.tracead.journaled import Journaled, Logs, OfParcel
from otel_tracead.processors.tracead.judged import StoredRequest, Verdicts
from otel_tracead.processors.tracead.kept_decisions import KeptDecisions
from otel_tracead.processors.tracead.parcels import Parcel
from otel_tracead.processors.tracead.recovery import Recovery, Restored
from otel_tracead.storage import StorageUnavailable, Store
from otel_tracead.traces.late import Decision
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.stored import pack

_CLAIM_SECONDS: Final = 5.0
_PATIENCE: Final = 5.0  # what a disk that hangs may hold spans up for
_PAUSE: Final = 1.0  # between two tries, and for senders while the disk fails


class Journal:
    """What the processor keeps on disk.

    Args:
        store: the processor's own.
        settings: id, telemetry, logger.
        decision_cache: how many decisions to keep, at least.
    """

    def __init__(self, store: Store, settings: Settings, decision_cache: int) -> None:
        counter, label = settings.telemetry.counter, settings.id
        self._failures = {what: counter(metrics.JOURNAL_FAILURES, label, what) for what in ("write", "read")}
        self._log = LogLimiter(settings.logger)
        self._store = store
        self._settings = settings
        self._logs = Logs.of(store)
        self._kept = KeptDecisions(self._logs, decision_cache)
        self._recovery = Recovery(self._logs, self._kept, self._request, self._hold, self._failures["read"], self._log)
        self._owned = AsyncExitStack()
        self._living = 0  # requests that are not settled
        self._under_way = 0  # parcels, from their verdicts' storing to their settling
        self._gone: list[int] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._failing: list[Journaled] = []
        self._closing = False
        self._refusing_until = 0.0
        settings.telemetry.observe(metrics.JOURNAL_REQUESTS, lambda: self._living, label)

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
            await self._recovery.read()
        except StorageUnavailable as error:
            raise StartError(f"its storage cannot be read: {error}") from error

    @property
    def decisions(self) -> Sequence[tuple[bytes, Decision]]:
        """What `open` found, the oldest first."""
        return self._recovery.decisions

    def restored(self) -> AsyncIterator[Restored]:
        """Go through the requests that were stored and not settled; see `Recovery.restored`."""
        return self._recovery.restored()

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
            number = await self._logs.requests.append(pack(batch))
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
        self._kept.enough = decision_cache

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
        for judged in self._recovery.waiting_for(number):
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
            self._logs.requests.remove(gone)

    def _enter(self, parcel: Parcel, verdicts: Verdicts) -> Journaled:
        judged = Journaled(verdicts.decisions, verdicts.record)
        parcel.verdicts = None
        for delivery, _ in parcel.holds:
            if isinstance(delivery, StoredRequest):
                judged.requests += 1
                delivery.listeners.append(partial(self._one_less, judged))
        self._hold(parcel, judged)
        return judged

    def _hold(self, parcel: Parcel, judged: Journaled) -> None:
        judged.holds = parcel.holds
        parcel.holds = ((OfParcel(partial(self._handed_on, judged)), 1),)
        self._under_way += 1

    async def _write(self, judged: Journaled) -> None:
        """Bring what is to be known of a parcel onto the disk: its verdicts, and later that it was handed on."""
        try:
            if judged.number is None:
                judged.number = await self._logs.judged.append(judged.record)
                judged.record = b""
            if judged.handed_on:
                judged.done = await self._logs.done.append(b"", judged.number)
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

    def _handed_on(self, judged: Journaled) -> None:
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

    def _give_back(self, judged: Journaled) -> None:
        holds, judged.holds = judged.holds, ()
        for delivery, count in holds:
            delivery.settle(count)
        if self._closing:
            self._remove_gone()

    def _one_less(self, judged: Journaled) -> None:
        judged.requests -= 1
        if judged.requests == 0:
            self._close(judged)

    def _close(self, judged: Journaled) -> None:
        self._kept.add(judged)
        if not self._closing and self._kept.due:
            self._spawn(self._write_decisions())

    async def _write_decisions(self) -> None:
        self._remove_gone()
        try:
            await self._kept.write()
        except StorageUnavailable as error:
            self._trouble(error)

    def _trouble(self, error: StorageUnavailable) -> None:
        self._failures["write"].add()
        self._refusing_until = time.monotonic() + _PAUSE
        self._log.warning("the storage does not take records", error=str(error))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
