"""The thread that owns the Kafka consumer: polls, decodes, commits, and hears which partitions are ours.

librdkafka's client blocks, so it has a thread of its own. It gives chunks to the event loop and takes nothing back but
numbers: how much was taken of what it gave. When too much waits it pauses the partitions, and goes on polling, since
that is how a consumer learns of a rebalance.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    OFFSET_STORED,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from otel_tracead.receivers.kafka.config import KafkaReceiverConfig
from otel_tracead.receivers.kafka.ledger import Position
from otel_tracead.receivers.kafka.partition import Partition
from otel_tracead.receivers.kafka.records import Chunk, Reader

_POLL: Final = 0.1  # seconds
_RECORDS: Final = 1000  # of one poll
_MOST_WAITING: Final = 4000  # records given and not taken, above which the partitions pause
_MOST_WAITING_BYTES: Final = 32 * 1024 * 1024
_PATIENCE: Final = 10.0  # seconds for a question to the brokers while partitions are assigned
_STATISTICS: Final = 5000  # milliseconds


class Listener(Protocol):
    """Who is told what the thread finds; every method is called from the thread."""

    def chunk(self, chunk: Chunk) -> None:
        """Take *chunk*, the next of its partition."""

    def assigned(self, partition: Partition) -> None:
        """*partition* is ours now."""

    def revoked(self, partition: Partition, *, lost: bool) -> None:
        """*partition* is no longer ours; *lost* without having been asked."""

    def error(self, error: KafkaError) -> None:
        """Something went wrong; the client goes on by itself unless the error is fatal."""

    def died(self, error: Exception) -> None:
        """The thread has ended by *error*."""

    def brokers(self, up: int) -> None:
        """Take note of how many brokers there is a connection to, every few seconds."""

    def commit_failed(self, error: KafkaError) -> None:
        """Offsets could not be committed; they will be again."""


@dataclass(slots=True)
class Taken:
    """What the event loop has taken so far of what it was given; the loop writes, the thread reads."""

    records: int = 0
    size: int = 0


class Poller(threading.Thread):
    """Polls until it is stopped.

    Args:
        config: what the user wrote.
        properties: of the client, with its log.
        reader: makes chunks.
        listener: who is told.

    Attributes:
        taken: what the event loop has taken; it keeps this up to date.
        brokers_up: how many brokers there is a connection to.
        partitions: what is ours, by topic and number.

    Raises:
        KafkaException: the properties make no consumer (a certificate that cannot be read).
    """

    def __init__(
        self,
        config: KafkaReceiverConfig,
        properties: Mapping[str, Any],
        reader: Reader,
        listener: Listener,
        *,
        consumer: Callable[[dict[str, Any]], Consumer] = Consumer,
    ) -> None:
        super().__init__(name="kafka-receiver", daemon=True)
        self.taken = Taken()
        self.brokers_up = 0
        self.partitions: dict[tuple[str, int], Partition] = {}
        self._config = config
        self._reader = reader
        self._listener = listener
        self._given = Taken()
        self._paused = False
        self._ending = threading.Event()
        self._interval = config.autocommit.interval if config.autocommit.enable else _POLL
        self._committed_at = 0.0
        self._consumer = consumer(
            {
                **properties,
                "statistics.interval.ms": _STATISTICS,
                "stats_cb": self._statistics,
                "error_cb": listener.error,
                "on_commit": self._heard_of_commit,
            }
        )

    def stop(self) -> None:
        """Commit what was handed on, leave the group, and end."""
        self._ending.set()

    def run(self) -> None:
        """Poll until `stop`."""
        try:
            self._consumer.subscribe(
                self._config.topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
            while not self._ending.is_set():
                self._poll()
            self._withdraw_all()
            self._consumer.close()
        except Exception as error:  # noqa: BLE001 (a thread that ends in silence would look like a topic without records)
            self._withdraw_all()
            self._listener.died(error)

    def _poll(self) -> None:
        self._pause_or_resume()
        try:
            messages = self._consumer.consume(_RECORDS, _POLL)
        except KafkaException as error:
            self._listener.error(error.args[0])
            time.sleep(_POLL)
            return
        self._give(messages)
        if time.monotonic() - self._committed_at >= self._interval:
            self._committed_at = time.monotonic()
            self._commit(list(self.partitions.values()), asynchronous=True)
            self._look_ahead()

    def _give(self, messages: list[Message]) -> None:
        records = []
        for message in messages:
            error = message.error()
            if error is None:
                records.append(message)
            else:
                self._listener.error(error)
        for chunk in self._reader.chunks(records, self.partitions):
            self._given.records += chunk.records
            self._given.size += chunk.size
            self._listener.chunk(chunk)

    def _pause_or_resume(self) -> None:
        records = self._given.records - self.taken.records
        size = self._given.size - self.taken.size
        if not self._paused and (records > _MOST_WAITING or size > _MOST_WAITING_BYTES):
            self._paused = True
            self._consumer.pause(self._consumer.assignment())
        elif self._paused and records <= _MOST_WAITING // 2 and size <= _MOST_WAITING_BYTES // 2:
            self._paused = False
            self._consumer.resume(self._consumer.assignment())

    def _on_assign(self, consumer: Consumer, given: list[TopicPartition]) -> None:
        """Start where whoever had the partitions before says, or where the configuration says if nobody had."""
        targets = []
        for known in self._committed_offsets(consumer, given):
            target, start = self._start(consumer, known)
            partition = Partition(known.topic, known.partition, start)
            partition.committed = start if known.offset >= 0 else None
            self.partitions[partition.key] = partition
            self._listener.assigned(partition)
            targets.append(target)
        if self._config.cooperative:
            consumer.incremental_assign(targets)
        else:
            consumer.assign(targets)
        if self._paused:
            consumer.pause(targets)

    def _committed_offsets(self, consumer: Consumer, given: list[TopicPartition]) -> list[TopicPartition]:
        try:
            return consumer.committed(given, timeout=_PATIENCE) if given else []
        except KafkaException as error:  # the client asks again itself, but for what we wrote beside the offset
            self._listener.error(error.args[0])
            return [TopicPartition(one.topic, one.partition, OFFSET_STORED) for one in given]

    def _start(self, consumer: Consumer, known: TopicPartition) -> tuple[TopicPartition, Position | None]:
        """Give where to assign a partition, and what is known of it."""
        place = TopicPartition(known.topic, known.partition)
        if known.error is not None or known.offset == OFFSET_STORED:
            place.offset = OFFSET_STORED
            return place, None
        if known.offset >= 0:
            start = Position.committed(known.offset, known.metadata)
            if start.replay < start.offset:
                low, _ = self._watermarks(consumer, place) or (start.offset, 0)
                start = Position(start.offset, min(max(start.replay, low), start.offset))
            place.offset = start.replay
            return place, start
        # Nobody has committed. A place that is said outright can be committed before the first record is read; else
        # what comes until then would be left out if the partition moved on.
        marks = self._watermarks(consumer, place)
        earliest = self._config.initial_offset == "earliest"
        if marks is None:
            place.offset = OFFSET_BEGINNING if earliest else OFFSET_END
            return place, None
        place.offset = marks[0] if earliest else marks[1]
        return place, Position(place.offset, place.offset)

    def _watermarks(self, consumer: Consumer, place: TopicPartition) -> tuple[int, int] | None:
        try:
            return consumer.get_watermark_offsets(place, timeout=_PATIENCE)
        except KafkaException as error:
            self._listener.error(error.args[0])
            return None

    def _on_revoke(self, _consumer: Consumer, taken: list[TopicPartition]) -> None:
        """Commit a last time; what is open of these partitions is somebody else's from here on."""
        partitions = self._withdraw(taken, lost=False)
        self._commit(partitions, asynchronous=False)

    def _on_lost(self, _consumer: Consumer, taken: list[TopicPartition]) -> None:
        """Do as for a revocation, but somebody else may have committed already."""
        self._withdraw(taken, lost=True)

    def _withdraw(self, taken: list[TopicPartition], *, lost: bool) -> list[Partition]:
        partitions = [self.partitions.pop((one.topic, one.partition), None) for one in taken]
        ours = [partition for partition in partitions if partition is not None]
        for partition in ours:
            partition.withdraw()
            self._listener.revoked(partition, lost=lost)
        return ours

    def _withdraw_all(self) -> None:
        """Withdraw before the group is left, so that nothing more of it goes into the pipeline."""
        for partition in self.partitions.values():
            partition.withdraw()

    def _commit(self, partitions: list[Partition], *, asynchronous: bool) -> None:
        offsets = []
        for partition in partitions:
            position = partition.position()
            if position is not None and position != partition.committed:
                partition.committed = position
                offsets.append(
                    TopicPartition(partition.topic, partition.number, position.offset, metadata=position.metadata)
                )
        if not offsets:
            return
        try:
            if asynchronous:
                self._consumer.commit(offsets=offsets, asynchronous=True)
            else:
                self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            self._heard_of_commit(error.args[0], offsets)

    def _heard_of_commit(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        for offset in offsets:
            wrong = error if error is not None else offset.error
            if wrong is None:
                continue
            partition = self.partitions.get((offset.topic, offset.partition))
            if partition is not None:
                partition.committed = None
            self._listener.commit_failed(wrong)

    def _look_ahead(self) -> None:
        """Note how far the partitions reach, as the last answers of the brokers said."""
        for partition in self.partitions.values():
            place = TopicPartition(partition.topic, partition.number)
            try:
                _, high = self._consumer.get_watermark_offsets(place, cached=True)
            except KafkaException:  # nothing was heard of it yet
                continue
            partition.high = max(0, high)

    def _statistics(self, text: str) -> None:
        numbers = json.loads(text)
        brokers = numbers.get("brokers", {}).values()
        self.brokers_up = sum(broker.get("state") == "UP" and broker.get("nodeid", -1) >= 0 for broker in brokers)
        self._listener.brokers(self.brokers_up)
