"""Writes batches to Kafka; a batch counts as sent once the broker has acknowledged every record of it.

librdkafka sends in threads of its own and calls back from `poll`, for which a thread stands here.
"""

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from otel_tracead.component import Settings
from otel_tracead.errors import InvalidRequest, PipelineError, RetryableError, StartError
from otel_tracead.exporting.sizing import halves
from otel_tracead.kafka.client import ClientLog
from otel_tracead.kafka.encodings import ENCODERS
from otel_tracead.kafka.errors import meaning
from otel_tracead.log_limit import LogLimiter
from otel_tracead.metrics import EXPORTER_REJECTED
from otel_tracead.wire.batch import SpanBatch
from otel_tracead_exporters.kafka.config import KafkaConfig
from otel_tracead_exporters.kafka.records import Record, RecordCutter

_POLL: Final = 0.1  # seconds
_ROOM: Final = 0.02  # seconds between looks whether librdkafka's queue has room
_LARGE: Final = 512  # spans from which on a batch is cut into records in a thread
_MOST_UNFINISHED: Final = 1024
_FLUSH: Final = 5.0


class _Attempt:
    """Records under way together; done once each was acknowledged or refused.

    Attributes:
        done: set on the event loop, with the records that failed and why.
        delivered: how many were acknowledged.
    """

    def __init__(self, count: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._left = count
        self._failed: list[tuple[Record, PipelineError]] = []
        self.done: asyncio.Future[list[tuple[Record, PipelineError]]] = self._loop.create_future()
        self.delivered = 0

    def report(self, record: Record) -> Callable[[KafkaError | None, Message], None]:
        """Make what librdkafka calls for *record*."""
        return lambda error, _message: self.over(record, None if error is None else meaning(error))

    def over(self, record: Record, error: PipelineError | None) -> None:
        """Note what became of *record*; from any thread."""
        with self._lock:
            if error is None:
                self.delivered += 1
            else:
                self._failed.append((record, error))
            self._left -= 1
            if self._left:
                return
        self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(self._failed)


@dataclass(frozen=True, slots=True, eq=False)
class _Unfinished:
    """A batch that was not sent to the end.

    Attributes:
        batch: it.
        work: records to write, or those that are under way.
        delivered: how many of its records were acknowledged.
    """

    batch: SpanBatch
    work: _Attempt | list[Record]
    delivered: int


class KafkaSender:
    """A `Sender` for one cluster.

    A batch that is sent again goes on where it was left: what was acknowledged is not written twice, and what is still
    under way is waited for.

    Args:
        config: what the user wrote.
        settings: id, telemetry, logger.
        producer: makes librdkafka's producer.
    """

    def __init__(
        self, config: KafkaConfig, settings: Settings, producer: Callable[[dict[str, Any]], Any] = Producer
    ) -> None:
        self._config = config
        self._make = producer
        self._logger = settings.logger
        self._logs = LogLimiter(settings.logger)
        self._rejected = settings.telemetry.counter(EXPORTER_REJECTED, settings.id)
        self._headers = [(name, value.get_secret_value().encode()) for name, value in config.record_headers.items()]
        self._cutter = RecordCutter(
            ENCODERS[config.record_encoding],
            config.record_topic,
            topic_from_attribute=config.topic_from_attribute,
            by_trace=config.partition_traces_by_id,
            max_bytes=config.producer.max_message_bytes - sum(len(name) + len(value) for name, value in self._headers),
        )
        self._unfinished: OrderedDict[int, _Unfinished] = OrderedDict()
        self._producer: Any = None
        self._former: list[Any] = []
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        """Make the producer; brokers that are away are waited for by who sends.

        Raises:
            StartError: the configuration makes no client (a certificate that cannot be read).
            OSError: a certificate cannot be read.
        """
        for line in self._config.deprecated():
            self._logger.warning(line)
        try:
            self._producer = self._new_producer()
        except KafkaException as error:
            raise StartError(error.args[0].str()) from error
        self._thread = threading.Thread(target=self._poll, name="kafka-exporter", daemon=True)
        self._thread.start()

    async def send(self, batch: SpanBatch) -> None:
        """Write *batch* (see `otel_tracead.exporting.Sender`).

        Raises:
            PipelineError: what the broker's answers mean.
        """
        if self._producer is None:
            raise RetryableError("not started")
        left = self._unfinished.pop(id(batch), None)
        work: _Attempt | list[Record]
        if left is not None:
            work, delivered = left.work, left.delivered
        elif len(batch) >= _LARGE:
            work, delivered = await asyncio.to_thread(self._cutter.cut, batch), 0
        else:
            work, delivered = self._cutter.cut(batch), 0
        while work:
            attempt = work if isinstance(work, _Attempt) else _Attempt(len(work))
            try:
                if not isinstance(work, _Attempt):
                    await self._produce(work, attempt)
                failed = await asyncio.shield(attempt.done)
            except asyncio.CancelledError:  # the attempt took too long; what is under way still is
                self._remember(_Unfinished(batch, attempt, delivered))
                raise
            delivered += attempt.delivered
            work = self._sort_out(batch, failed, delivered)

    async def shutdown(self) -> None:
        """Give what is under way a moment, then close."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        if len(producer):
            await asyncio.to_thread(producer.flush, _FLUSH)
        self._ending.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def _new_producer(self) -> Any:
        return self._make(
            {**self._config.producer_properties(), "logger": ClientLog(self._logger), "error_cb": self._had_error}
        )

    def _poll(self) -> None:
        while not self._ending.is_set():
            producer = self._producer
            if producer is None:  # being flushed
                self._ending.wait(_POLL)
            else:
                producer.poll(_POLL)
            for former in tuple(self._former):
                former.poll(0)
                if not len(former):
                    self._former.remove(former)

    async def _produce(self, records: Sequence[Record], attempt: _Attempt) -> None:
        left = deque(records)
        try:
            while left:
                record = left[0]
                try:
                    self._producer.produce(
                        record.topic,
                        value=record.value,
                        key=record.key,
                        headers=self._headers,
                        on_delivery=attempt.report(record),
                    )
                except BufferError:
                    await asyncio.sleep(_ROOM)
                    continue
                except KafkaException as error:
                    self._renew_if_fatal(error.args[0])
                    attempt.over(record, meaning(error))
                left.popleft()
        finally:
            for record in left:  # cancelled: librdkafka has had no room for so long
                attempt.over(record, RetryableError("librdkafka's queue is full"))

    def _renew_if_fatal(self, error: KafkaError) -> None:
        if error.fatal() or error.code() == KafkaError._FATAL:  # noqa: SLF001 (a constant of the library)
            self._logs.warning("the Kafka producer cannot go on, another takes its place", error=error.str())
            self._producer.purge()
            self._former.append(self._producer)
            self._producer = self._new_producer()

    def _sort_out(self, batch: SpanBatch, failed: list[tuple[Record, PipelineError]], delivered: int) -> list[Record]:
        """Give the records to write at once, of those that failed.

        Raises:
            RetryableError: some may pass later; they are remembered.
            PermanentError: none was delivered, and none ever will be.
        """
        if not failed:
            return []
        later = [error for _, error in failed if isinstance(error, RetryableError)]
        if later:
            self._remember(_Unfinished(batch, [record for record, _ in failed], delivered))
            raise later[0]
        if not delivered:
            raise min((error for _, error in failed), key=lambda error: not isinstance(error, InvalidRequest))
        again: list[Record] = []
        for record, error in failed:
            if isinstance(error, InvalidRequest) and len(record.batch) > 1:
                for half in halves(record.batch):
                    again += self._cutter.fitting(record.topic, record.key, half)
            else:
                self._rejected.add(len(record.batch))
                self._logs.warning("the broker refused spans for good", error=str(error), spans=len(record.batch))
        return again

    def _remember(self, unfinished: "_Unfinished") -> None:
        self._unfinished[id(unfinished.batch)] = unfinished  # the batch lives as long as its id is a key
        if len(self._unfinished) > _MOST_UNFINISHED:
            self._unfinished.popitem(last=False)

    def _had_error(self, error: KafkaError) -> None:
        self._logs.warning("the Kafka client had an error and goes on", error=f"{error.name()}: {error.str()}")
