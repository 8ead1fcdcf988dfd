"""One consumer for several: all of them take the spans or none does; what one fails at is not the others' loss."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from otel_tracead.component import Consumer
from otel_tracead.delivery import Consignment
from otel_tracead.errors import Backpressure, PermanentError, RetryableError
from otel_tracead.telemetry import Counter

_RETRY_AFTER: Final = 0.1


class Fanout:
    """Gives every consumer its own copy of the receipt.

    `admit` asks all of them before any is given the spans, so a refusal takes nothing. One that refuses all the same,
    because others filled it in between, is offered its copy again in the background, while nothing more is admitted.

    Args:
        consumers: at least two.
        logger: for spans that one of them can never take.
        dropped: counts those.
    """

    def __init__(self, consumers: Sequence[Consumer], logger: Any, dropped: Counter | None = None) -> None:
        self._consumers = tuple(consumers)
        self._logger = logger
        self._dropped = dropped or Counter()
        self._spans_waiting = 0
        self._spans_at_risk = 0  # of those, what nobody else keeps
        self._tasks: set[asyncio.Task[Any]] = set()

    def admit(self, spans: int) -> None:
        """Ask every consumer.

        Raises:
            Backpressure: one of them has no room now.
        """
        if self._spans_waiting:
            raise Backpressure("a consumer has not yet taken what was admitted", _RETRY_AFTER)
        for consumer in self._consumers:
            consumer.admit(spans)

    async def consume(self, consignment: Consignment) -> None:
        """Hand a copy to each consumer, side by side.

        Raises:
            Backpressure: one of them has no room; none was given anything.
            PermanentError: none of them will ever take these spans.
        """
        self.admit(len(consignment.batch))
        handing = self._spawn(self._hand_all(consignment))
        try:
            await asyncio.shield(handing)
        except asyncio.CancelledError:  # the caller is gone: what none can take has no owner but us
            handing.add_done_callback(lambda done: self._settle_refused(done, consignment))
            raise

    async def drain(self, timeout: float) -> int:  # noqa: ASYNC109 (what is left is counted, not an error)
        """Wait until every consumer has taken its copies, at most *timeout* seconds.

        Returns:
            the spans that are left, but for those that are kept elsewhere.
        """
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout)
        for task in tuple(self._tasks):
            task.cancel()
        return self._spans_at_risk

    async def _hand_all(self, consignment: Consignment) -> None:
        copies = consignment.copies(len(self._consumers))
        results = await asyncio.gather(
            *(self._hand(consumer, copy) for consumer, copy in zip(self._consumers, copies, strict=True))
        )
        refused = [(copy, error) for copy, error in zip(copies, results, strict=True) if error is not None]
        if len(refused) == len(copies):
            for copy, _ in refused[1:]:
                copy.settle()
            first = refused[0][1]
            if isinstance(first, PermanentError):
                raise first
            raise PermanentError(repr(first)) from first
        for copy, error in refused:
            self._give_up(copy, error)

    async def _hand(self, consumer: Consumer, copy: Consignment) -> Exception | None:
        """Give the error for which *consumer* will never take *copy*, None if it took it or will be asked again."""
        try:
            await consumer.consume(copy)
        except RetryableError as error:
            self._spans_waiting += len(copy.batch)
            self._spans_at_risk += 0 if copy.kept else len(copy.batch)
            self._spawn(self._hand_later(consumer, copy, error))
        except Exception as error:  # noqa: BLE001 (a fault in one consumer must not reach its siblings)
            return error
        return None

    async def _hand_later(self, consumer: Consumer, copy: Consignment, error: RetryableError) -> None:
        refused: RetryableError | None = error
        spans, at_risk = len(copy.batch), not copy.kept
        while refused is not None:
            await asyncio.sleep(refused.retry_after or _RETRY_AFTER)
            try:
                await consumer.consume(copy)
                refused = None
            except RetryableError as again:
                refused = again
            except Exception as fault:  # noqa: BLE001 (as above)
                self._give_up(copy, fault)
                break
        self._spans_waiting -= spans
        self._spans_at_risk -= spans if at_risk else 0

    def _give_up(self, copy: Consignment, error: Exception) -> None:
        self._logger.error("spans refused for good", spans=len(copy.batch), error=str(error))
        self._dropped.add(len(copy.batch))
        copy.settle()

    def _settle_refused(self, done: asyncio.Task[None], consignment: Consignment) -> None:
        error = None if done.cancelled() else done.exception()
        if isinstance(error, Exception):
            self._give_up(consignment, error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
