"""The `kafka` receiver: what the polling thread finds goes into the pipeline here, on the event loop."""

import asyncio
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from otel_tracead import metrics
from otel_tracead.component import Consumer, Settings, wants_originals
from otel_tracead.delivery import Consignment
from otel_tracead.errors import RetryableError, StartError
from otel_tracead.kafka.client import ClientLog
from otel_tracead.kafka.encodings import DECODERS
from otel_tracead.log_limit import LogLimiter
from otel_tracead.receivers.kafka.config import KafkaReceiverConfig
from otel_tracead.receivers.kafka.dead_letter import DeadLetters
from otel_tracead.receivers.kafka.partition import Partition
from otel_tracead.receivers.kafka.poller import Poller
from otel_tracead.receivers.kafka.records import Chunk, Poison, Reader
from otel_tracead.wire.otlp import Envelopes

_TRANSPORT = "kafka"
_MOST_OF_A_REASON = 200


class KafkaReceiver:
    """Reads records as a member of a consumer group, and commits what was handed on.

    Attributes:
        drain_timeout: seconds that `shutdown` gives what is being handed on.
    """

    drain_timeout = 10.0

    def __init__(self, config: KafkaReceiverConfig, settings: Settings, consumer: Consumer) -> None:
        self._config = config
        self._settings = settings
        self._consumer = consumer
        self._backoff = config.error_backoff
        self._logger = settings.logger
        self._logs = LogLimiter(settings.logger)
        self._chunks: asyncio.Queue[Chunk | None] = asyncio.Queue()
        self._poller: Poller | None = None
        self._dead_letters: DeadLetters | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._observed: set[tuple[str, int]] = set()
        self._count = settings.telemetry.counter
        self._id = settings.id
        self._accepted = self._count(metrics.RECEIVER_ACCEPTED, self._id, _TRANSPORT)
        self._refused = self._count(metrics.RECEIVER_REFUSED, self._id, _TRANSPORT)
        self._failed = self._count(metrics.RECEIVER_FAILED, self._id, _TRANSPORT)
        self._outcomes = {
            outcome: self._count(metrics.RECEIVER_REQUESTS, self._id, _TRANSPORT, outcome)
            for outcome in ("success", "refused", "invalid", "failure")
        }
        observe = settings.telemetry.observe
        observe(metrics.KAFKA_BROKERS_UP, lambda: self._poller.brokers_up if self._poller else 0, self._id)
        observe(metrics.KAFKA_UNSETTLED, self._unsettled, self._id)

    async def start(self) -> None:
        """Begin to poll; brokers that are away are waited for.

        Raises:
            StartError: the configuration makes no client (a certificate that cannot be read).
        """
        for line in self._config.deprecated():
            self._logger.warning(line)
        loop = asyncio.get_running_loop()
        envelopes = Envelopes()
        decode = DECODERS[self._config.record_encoding]
        reader = Reader(
            lambda value: decode(value, envelopes, originals=wants_originals(self._consumer)),
            self._config.max_record_size,
        )
        log = {"logger": ClientLog(self._logger)}
        try:
            self._poller = Poller(self._config, self._config.consumer_properties() | log, reader, _OnLoop(loop, self))
            if self._config.dead_letter is not None:
                properties = self._config.client_properties() | log
                self._dead_letters = DeadLetters(self._config.dead_letter.topic, properties, self._not_set_aside)
        except KafkaException as error:
            raise StartError(error.args[0].str()) from error
        if self._dead_letters is not None:
            self._tasks.append(asyncio.create_task(self._dead_letters.run()))
        self._tasks.append(asyncio.create_task(self._hand_on_all(self._poller)))
        self._poller.start()
        self._logger.info(
            "receiver reads", brokers=self._config.brokers, topics=self._config.topics, group=self._config.group_id
        )

    async def shutdown(self) -> None:
        """Commit what was handed on and leave the group; what is open in the pipeline is read again by whoever comes next."""
        poller, self._poller = self._poller, None
        if poller is None:
            return
        poller.stop()
        await asyncio.to_thread(poller.join)
        self._chunks.put_nowait(None)
        *others, handing_on = self._tasks
        await asyncio.wait([handing_on], timeout=self.drain_timeout)
        if self._dead_letters is not None:
            await self._dead_letters.close()
        for task in (handing_on, *others):
            task.cancel()
        await asyncio.gather(handing_on, *others, return_exceptions=True)
        self._tasks = []

    def take(self, chunk: Chunk) -> None:
        """Queue *chunk*; the thread sees to it that not too much waits."""
        self._chunks.put_nowait(chunk)

    def assigned(self, partition: Partition) -> None:
        """Note that *partition* is ours."""
        self._count(metrics.KAFKA_PARTITION_START, self._id).add()
        self._logger.info(
            "partition assigned", topic=partition.topic, partition=partition.number, offset=partition.next
        )
        if partition.key not in self._observed:
            self._observed.add(partition.key)
            labels = (self._id, partition.topic, str(partition.number))
            key, observe = partition.key, self._settings.telemetry.observe
            observe(metrics.KAFKA_OFFSET, lambda: self._of(key, lambda found: found.next - 1), *labels)
            observe(metrics.KAFKA_LAG, lambda: self._of(key, lambda found: max(0, found.high - found.next)), *labels)

    def revoked(self, partition: Partition, *, lost: bool) -> None:
        """Note that *partition* is no longer ours."""
        self._count(metrics.KAFKA_PARTITION_CLOSE, self._id).add()
        self._logger.info(
            "partition lost" if lost else "partition revoked",
            topic=partition.topic,
            partition=partition.number,
            unsettled=partition.unsettled,
        )

    def error(self, error: KafkaError) -> None:
        """Note that the client had an error; one that it cannot live with ends the service."""
        self._count(metrics.KAFKA_ERRORS, self._id).add()
        if (
            error.fatal() and self._poller is not None
        ):  # at the end, another with our group_instance_id may be there already
            self._settings.fail(StartError(f"{self._id}: the Kafka client cannot go on: {error.str()}"))
        self._logs.warning("the Kafka client had an error and goes on", error=f"{error.name()}: {error.str()}")

    def died(self, error: Exception) -> None:
        """Note that there is no polling any more: the service cannot live with that."""
        self._settings.fail(StartError(f"{self._id}: the Kafka client cannot go on: {error!r}"))

    def brokers(self, up: int) -> None:
        """Say whether Kafka is there."""
        if up:
            self._settings.health.ok()
        else:
            self._settings.health.recoverable("no broker can be reached")

    def commit_failed(self, error: KafkaError) -> None:
        """Note that offsets were not committed."""
        self._count(metrics.KAFKA_COMMIT_FAILURES, self._id).add()
        self._logs.warning("offsets could not be committed; they will be again", error=error.name())

    async def _hand_on_all(self, poller: Poller) -> None:
        while (chunk := await self._chunks.get()) is not None:
            try:
                await self._hand_on(chunk)
            except Exception as error:  # noqa: BLE001 (whatever it is, the next records must go on)
                self._logs.warning("records could not be handed on: unexpected error", exc_info=error)
            finally:
                poller.taken.records += chunk.records
                poller.taken.size += chunk.size

    async def _hand_on(self, chunk: Chunk) -> None:
        if chunk.delivery.withdrawn:
            return
        labels = (self._id, chunk.partition.topic, str(chunk.partition.number))
        self._count(metrics.KAFKA_RECORDS, *labels).add(chunk.records)
        if chunk.duplicates:
            self._count(metrics.KAFKA_DUPLICATES, *labels).add(chunk.duplicates)
        if not chunk.delivery.replayed:  # else whoever read them before has set them aside
            for poison in chunk.poison:
                self._set_aside(poison, chunk, labels)
        good = chunk.records - len(chunk.poison)
        if not chunk.batch.groups:
            chunk.delivery.settle()
        elif not await self._offer(chunk):
            return
        self._outcomes["success"].add(good)

    async def _offer(self, chunk: Chunk) -> bool:
        """Offer the spans of *chunk* until they are taken; False if they were not, because nobody ever will or must."""
        spans = len(chunk.batch)
        consignment = Consignment(chunk.batch, ((chunk.delivery, 1),))
        pause = 0.0
        while not chunk.delivery.withdrawn:
            try:
                self._consumer.admit(spans)
                await self._consumer.consume(consignment)
            except RetryableError as error:
                if not pause:
                    self._refused.add(spans)
                    self._outcomes["refused"].add(chunk.records)
                    self._logs.warning("the pipeline is full, records wait", error=str(error))
                pause = min(
                    pause * self._backoff.multiplier or self._backoff.initial_interval, self._backoff.max_interval
                )
                await asyncio.sleep(pause)
            except Exception as error:  # noqa: BLE001 (PermanentError, and what nobody expected)
                self._failed.add(spans)
                self._outcomes["failure"].add(chunk.records)
                self._logs.warning(
                    "spans could not be taken",
                    **_place(chunk.poison[0]) if chunk.poison else {"topic": chunk.partition.topic},
                    spans=spans,
                    error=repr(error),
                )
                chunk.delivery.settle()
                return False
            else:
                self._accepted.add(spans)
                return True
        return False

    def _set_aside(self, poison: Poison, chunk: Chunk, labels: tuple[str, str, str]) -> None:
        self._outcomes["invalid"].add()
        self._count(metrics.KAFKA_UNMARSHAL_FAILED, *labels).add()
        self._logs.warning(
            "a record cannot be read and is left out", **_place(poison), reason=_without_content(poison.reason)
        )
        if self._dead_letters is not None:
            chunk.delivery.hold()
            self._dead_letters.put(poison, chunk.delivery.settle)

    def _not_set_aside(self, poison: Poison, error: Exception) -> None:
        self._count(metrics.KAFKA_DEAD_LETTERS_REFUSED, self._id).add()
        self._logs.warning("a record was refused by the dead letter topic", **_place(poison), error=str(error))

    def _of(self, key: tuple[str, int], read: Callable[[Partition], int]) -> int:
        partition = self._poller.partitions.get(key) if self._poller is not None else None
        return 0 if partition is None else read(partition)

    def _unsettled(self) -> int:
        return sum(one.unsettled for one in list(self._poller.partitions.values())) if self._poller else 0


class _OnLoop:
    """Carries what the thread says over to the event loop, in order."""

    def __init__(self, loop: asyncio.AbstractEventLoop, receiver: KafkaReceiver) -> None:
        self._call = loop.call_soon_threadsafe
        self._receiver = receiver

    def chunk(self, chunk: Chunk) -> None:
        self._call(self._receiver.take, chunk)

    def assigned(self, partition: Partition) -> None:
        self._call(self._receiver.assigned, partition)

    def revoked(self, partition: Partition, *, lost: bool) -> None:
        self._call(lambda: self._receiver.revoked(partition, lost=lost))

    def error(self, error: KafkaError) -> None:
        self._call(self._receiver.error, error)

    def died(self, error: Exception) -> None:
        self._call(self._receiver.died, error)

    def brokers(self, up: int) -> None:
        self._call(self._receiver.brokers, up)

    def commit_failed(self, error: KafkaError) -> None:
        self._call(self._receiver.commit_failed, error)


def _without_content(reason: str) -> str:
    """Give what was expected, without what was there instead."""
    return reason.partition(", not ")[0][:_MOST_OF_A_REASON]


def _place(poison: Poison) -> dict[str, Any]:
    record = poison.record
    return {"topic": record.topic(), "partition": record.partition(), "offset": record.offset()}
