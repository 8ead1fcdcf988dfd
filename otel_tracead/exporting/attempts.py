"""Sends a batch again and again: until the backend has it, refuses it for good, or time is up."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from otel_tracead.component import Settings
from otel_tracead.errors import InvalidRequest, PermanentError, RetryableError
from otel_tracead.exporting.answer_limit import AnswerLimit
from otel_tracead.exporting.backoff import Backoff
from otel_tracead.exporting.config import ExporterConfig
from otel_tracead.log_limit import LogLimiter
from otel_tracead.metrics import EXPORTER_IN_FLIGHT, EXPORTER_RETRIES
from otel_tracead.wire.batch import SpanBatch

_HURRIED_PAUSE: Final = 1.0


class Sender(Protocol):
    """All that an exporter has to know: how to give one batch to its backend."""

    async def start(self) -> None:
        """Open what is needed. Raises what keeps it from starting."""

    async def send(self, batch: SpanBatch) -> None:
        """Give *batch* to the backend; returns once it has it. Called again, with the same or a smaller batch, on errors.

        Raises:
            InvalidRequest: the backend will not take this data (`TooLarge`: not that much of it); the batch is halved
                until the span at fault stands alone, and that one is dropped.
            PermanentError: the backend will never take it for another reason; the batch is dropped.
            RetryableError: it may pass later, after `retry_after` seconds if given. An OSError means the same.
        """

    async def shutdown(self) -> None:
        """Close everything. Idempotent; legal without `start`."""


class Attempts:
    """Timeout and retry around a `Sender`.

    Args:
        sender: that sends.
        config: what the user wrote.
        settings: what the service gives.
        logs: where failures are told.
        sleep: waits for seconds.
        now: a clock in seconds, that never goes back.
        random: numbers from 0 to 1.
    """

    def __init__(
        self,
        sender: Sender,
        config: ExporterConfig,
        settings: Settings,
        logs: LogLimiter,
        sleep: Callable[[float], Awaitable[None]],
        now: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._sender = sender
        self._timeout = config.timeout or None
        self._retry = config.retry_on_failure
        self._backoff = Backoff(config.retry_on_failure, random)
        self._sleep = sleep
        self._now = now
        self._logs = logs
        self._health = settings.health
        self._hurrying = asyncio.Event()
        self._ending = False
        self._in_flight = 0
        self._retries = settings.telemetry.counter(EXPORTER_RETRIES, settings.id)
        settings.telemetry.observe(EXPORTER_IN_FLIGHT, lambda: self._in_flight, settings.id)

    def hurry(self) -> None:
        """Wait no longer than a moment between attempts from now on."""
        self._hurrying.set()

    def end(self) -> None:
        """Make no further attempts after those that are under way."""
        self._ending = True
        self._hurrying.set()

    async def send(self, batch: SpanBatch) -> None:
        """Send *batch*, again and again where that may help.

        Raises:
            InvalidRequest, PermanentError: the backend will never take it.
            RetryableError: it does not take it now, and nobody waits any longer.

        Nothing of an attempt that failed is kept while the next one is waited for: the encoded request is large, and in the
        frames that an error knows it would outlive even the batch, until garbage is collected.
        """
        started: float | None = None
        attempts = 0
        while True:
            try:
                await self._once(batch)
            except RetryableError as error:
                if not self._retry.enabled:
                    raise
                attempts += 1
                started = self._now() if started is None else started
                wait = self._backoff.after(attempts, error)
                if self._gives_up(wait, started):
                    raise
                self._note_retry(error)
            else:
                return
            await self._pause(wait)
            if self._ending:
                raise RetryableError("the exporter hands over to its successor")

    async def _once(self, batch: SpanBatch) -> None:
        """Send *batch* once, and note how the backend is."""
        try:
            await self._request(batch)
        except InvalidRequest:
            raise  # the data is at fault, not the backend
        except PermanentError as error:
            self._health.permanent(str(error))
            raise
        except RetryableError as error:
            self._health.recoverable(str(error))
            raise
        self._health.ok()

    async def _request(self, batch: SpanBatch) -> None:
        self._in_flight += 1
        try:
            async with AnswerLimit(self._timeout):
                await self._sender.send(batch)
        except (PermanentError, RetryableError):
            raise
        except TimeoutError as error:
            raise RetryableError(str(error) or f"no answer within {self._timeout:g} s") from error
        except OSError as error:
            raise RetryableError(str(error)) from error
        except Exception as error:
            # A mistake of the sender's: if one span provokes it, the others shall still pass.
            self._logs.warning("unexpected error in an exporter", exc_info=error)
            raise InvalidRequest(f"unexpected error: {error!r}") from error
        finally:
            self._in_flight -= 1

    def _gives_up(self, wait: float, started: float) -> bool:
        if self._ending:
            return True
        limit = self._retry.max_elapsed_time
        return limit > 0 and self._now() - started + wait > limit

    def _note_retry(self, error: RetryableError) -> None:
        self._retries.add()
        self._logs.warning("the backend did not take a request; it is sent again", error=str(error))

    async def _pause(self, seconds: float) -> None:
        """Wait *seconds*; in a hurry, only a moment."""
        if self._hurrying.is_set():
            await self._sleep(min(seconds, _HURRIED_PAUSE))
            return
        tasks = {asyncio.ensure_future(self._sleep(seconds)), asyncio.create_task(self._hurrying.wait())}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
