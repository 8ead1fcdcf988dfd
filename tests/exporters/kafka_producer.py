"""A twin of librdkafka's producer in memory, for what a real broker cannot be asked to do."""

import threading
import time
from collections import deque
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from otel_tracead.wire.otlp import Envelopes, decode_request
from tests.contract.exporter_contract import BackendState
from tests.exporters.span_names import name_of

CODES = {
    "transient": KafkaError._MSG_TIMED_OUT,
    "permanent": KafkaError.TOPIC_AUTHORIZATION_FAILED,
    "data": KafkaError.INVALID_RECORD,
}


class FakeCluster(BackendState):
    """What stands behind the producers.

    Attributes:
        keys: of the records that were taken.
        produced: how many records were given to a producer.
        fatal: the next record finds the producer at its end.
        room: how many records a producer has room for.
        producers: how many were made.
    """

    def __init__(self) -> None:
        super().__init__()
        self.running = False
        self.keys: list[bytes | None] = []
        self.produced = self.producers = 0
        self.fatal = False
        self.room = 1000
        self.by_name: dict[str, int] = {}

    async def start(self) -> None:
        self.running = True

    async def stop(self) -> None:
        self.running = False

    def answer(self, names: list[str]) -> int | None:
        """The error code for a record with spans of these names; None takes it."""
        self.times.append(time.monotonic())
        if not self.running:
            return KafkaError._MSG_TIMED_OUT
        refusal = self.refusals.popleft() if self.refusals else None
        if refusal is not None:
            return CODES[refusal.kind]
        if any(name in self.by_name for name in names):
            return next(self.by_name[name] for name in names if name in self.by_name)
        if self.poison in names:
            return KafkaError.INVALID_RECORD
        self.received.append(names)
        return None


class FakeProducer:
    def __init__(self, cluster: FakeCluster, properties: dict[str, Any]) -> None:
        self.cluster = cluster
        self.properties = properties
        self._waiting: deque[tuple[list[str], bytes | None, Any]] = deque()
        self._news = threading.Event()
        cluster.producers += 1

    def __len__(self) -> int:
        return len(self._waiting)

    def produce(self, _topic: str, value: bytes, key: bytes | None, headers: Any, on_delivery: Any) -> None:
        if self.cluster.fatal:
            self.cluster.fatal = False
            raise KafkaException(KafkaError(KafkaError._FATAL, "at its end", True))
        if len(self._waiting) >= self.cluster.room:
            raise BufferError("queue full")
        self.cluster.produced += 1
        batch = decode_request(value, Envelopes())
        self._waiting.append(([name_of(span) for _, span in batch], key, on_delivery))
        self._news.set()

    def poll(self, timeout: float) -> int:
        if not self._news.wait(timeout):
            return 0
        if not self.cluster.gate.is_set():
            self._news.wait(timeout)
            return 0
        self._news.clear()
        while self._waiting:
            names, key, on_delivery = self._waiting.popleft()
            code = self.cluster.answer(names)
            if code is None:
                self.cluster.keys.append(key)
            on_delivery(None if code is None else KafkaError(code), None)
        return 1

    def flush(self, _timeout: float) -> int:
        return len(self._waiting)

    def purge(self) -> None:
        while self._waiting:
            _, _, on_delivery = self._waiting.popleft()
            on_delivery(KafkaError(KafkaError._PURGE_QUEUE), None)
