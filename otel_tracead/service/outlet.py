"""Where a component hands its spans to, and may be turned to others while spans go through it (reload)."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from otel_tracead.component import Consumer, wants_originals
from otel_tracead.delivery import Consignment
from otel_tracead.service.fanout import Fanout
from otel_tracead.telemetry import Counter


class _Target:
    """The consumers of one time, and how many calls are under way to them."""

    def __init__(self, consumers: Sequence[Consumer], logger: Any, dropped: Counter | None) -> None:
        self.consumers = tuple(consumers)
        self.fanout = Fanout(consumers, logger, dropped) if len(consumers) > 1 else None
        self.entry = self.fanout or consumers[0]
        self.calls = 0
        self.idle = asyncio.Event()
        self.idle.set()

    async def drain(self, seconds: float) -> int:
        """Wait until no call is under way and no copy waits; give the spans that are left after *seconds*."""
        until = time.monotonic() + seconds
        try:
            async with asyncio.timeout(seconds):
                await self.idle.wait()
        except TimeoutError:
            pass  # whoever calls still holds the spans
        return 0 if self.fanout is None else await self.fanout.drain(max(0.0, until - time.monotonic()))


class Outlet:
    """The consumer that a receiver or a processor is given; all of the service's connections are such.

    Args:
        consumers: at least one; several are a fan-out.
        logger: for spans that one of several can never take.
        dropped: counts those.
    """

    def __init__(self, consumers: Sequence[Consumer], logger: Any, dropped: Counter | None = None) -> None:
        self._logger = logger
        self._dropped = dropped
        self._target = _Target(consumers, logger, dropped)
        self._former: list[_Target] = []

    @property
    def consumers(self) -> tuple[Consumer, ...]:
        """Who gets the spans now."""
        return self._target.consumers

    @property
    def originals(self) -> bool:
        """Whether one of them wants originals (see `wants_originals`)."""
        return any(map(wants_originals, self._target.consumers))

    def turn(self, consumers: Sequence[Consumer]) -> None:
        """Hand on to *consumers* from now on; what is being handed on is finished with those before."""
        if tuple(consumers) != self._target.consumers:
            self._former.append(self._target)
            self._target = _Target(consumers, self._logger, self._dropped)

    def admit(self, spans: int) -> None:
        """Ask the consumers.

        Raises:
            Backpressure: one of them has no room now.
        """
        self._target.entry.admit(spans)

    async def consume(self, consignment: Consignment) -> None:
        """Hand the spans on; see `Consumer.consume`."""
        target = self._target
        target.calls += 1
        target.idle.clear()
        try:
            await target.entry.consume(consignment)
        finally:
            target.calls -= 1
            if not target.calls:
                target.idle.set()

    async def leave(self, timeout: float) -> int:  # noqa: ASYNC109 (what is left is counted, not an error)
        """Wait until those before the last turn have all that is theirs, at most *timeout* seconds.

        Returns:
            the spans that they did not take.
        """
        former, self._former = self._former, []
        return sum(await asyncio.gather(*(target.drain(timeout) for target in former)))

    async def drain(self, timeout: float) -> int:  # noqa: ASYNC109 (likewise)
        """Wait until nobody's copies wait any more, at most *timeout* seconds; give the spans that are left."""
        fanouts = [target.fanout for target in (*self._former, self._target) if target.fanout is not None]
        return sum(await asyncio.gather(*(fanout.drain(timeout) for fanout in fanouts)))
