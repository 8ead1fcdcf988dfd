"""The one way from a request's body into the pipeline, and the count of what became of it."""

import asyncio
from collections.abc import Callable
from typing import Final

from otel_tracead.component import Consumer, Settings
from otel_tracead.delivery import Consignment, Delivery
from otel_tracead.errors import InvalidRequest, PermanentError, PipelineError
from otel_tracead.log_limit import LogLimiter
from otel_tracead.status import row_of
from otel_tracead.telemetry import RECEIVER_ACCEPTED, RECEIVER_FAILED, RECEIVER_REFUSED, RECEIVER_REQUESTS
from otel_tracead.wire.batch import SpanBatch

# Above this size a body is decoded in a thread, so that the event loop keeps serving the others.
_LARGE_BODY: Final = 1 << 20

Decode = Callable[[bytes], SpanBatch]


class Intake:
    """Decodes bodies, asks the next consumer for room and hands the spans on.

    A request that has begun to be handed on is finished even if its sender goes away, so that no part of the
    pipeline sees half of it.
    """

    def __init__(self, settings: Settings, consumer: Consumer, transport: str) -> None:
        self._consumer = consumer
        self._logs = LogLimiter(settings.logger)
        labels = (settings.id, transport)
        telemetry = settings.telemetry
        self._accepted = telemetry.counter(RECEIVER_ACCEPTED, *labels)
        self._refused = telemetry.counter(RECEIVER_REFUSED, *labels)
        self._failed = telemetry.counter(RECEIVER_FAILED, *labels)
        self._outcomes = {
            outcome: telemetry.counter(RECEIVER_REQUESTS, *labels, outcome)
            for outcome in ("success", "refused", "invalid", "unauthenticated", "failure")
        }
        self._succeeded = self._outcomes["success"]
        self._under_way: set[asyncio.Task[None]] = set()

    async def take(self, body: bytes, decode: Decode) -> None:
        """Take the request *body* in; returns when the next consumer has its spans.

        Raises:
            InvalidRequest: *decode* says that it is none.
            PipelineError: the next consumer did not take the spans.
            Exception: something that the next consumer did not expect either.
        """
        try:
            batch = decode(body) if len(body) < _LARGE_BODY else await asyncio.to_thread(decode, body)
        except InvalidRequest as error:
            self.refuse(error)
            raise
        except Exception as error:
            self.refuse(error)
            raise PermanentError("internal error while decoding the request") from error
        spans = len(batch)
        if spans == 0:
            self._succeeded.add()
            return
        try:
            self._consumer.admit(spans)
        except Exception as error:
            self.refuse(error, spans)
            raise
        # A task of its own, since gRPC cancels the handler's when the sender goes away.
        task = asyncio.create_task(self._hand_on(batch, spans))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        await asyncio.shield(task)

    def refuse(self, error: Exception, spans: int = 0) -> None:
        """Count a request that ended with *error*, and the spans it is known to hold."""
        outcome = row_of(error).outcome
        self._outcomes[outcome].add()
        if outcome == "refused":
            self._refused.add(spans)
        elif outcome == "failure":
            self._failed.add(spans)
            if isinstance(error, PipelineError):
                self._logs.warning("spans could not be taken", error=str(error), spans=spans)
            else:
                self._logs.warning("spans could not be taken: unexpected error", exc_info=error, spans=spans)

    async def finish(self, timeout: float) -> None:  # noqa: ASYNC109 (a bound on a drain, not on a call)
        """Wait up to *timeout* seconds for what is being handed on."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=timeout)

    async def _hand_on(self, batch: SpanBatch, spans: int) -> None:
        try:
            await self._consumer.consume(Consignment(batch, ((Delivery(), 1),)))
        except Exception as error:
            self.refuse(error, spans)
            raise
        self._accepted.add(spans)
        self._succeeded.add()
