"""Calls an exporter of the OpenTelemetry Python SDK, one batch after another, in a thread of its own."""

import asyncio
from collections import OrderedDict
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_tracead.component import Settings
from otel_tracead.daemon import DaemonThread
from otel_tracead.errors import InvalidRequest, RetryableError
from otel_tracead.log_limit import LogLimiter
from otel_tracead.metrics import EXPORTER_REJECTED
from otel_tracead.wire.batch import SpanBatch
from otel_tracead_exporters.sdk.config import SdkConfig
from otel_tracead_exporters.sdk.finding import make
from otel_tracead_exporters.sdk.progress import Progress
from otel_tracead_exporters.sdk.readable import Readables, fits

_GOODBYE: Final = 5.0  # seconds that flush and shutdown of the SDK's exporter may take
_UNFINISHED: Final = 100  # batches that are remembered until they are tried again


class SdkSender:
    """A `Sender` whose backend is an exporter of the SDK."""

    def __init__(self, config: SdkConfig, settings: Settings) -> None:
        self._name = config.exporter
        self._arguments = config.keywords()
        self._exporter: SpanExporter | None = None
        self._thread = DaemonThread(f"export {settings.id}")
        self._readables = Readables()
        self._unfinished: OrderedDict[int, _Attempt] = OrderedDict()
        self._taken = 0
        self._rejected = settings.telemetry.counter(EXPORTER_REJECTED, settings.id)
        self._logs = LogLimiter(settings.logger)

    async def start(self) -> None:
        """Make the exporter.

        Raises:
            LookupError: it is not installed.
            ImportError: it cannot be loaded.
            ValueError: it does not take its arguments.
        """
        call = self._thread.submit(lambda: make(self._name, self._arguments))
        self._exporter = await asyncio.wrap_future(call)

    async def send(self, batch: SpanBatch) -> None:
        """Have *batch* exported (see `otel_tracead.exporting.Sender`).

        Raises:
            InvalidRequest: a span that the SDK has no room for; nothing was sent.
            RetryableError: not all of it was taken; what was is not sent again.
        """
        attempt = self._attempt(batch)
        while True:
            await self._try(attempt)
            failed, attempt.failed = attempt.failed, []
            if not failed or not attempt.progress.failed(failed, self._taken):
                break
        if attempt.progress.parts:
            raise RetryableError(f"the exporter {self._name} did not take the spans: {attempt.reason}")
        self._unfinished.pop(id(batch), None)
        if refused := attempt.progress.refused:
            self._rejected.add(refused)
            self._logs.warning("spans given up: the exporter takes others", reason=attempt.reason, spans=refused)

    async def shutdown(self) -> None:
        """Flush the exporter and shut it down; one that hangs is left behind."""
        exporter, self._exporter = self._exporter, None
        if exporter is not None:
            # From another thread, as the SDK's own processors do: it may end an export that waits for its backend.
            closing = DaemonThread(f"{self._name} shuts down")
            with suppress(Exception):  # whatever it says, it is over
                async with asyncio.timeout(_GOODBYE):
                    await asyncio.wrap_future(closing.submit(lambda: _close(exporter)))
            closing.close()
        self._thread.close()

    def _attempt(self, batch: SpanBatch) -> "_Attempt":
        """Give what was remembered of *batch*, which comes again when it was not taken."""
        attempt = self._unfinished.get(id(batch))
        if attempt is None:
            if not all(fits(span) for _, span in batch):
                raise InvalidRequest("the SDK has no room for ids of another length than 16 and 8 bytes")
            attempt = self._unfinished[id(batch)] = _Attempt(batch)
            if len(self._unfinished) > _UNFINISHED:
                self._unfinished.popitem(last=False)
        return attempt

    async def _try(self, attempt: "_Attempt") -> None:
        """Have every part exported once; those that are not taken are moved to `failed`."""
        parts = attempt.progress.parts
        while parts:
            reason = await self._export(attempt, parts[0])
            part = parts.pop(0)
            if reason:
                attempt.reason = reason
                attempt.failed.append(part)
            else:
                self._taken += len(part)

    async def _export(self, attempt: "_Attempt", part: SpanBatch) -> str:
        """Have *part* exported; gives why it was not taken, or nothing.

        A call that was given up by time and has begun cannot be stopped: the next attempt waits for the same one.
        """
        call = attempt.call = attempt.call or self._thread.submit(lambda: self._call(part))
        try:
            result = await asyncio.wrap_future(call)
        except asyncio.CancelledError:
            if call.cancelled():
                attempt.call = None
            raise
        except Exception as error:  # noqa: BLE001 (whatever an exporter does, it did not take the spans)
            attempt.call = None
            return type(error).__name__  # its text may hold what stands in the arguments
        attempt.call = None
        return "" if result is SpanExportResult.SUCCESS else "FAILURE"

    def _call(self, part: SpanBatch) -> SpanExportResult:
        if self._exporter is None:
            return SpanExportResult.FAILURE
        token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))  # as the SDK's own processors do
        try:
            return self._exporter.export(self._readables(part))
        finally:
            detach(token)


def _close(exporter: SpanExporter) -> None:
    with suppress(Exception):
        exporter.force_flush()
    exporter.shutdown()


class _Attempt:
    """A batch on its way.

    Attributes:
        batch: held, so that no other batch has its identity.
        progress: what is left of it.
        failed: parts that were not taken this time.
        call: the export of the first part of `progress`, if it is under way.
        reason: why a part was not taken.
    """

    def __init__(self, batch: SpanBatch) -> None:
        self.batch = batch
        self.progress = Progress(batch)
        self.failed: list[SpanBatch] = []
        self.call: Future[Any] | None = None
        self.reason = ""
