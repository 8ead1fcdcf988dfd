"""The processor: measures memory on a timer, refuses over the soft limit, gives memory back over the hard one."""

import asyncio
import ctypes
import gc
import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from otel_tracead import metrics
from otel_tracead.component import Consumer, Settings, wants_originals
from otel_tracead.delivery import Consignment
from otel_tracead.errors import Backpressure
from otel_tracead.process import resident_bytes, total_memory_bytes
from otel_tracead.processors.memory_limiter.config import Limits, MemoryLimiterConfig

REFUSAL = "data refused due to high memory usage"

# What a stage takes at full speed in the usual second between two looks may be a tenth of its memory, and a look costs microseconds.
_NEAR: Final = 0.75
_SOON: Final = 0.1


class Watch:
    """Decides from measurements; knows no clock and no memory.

    Args:
        limits: in bytes.
        soft_interval: seconds between two collections over the soft limit.
        hard_interval: likewise over the hard limit.

    Attributes:
        refusing: whether spans are to be refused.
    """

    def __init__(self, limits: Limits, soft_interval: float, hard_interval: float) -> None:
        self.refusing = False
        self._limits = limits
        self._soft_interval = soft_interval
        self._hard_interval = hard_interval
        self._collected = -math.inf
        self._resident = 0

    def wants_collection(self, resident: int, now: float) -> bool:
        """Say whether memory should be given back now; the caller then measures again for `update`."""
        if resident <= self._limits.soft:
            return False
        interval = self._hard_interval if resident > self._limits.hard else self._soft_interval
        if now - self._collected < interval:
            return False
        self._collected = now
        return True

    def update(self, resident: int) -> bool:
        """Take a measurement; say whether `refusing` changed."""
        self._resident = resident
        before, self.refusing = self.refusing, resident > self._limits.soft
        return before != self.refusing

    def next_look(self, interval: float) -> float:
        """Say in how many seconds to measure again: after *interval*, or sooner while the soft limit is near but not passed."""
        near = not self.refusing and self._resident > _NEAR * self._limits.soft
        return min(interval, _SOON) if near else interval


class MemoryLimiter:
    """Stands first in a pipeline; what it refuses the receiver answers with 503 or UNAVAILABLE.

    Args:
        config: what the user wrote.
        settings: what the service gives.
        consumer: the next one.
        measure: the resident memory in bytes.
    """

    def __init__(
        self,
        config: MemoryLimiterConfig,
        settings: Settings,
        consumer: Consumer | None,
        measure: Callable[[], int] = resident_bytes,
    ) -> None:
        if consumer is None:
            raise ValueError("a processor needs a next consumer")
        self._next = consumer
        self._interval = config.check_interval
        self._limits = config.limits(total_memory_bytes())
        self._watch = Watch(
            self._limits, config.min_gc_interval_when_soft_limited, config.min_gc_interval_when_hard_limited
        )
        self._measure = measure
        self._logger = settings.logger
        self._health = settings.health
        self._accepted = settings.telemetry.counter(metrics.MEMORY_LIMITER_ACCEPTED, settings.id)
        self._refused = settings.telemetry.counter(metrics.MEMORY_LIMITER_REFUSED, settings.id)
        self._incoming = settings.telemetry.counter(metrics.PROCESSOR_INCOMING, settings.id)
        self._outgoing = settings.telemetry.counter(metrics.PROCESSOR_OUTGOING, settings.id)
        self._timer: asyncio.Task[None] | None = None

    @property
    def originals(self) -> bool:
        """See `wants_originals`."""
        return wants_originals(self._next)

    async def start(self) -> None:
        """Measure from now on."""
        mib = 1 << 20
        self._logger.info(
            "memory limiter configured",
            soft_limit_mib=self._limits.soft // mib,
            hard_limit_mib=self._limits.hard // mib,
        )
        self.check(time.monotonic())
        self._timer = asyncio.get_running_loop().create_task(self._check_for_ever())

    async def shutdown(self) -> None:
        """Stop measuring; nothing is held here."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            with suppress(asyncio.CancelledError):
                await timer

    def admit(self, spans: int) -> None:
        """Refuse while memory is short.

        Raises:
            Backpressure: it is, or the next consumer has no room.
        """
        if self._watch.refusing:
            self._refused.add(spans)
            raise Backpressure(REFUSAL, retry_after=max(1.0, self._interval))
        self._next.admit(spans)

    async def consume(self, consignment: Consignment) -> None:
        """Hand the spans on.

        Raises:
            Backpressure: memory is short, or the next consumer has no room.
        """
        spans = len(consignment.batch)
        if self._watch.refusing:
            self._refused.add(spans)
            raise Backpressure(REFUSAL, retry_after=max(1.0, self._interval))
        self._incoming.add(spans)
        await self._next.consume(consignment)
        self._accepted.add(spans)
        self._outgoing.add(spans)

    def check(self, now: float) -> None:
        """Measure once, give memory back if it is short, and decide."""
        resident = self._measure()
        if self._watch.wants_collection(resident, now):
            _give_back()
            resident = self._measure()
        if self._watch.update(resident):
            memory = {"resident_mib": resident >> 20}
            if self._watch.refusing:
                self._health.recoverable(REFUSAL)
                self._logger.warning("memory usage is above the soft limit, refusing data", **memory)
            else:
                self._health.ok()
                self._logger.info("memory usage is back within the limit", **memory)

    async def _check_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._watch.next_look(self._interval))
            self.check(time.monotonic())


def _give_back() -> None:
    """Collect garbage and have the C library return free pages, or resident memory would stay at its peak."""
    gc.collect()
    with suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)
