"""Hands parcels to the next consumer, in order, until it takes them."""

import asyncio
from collections.abc import Callable
from typing import Final

from otel_tracead.component import Consumer, Settings
from otel_tracead.delivery import Consignment
from otel_tracead.errors import PermanentError, RetryableError
from otel_tracead.log_limit import LogLimiter
from otel_tracead.metrics import PROCESSOR_OUTGOING, SPANS_DROPPED
from otel_tracead.processors.tracead.parcels import Parcel

_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0


class Forwarder:
    """A queue of parcels and the task that empties it.

    Args:
        consumer: who gets the spans.
        settings: id, telemetry, logger.
        handed_on: called after each parcel.

    Attributes:
        finished: spans that are no longer ours: taken by the consumer, dropped for good, or left out by sampling.
    """

    def __init__(self, consumer: Consumer, settings: Settings, handed_on: Callable[[Parcel], None]) -> None:
        self.finished = 0
        self._consumer = consumer
        self._handed_on = handed_on
        self._parcels: asyncio.Queue[Parcel] = asyncio.Queue()
        self._outgoing = settings.telemetry.counter(PROCESSOR_OUTGOING, settings.id)
        self._dropped = settings.telemetry.counter(SPANS_DROPPED, settings.id)
        self._log = LogLimiter(settings.logger)

    def put(self, parcel: Parcel) -> None:
        """Queue a parcel; the queue is as long as whoever fills it lets it be."""
        self._parcels.put_nowait(parcel)

    async def run(self) -> None:
        """Hand on parcels until cancelled."""
        while True:
            parcel = await self._parcels.get()
            if not parcel.batches:
                self.finished += parcel.spans
            for consignment in parcel.consignments():
                spans = len(consignment.batch)
                await self._hand_on(consignment, spans)
                self.finished += spans
            self._handed_on(parcel)

    async def _hand_on(self, consignment: Consignment, spans: int) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                self._consumer.admit(spans)
                await self._consumer.consume(consignment)
            except RetryableError as error:
                self._log.warning("the next consumer is full, spans wait", error=str(error))
                # The hint of a queue in the same process is for senders: it may have room much earlier.
                await asyncio.sleep(min(pause, error.retry_after or pause))
                pause = min(2 * pause, _LONGEST_PAUSE)
            except Exception as error:  # noqa: BLE001 (whatever it is, trying again cannot be known to be safe)
                known = isinstance(error, PermanentError)
                event = "the next consumer refused spans for good" if known else "the next consumer failed"
                self._log.warning(event, spans=spans, error=repr(error))
                self._dropped.add(spans)
                consignment.settle()
                return
            else:
                self._outgoing.add(spans)
                return
