"""The one way from a request's body into the pipeline, and the count of what became of it."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from otel_tracead.component import Consumer, Settings
from otel_tracead.delivery import Consignment, Delivery
from otel_tracead.errors import InvalidRequest, PermanentError, PipelineError
from otel_tracead.log_limit import LogLimiter
from otel_tracead.metrics import RECEIVER_ACCEPTED, RECEIVER_FAILED, RECEIVER_REFUSED, RECEIVER_REQUESTS
from otel_tracead.status import row_of
from otel_tracead.wire.batch import SpanBatch

# Above this size a body is decoded in a thread, so that the event loop keeps serving the others.
_LARGE_BODY: Final = 1 << 20
_THREADS: Final = 4

Decode = Callable[[bytes], SpanBatch]
Answer = Callable[[Exception | None], None]
"""Hears that the next consumer has a request's spans (None), or why it has not."""


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
        # Of our own: asyncio's look names up, too, and a resolver that hangs would keep large requests waiting.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"decode {settings.id}")

    async def take(self, body: bytes, decode: Decode, *, unpacks: bool = False) -> None:
        """Take the request *body* in (see `begin`); returns when the next consumer has its spans.

        Raises:
            InvalidRequest: *decode* says that it is none.
            PipelineError: the next consumer did not take the spans.
            Exception: something that the next consumer did not expect either.
        """
        error = await self._answer_to(body, decode, unpacks=unpacks)
        if error is not None:
            try:
                raise error
            finally:
                del error  # which knows this frame: in a circle the request would stay until garbage is collected

    def _answer_to(self, body: bytes, decode: Decode, *, unpacks: bool) -> asyncio.Future[Exception | None]:
        answered: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

        def answer(error: Exception | None) -> None:
            if not answered.done():  # else whoever waited has gone
                # Without the frames that it came through: they know the spans, and who waits for this.
                answered.set_result(None if error is None else error.with_traceback(None))

        self.begin(body, decode, answer, unpacks=unpacks)
        return answered

    def begin(self, body: bytes, decode: Decode, answer: Answer, *, unpacks: bool = False) -> None:
        """Take the request *body* in; *answer* hears of it once, perhaps before this returns.

        Args:
            body: as it came.
            decode: see `take`.
            answer: called on the event loop.
            unpacks: *decode* decompresses: a small body may be a large request.
        """
        if len(body) < (_LARGE_BODY >> 4 if unpacks else _LARGE_BODY):
            try:
                batch = decode(body)
            except Exception as error:  # noqa: BLE001 (the sender is told)
                answer(self._not_decoded(error))
                return
            self._go_on(batch, answer)
        else:
            self._start(self._decode_apart(body, decode, answer))

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

    def _not_decoded(self, error: Exception) -> Exception:
        self.refuse(error)
        if isinstance(error, InvalidRequest):
            return error
        internal = PermanentError("internal error while decoding the request")
        internal.__cause__ = error
        return internal

    async def _decode_apart(self, body: bytes, decode: Decode, answer: Answer) -> None:
        try:
            batch = await asyncio.get_running_loop().run_in_executor(self._threads, decode, body)
        except Exception as error:  # noqa: BLE001 (the sender is told)
            answer(self._not_decoded(error))
            return
        self._go_on(batch, answer)

    def _go_on(self, batch: SpanBatch, answer: Answer) -> None:
        spans = len(batch)
        if spans == 0:
            self._succeeded.add()
            answer(None)
            return
        try:
            self._consumer.admit(spans)
        except Exception as error:  # noqa: BLE001 (the sender is told)
            self.refuse(error, spans)
            answer(error)
            return
        self._start(self._hand_on(batch, spans, answer))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        # A task of its own: nothing that becomes of the sender reaches it.
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _hand_on(self, batch: SpanBatch, spans: int, answer: Answer) -> None:
        try:
            await self._consumer.consume(Consignment(batch, ((Delivery(), 1),)))
        except Exception as error:  # noqa: BLE001 (the sender is told)
            self.refuse(error, spans)
            answer(error)
            return
        self._accepted.add(spans)
        self._succeeded.add()
        answer(None)
