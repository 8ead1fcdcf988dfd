"""A receiver at a real broker, and what a test does around it."""

import asyncio
import itertools
import time
from typing import Any, Self

import confluent_kafka
import structlog
from confluent_kafka.admin import AdminClient, NewTopic

from otel_tracead.component import Kind, Settings
from otel_tracead.delivery import Consignment
from otel_tracead.metrics import Metric
from otel_tracead.receivers.kafka import FACTORY, KafkaReceiverConfig
from otel_tracead.testing import RecordingConsumer
from tests.contract.receiver_contract import until

_names = itertools.count()


class HoldingConsumer(RecordingConsumer):
    """A consumer that takes everything and settles it when it is told to.

    Attributes:
        held: what was taken and not settled.
    """

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Consignment] = []

    async def consume(self, consignment: Consignment) -> None:
        if self.failures and (failure := self.failures.popleft()) is not None:
            raise failure
        self.batches.append(consignment.batch)
        self.held.append(Consignment(consignment.batch, consignment.holds))

    def settle(self, *indices: int) -> None:
        for index in indices or range(len(self.held)):
            self.held[index].settle()


class Topic:
    """A topic of its own for one test."""

    def __init__(self, address: str, partitions: int = 1, *, make: bool = True) -> None:
        self.address = address
        self.name = f"spans-{time.time_ns()}-{next(_names)}"
        self.producer = confluent_kafka.Producer({"bootstrap.servers": address, "log_level": 0})
        if make:
            self.make(partitions)

    def make(self, partitions: int = 1) -> None:
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        admin.create_topics([NewTopic(self.name, num_partitions=partitions, replication_factor=1)])[self.name].result(
            10
        )

    def delete(self) -> None:
        AdminClient({"bootstrap.servers": self.address, "log_level": 0}).delete_topics([self.name])[self.name].result(
            10
        )

    def put(self, *values: bytes | None, partition: int = 0, **record: Any) -> None:
        for value in values:
            self.producer.produce(self.name, value=value, partition=partition, **record)
        assert self.producer.flush(10) == 0

    def committed(self, group: str, partition: int = 0) -> tuple[int, str]:
        """The committed offset and what stands beside it; -1001 for none."""
        asking = confluent_kafka.Consumer({"bootstrap.servers": self.address, "group.id": group})
        try:
            (found,) = asking.committed([confluent_kafka.TopicPartition(self.name, partition)], timeout=10)
        finally:
            asking.close()
        return found.offset, found.metadata or ""

    def records(self, count: int) -> list[confluent_kafka.Message]:
        """The first *count* records."""
        reading = confluent_kafka.Consumer(
            {"bootstrap.servers": self.address, "group.id": "reading", "enable.auto.commit": False}
        )
        try:
            reading.assign([confluent_kafka.TopicPartition(self.name, 0, 0)])
            found: list[confluent_kafka.Message] = []
            until_ = time.monotonic() + 10
            while len(found) < count and time.monotonic() < until_:
                found += [message for message in reading.consume(count, 0.2) if message.error() is None]
        finally:
            reading.close()
        return found


class Rig:
    """A running receiver and the consumer behind it."""

    def __init__(self, topic: Topic, consumer: Any = None, **written: Any) -> None:
        logs = structlog.testing.LogCapture()
        logger = structlog.wrap_logger(structlog.testing.ReturnLogger(), processors=[logs])
        self.logs = logs.entries
        self.topic = topic
        self.failed: list[BaseException] = []
        self.consumer = consumer or RecordingConsumer()
        self.group = written.setdefault("group_id", topic.name)
        body = {
            "brokers": [topic.address],
            "traces": {"topics": [topic.name]},
            "initial_offset": "earliest",
            "autocommit": {"interval": "100ms"},
            "session_timeout": "2s",
            "heartbeat_interval": "200ms",
            "max_fetch_wait": "20ms",
        } | written
        self.settings = Settings(id="kafka/1", kind=Kind.RECEIVER, logger=logger, fail=self.failed.append)
        self.receiver: Any = FACTORY.build(KafkaReceiverConfig.model_validate(body), self.settings, self.consumer)

    async def __aenter__(self) -> Self:
        await self.receiver.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.receiver.shutdown()

    @property
    def partitions(self) -> set[int]:
        return {number for _, number in self.receiver._poller.partitions}

    def value(self, metric: Metric, *labels: str) -> float:
        return self.settings.telemetry.value(metric, "kafka/1", *labels)

    async def until_spans(self, count: int) -> None:
        await until(lambda: len(self.consumer.spans) >= count)

    async def until_committed(self, offset: int, partition: int = 0) -> str:
        async with asyncio.timeout(10):
            while True:
                found, metadata = await asyncio.to_thread(self.topic.committed, self.group, partition)
                if found == offset:
                    return metadata
                await asyncio.sleep(0.05)

    def warnings(self) -> list[dict[str, Any]]:
        return [entry for entry in self.logs if entry["log_level"] == "warning"]
