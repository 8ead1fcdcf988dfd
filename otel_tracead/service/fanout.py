"""One consumer for several: all of them take the spans or none does; what one fails at is not the others' loss."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final

from otel_tracead.component import Consumer
from otel_tracead.delivery import Consignment
from otel_tracead.errors import Backpressure, PermanentError, RetryableError
from otel_tracead.storage import NotStored
from otel_tracead.telemetry import Counter

_RETRY_AFTER: Final = 0.1
_PATIENCE: Final = 2.0
"""Seconds that a sender waits for a consumer that could not store its copy; they give up a request after five or more."""


class Fanout:
    """Gives every consumer its own copy of the receipt.

    `admit` asks all of them before any is given the spans, so a refusal takes nothing. One that refuses all the same,
    because others filled it in between, is offered its copy again in the background, while nothing more is admitted.

    Whoever was to store its copy and could not is another matter: a copy that waits in memory is not safe, so the caller
    must not hear of success. It waits for a moment, then it is told to come back, and what it sends again the others get
    twice. That is so for what was on its way when the disk failed, and no more: from then on that consumer is given its
    copy before the others, so that a refusal takes nothing again.

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
        self._failing: set[int] = set()  # whose disk did not take what they were given last
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
            NotStored: one of them could not store its copy; others may have theirs.
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
        answers: dict[int, Exception | None] = {}
        for which in sorted(self._failing):
            answer = answers[which] = await self._hand(which, copies[which])
            if isinstance(answer, NotStored):  # the others need not have these spans before they come again
                for other, copy in enumerate(copies):
                    if other != which and answers.get(other, answer) is not None:
                        copy.settle()
                raise answer
        rest = [which for which in range(len(copies)) if which not in answers]
        answers |= zip(rest, await asyncio.gather(*(self._hand(which, copies[which]) for which in rest)), strict=True)
        if None in answers.values():
            unsafe = [(which, answer) for which, answer in answers.items() if isinstance(answer, NotStored)]
            waits = (self._hand_in_time(which, copies[which], answer) for which, answer in unsafe)
            answers |= zip(dict(unsafe), await asyncio.gather(*waits), strict=True)
        self._finish(copies, answers)

    def _finish(self, copies: Sequence[Consignment], answers: Mapping[int, Exception | None]) -> None:
        refused = [(copies[which], answer) for which, answer in sorted(answers.items()) if answer is not None]
        unsafe = next((answer for _, answer in refused if isinstance(answer, NotStored)), None)
        if unsafe is None and len(refused) < len(copies):
            for copy, error in refused:
                self._give_up(copy, error)
            return
        for copy, _ in refused[1:]:  # the first one is the caller's
            copy.settle()
        error = unsafe or refused[0][1]
        if isinstance(error, NotStored | PermanentError):
            raise error
        raise PermanentError(repr(error)) from error

    async def _hand(self, which: int, copy: Consignment) -> Exception | None:
        """Give the error for which a consumer will not take *copy*, None if it took it or will be asked again."""
        consumer = self._consumers[which]
        try:
            await consumer.consume(copy)
        except RetryableError as error:
            if isinstance(error, NotStored) and not copy.kept:
                self._failing.add(which)
                return error
            self._spans_waiting += len(copy.batch)
            self._spans_at_risk += 0 if copy.kept else len(copy.batch)
            self._spawn(self._hand_later(consumer, copy, error))
        except Exception as error:  # noqa: BLE001 (a fault in one consumer must not reach its siblings)
            return error
        self._failing.discard(which)
        return None

    async def _hand_in_time(self, which: int, copy: Consignment, refusal: NotStored) -> Exception | None:
        """Try again for a moment, for the caller waits; give what `_hand` gives."""
        now = asyncio.get_running_loop().time
        answer: Exception | None = refusal
        until, spans = now() + _PATIENCE, len(copy.batch)
        self._spans_waiting += spans
        try:
            while isinstance(answer, NotStored) and (left := until - now()) > 0:
                wait = answer.retry_after or _RETRY_AFTER
                await asyncio.sleep(min(left, wait))
                answer = await self._hand(which, copy)
                if wait >= left:
                    break  # a loop that counts milliseconds might say again and again that a bit is left
        finally:
            self._spans_waiting -= spans
        return answer

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
        if isinstance(error, NotStored):
            consignment.settle()  # the sender was not told that they are safe: it sends them again
        elif isinstance(error, Exception):
            self._give_up(consignment, error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
