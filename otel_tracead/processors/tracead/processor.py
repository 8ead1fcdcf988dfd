"""The processor `tracead`: the shell around the assembler and the detector, with its timer and its queues.

One way through: `consume` gives spans to the assembler, released traces queue to be judged, what comes of that queues
for the next consumer. Nothing that was accepted is dropped: a full next consumer makes the queues grow up to a bound,
and the bound makes `admit` refuse.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final

from otel_tracead.component import Consumer, Settings, wants_originals
from otel_tracead.delivery import Consignment, Delivery
from otel_tracead.errors import Backpressure, ConfigError
from otel_tracead.processors.tracead.bounds import Bounds
from otel_tracead.processors.tracead.config import TraceadConfig
from otel_tracead.processors.tracead.counts import Counts
from otel_tracead.processors.tracead.forwarding import Forwarder
from otel_tracead.processors.tracead.journal import Journal
from otel_tracead.processors.tracead.judged import StoredRequest
from otel_tracead.processors.tracead.judging import Judging
from otel_tracead.processors.tracead.model import Models
from otel_tracead.processors.tracead.parcels import Parcel
from otel_tracead.processors.tracead.recording import Recorder
from otel_tracead.processors.tracead.released import ReleasedTraces
from otel_tracead.processors.tracead.restoring import restore
from otel_tracead.processors.tracead.scoring import Rules, Scored, pass_invalid, pass_late
from otel_tracead.processors.tracead.supply import ModelSupply
from otel_tracead.storage import NotStored, find_storage
from otel_tracead.traces.assembler import Assembler, Late
from otel_tracead.traces.release import ReleasePolicy
from otel_tracead.traces.trace import Trace
from otel_tracead.wire.batch import SpanBatch

_TICK: Final = 0.2  # seconds; at 20,000 spans a second it makes batches on which calls into numpy cost little a span
_STOOD_STILL: Final = 1.0  # seconds that nothing ran for: SIGSTOP, a machine that slept
_CATCH_UP: Final = 0.5


class TraceadProcessor:
    """Gathers traces, has them judged, and hands them on annotated.

    Args:
        config: what the user wrote.
        settings: id, telemetry, logger.
        consumer: who gets the spans.
        models: where the model comes from.
        bounds: other than the usual ones.

    Attributes:
        undelivered: spans that the shutdown left behind, and that nobody keeps.

    Raises:
        ConfigError: the storage that *config* names is none.
    """

    def __init__(
        self,
        config: TraceadConfig,
        settings: Settings,
        consumer: Consumer,
        models: Models,
        bounds: Bounds | None = None,
    ) -> None:
        self.undelivered = 0
        self._config = config
        self._settings = settings
        self._bounds = bounds or Bounds()
        self._supply = ModelSupply(config, settings, models, self._bounds.look_seconds)
        self._rules = Rules.of(config)
        self._assembler = Assembler(config.release_policy)
        self._next = consumer
        self._forwarder = Forwarder(consumer, settings, self._handed_on)
        self._storage = None if config.storage is None else find_storage(settings, config.storage, "storage")
        self._journal: Journal | None = None
        self._gathers_stored = False  # spans of former days: only when all are there is any trace whole
        self._judging: Judging | None = None
        self._recorder: Recorder | None = None
        self._released = ReleasedTraces(self._bounds.batch_spans, self._bounds.batch_bytes)
        self._released_spans = 0  # ever; with those of late and invalid spans
        self._empty = asyncio.Event()
        self._timer: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._accepting = False
        self._counts = Counts(settings, self._assembler, self._pending)

    @property
    def originals(self) -> bool:
        """See `wants_originals`."""
        return wants_originals(self._next)

    async def start(self) -> None:
        """Load the model and start to work.

        Raises:
            ArtifactError: there is no such model, or it is refused.
            StartError: the storage cannot be opened or read.
        """
        detector = await self._supply.first()
        if self._storage is not None:
            store = self._storage.store(self._settings.kind, self._settings.id, self._settings.pipeline)
            self._journal = Journal(store, self._settings, self._config.decision_cache)
            await self._journal.open()
        judging = Judging(detector, self._rules, self._settings, self._bounds.patience)
        self._judging = judging
        self._supply.serve(judging)
        self._recorder = self._recording(self._config)
        work = (partial(self._judge_released, judging), self._forwarder.run, self._supply.watch)
        self._tasks = [self._task(one) for one in work]
        if self._journal is None:
            self._begin()
        else:
            self._gathers_stored = True
            replay = self._task(partial(self._restore, self._journal))
            self._tasks.append(replay)
            await asyncio.wait([replay], timeout=self._bounds.replay_seconds)

    def _begin(self) -> None:
        self._timer = self._task(self._release_when_due)
        self._accepting = True

    @asynccontextmanager
    async def revision(self, config: TraceadConfig, settings: Settings) -> AsyncIterator[None]:
        """Go on with another configuration; open traces stay open (see `otel_tracead.component.Revisable`).

        Raises:
            ArtifactError: there is no such model, or it is refused.
            ConfigError: the storage is another one.
        """
        if self._journal is not None or config.storage is not None:
            self._same_storage(config, settings)
        follow = await self._supply.prepare(config)
        yield
        follow()
        if config == self._config or self._judging is None:
            return
        before, self._config = self._config, config
        self._rules = self._judging.rules = Rules.of(config)
        self._assembler.follow(self._policy())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self._task(self._release_when_due)
        if self._journal is not None:
            self._journal.follow(config.decision_cache)
        if config.record != before.record:
            old, self._recorder = self._recorder, self._recording(config)
            if old is not None:
                self._tasks.append(self._task(partial(asyncio.to_thread, old.close)))

    def admit(self, spans: int) -> None:
        """Say whether *spans* spans would be taken now.

        Raises:
            Backpressure: the processor is not running, or too many spans wait for the next consumer; with a storage,
                this is `NotStored`.
            StorageUnavailable: the disk did not work a moment ago.
        """
        refusal = Backpressure if self._journal is None else NotStored
        if not self._accepting:
            what = "still reads what is stored" if self._gathers_stored else "is not running"
            raise refusal(f"{self._settings.id} {what}")
        if self._pending() >= self._bounds.pending_spans:
            raise refusal(f"{self._settings.id}: too many spans wait for the next consumer ({spans} refused)")
        if self._journal is not None:
            self._journal.admit()

    async def consume(self, consignment: Consignment) -> None:
        """Take spans; those of decided traces and without valid ids go on at once.

        Raises:
            Backpressure: as `admit`.
            StorageUnavailable: the spans could not be stored.
        """
        spans = len(consignment.batch)
        self.admit(spans)
        if self._journal is None or consignment.kept:
            self._counts.incoming.add(spans)
            self._add(consignment.batch, _one_delivery(consignment))
            return
        request = await self._journal.put(consignment.batch)
        self._counts.incoming.add(spans)
        if self._accepting:  # else it is for whoever starts next
            self._add(consignment.batch, request)
        consignment.settle()

    def _add(self, batch: SpanBatch, delivery: Delivery) -> None:
        added = self._assembler.add(batch, delivery, time.monotonic())
        if isinstance(delivery, StoredRequest):
            delivery.note_cuts(added.released, batch, self._assembler.waiting)
        self._take(added.released)
        self._pass_late(added.late)
        if added.invalid.spans:
            self._pass(pass_invalid(added.invalid))
        delivery.settle()

    async def shutdown(self) -> None:
        """Release, judge and hand on everything, within `shutdown_timeout`; count what is left."""
        self._accepting = False
        judging, self._judging = self._judging, None
        if judging is None:
            return
        if not self._gathers_stored:
            self._take(self._assembler.drain(time.monotonic()))
        judging.hurry(self._config.shutdown_timeout / 2)
        try:
            async with asyncio.timeout(self._config.shutdown_timeout):
                while self._pending():
                    self._empty.clear()
                    await self._empty.wait()
        except TimeoutError:
            self._left_behind(self._pending())
        tasks = [task for task in (self._timer, *self._tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        judging.close()
        if self._journal is not None:
            await self._journal.close()
        if self._recorder is not None:
            await asyncio.to_thread(self._recorder.close)

    def _left_behind(self, spans: int) -> None:
        logger = self._settings.logger
        if self._journal is None:
            self.undelivered = spans
            logger.error("spans could not be handed on before shutdown_timeout", spans=spans)
        else:
            logger.warning("spans could not be handed on before shutdown_timeout and stay in the storage", spans=spans)

    async def _restore(self, journal: Journal) -> None:
        self._assembler.decide(journal.decisions)
        self._assembler.follow(self._policy())
        await restore(
            journal,
            self._settings,
            lambda parcel: self._pass(Scored([parcel], Counter())),
            self._add,
            lambda: self._pending() >= self._bounds.pending_spans,
        )
        if self._judging is None:
            return  # it is shutting down: what was gathered is for whoever starts next
        self._gathers_stored = False
        self._assembler.follow(self._policy())
        self._begin()

    def _policy(self) -> ReleasePolicy:
        """Say when traces are released: while stored spans are gathered none is, for want of room, before it is whole."""
        policy = self._config.release_policy
        return replace(policy, num_traces=sys.maxsize) if self._gathers_stored else policy

    def _same_storage(self, config: TraceadConfig, settings: Settings) -> None:
        if config.storage != self._config.storage:
            raise ConfigError(["storage: a reload cannot change it, since what is stored would stay behind: restart"])
        if config.storage is not None and find_storage(settings, config.storage, "storage") is not self._storage:
            raise ConfigError([f"storage: a reload cannot change {config.storage}, whose records are in use: restart"])

    async def _release_when_due(self) -> None:
        shortest = min(self._config.wait_duration, self._config.wait_after_root or self._config.wait_duration)
        while True:
            now = time.monotonic()
            self._take(self._assembler.due(now))
            deadline = self._assembler.next_deadline()
            # A trace that opens meanwhile is not due before the shortest wait is over.
            pause = min(shortest, max(_TICK, deadline - now)) if deadline is not None else shortest
            await asyncio.sleep(pause)
            if time.monotonic() - now - pause > _STOOD_STILL:
                await asyncio.sleep(_CATCH_UP)  # first what came meanwhile is read, or traces were judged without it

    async def _judge_released(self, judging: Judging) -> None:
        while True:
            scored = await judging.judge(await self._released.next_batch())
            if self._journal is not None:
                await self._journal.judged(scored.parcels)
            self._ship(scored)

    def _take(self, released: Sequence[Trace]) -> None:
        if not released:
            return
        self._released_spans += self._counts.released(released)
        self._released.put(released)
        if self._recorder is not None:
            for trace in released:
                self._recorder.offer(trace)

    def _pass_late(self, late: Late) -> None:
        if late.spans:
            self._pass(pass_late(late, self._rules))

    def _pass(self, unjudged: Scored) -> None:
        self._released_spans += sum(parcel.spans for parcel in unjudged.parcels)
        self._ship(unjudged)

    def _ship(self, scored: Scored) -> None:
        self._counts.add_up(scored.tally)
        for parcel in scored.parcels:
            self._forwarder.put(parcel)

    def _handed_on(self, parcel: Parcel) -> None:
        self._counts.handed_on(parcel)
        self._pass_late(self._assembler.decide(parcel.decisions))
        if not self._pending():
            self._empty.set()

    def _pending(self) -> int:
        return self._released_spans - self._forwarder.finished + self._assembler.waiting_spans

    def _recording(self, config: TraceadConfig) -> Recorder | None:
        return None if config.record is None else Recorder(self._settings.base / config.record, self._settings)

    def _task(self, work: Callable[[], Coroutine[Any, Any, None]]) -> "asyncio.Task[None]":
        return asyncio.create_task(self._watched(work))

    async def _watched(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 (the service decides)
            self._accepting = False
            self._settings.fail(error)


def _one_delivery(consignment: Consignment) -> Delivery:
    """Give one delivery for all that a request is held for, without its batch: traces outlive it.

    Of a request that came straight from a receiver it is the receiver's own, which knows what was withdrawn.
    """
    match consignment.holds:
        case [(delivery, 1)]:
            return delivery
    return Delivery(Consignment(_NOTHING, consignment.holds).settle)


_NOTHING: Final = SpanBatch([])
