import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tracead import metrics
from otel_tracead.component import Kind, Settings
from otel_tracead.delivery import Consignment, Delivery
from otel_tracead.errors import Backpressure, ConfigError, PermanentError
from otel_tracead.processors.batch import FACTORY, BatchConfig, BatchProcessor
from otel_tracead.processors.batch import processor as module
from otel_tracead.processors.batch.accumulator import Accumulator, Trigger, cut
from otel_tracead.service.problems import validate
from otel_tracead.testing import RecordingConsumer
from otel_tracead.wire.batch import Envelope, SpanBatch

ENVELOPES = [Envelope(b"", b"", {"service.name": name}) for name in "abc"]


def config(**keys: object) -> BatchConfig:
    return validate(BatchConfig, keys, ("processors", "batch"))


def request(count: int, delivery: Delivery | None = None, tag: bytes = b"s") -> Consignment:
    batch = SpanBatch([(ENVELOPES[0], [tag + str(index).encode() for index in range(count)])])
    return Consignment(batch, [(delivery or Delivery(), 1)])


def processor(consumer: RecordingConsumer, **keys: object) -> tuple[BatchProcessor, Settings]:
    settings = Settings(id="batch", kind=Kind.PROCESSOR)
    built = FACTORY.build(config(**keys), settings, consumer)
    assert isinstance(built, BatchProcessor)
    return built, settings


async def until(spans: int, consumer: RecordingConsumer) -> None:
    async with asyncio.timeout(5):
        while len(consumer.spans) < spans:  # noqa: ASYNC110 (the fake has no event)
            await asyncio.sleep(0.001)


def test_defaults_are_the_collectors() -> None:
    assert config() == BatchConfig(send_batch_size=8192, timeout="200ms", send_batch_max_size=0)
    with pytest.raises(ConfigError, match="send_batch_max_size must be greater or equal to send_batch_size"):
        config(send_batch_size=10, send_batch_max_size=9)


def test_size_and_age_decide() -> None:
    waiting = Accumulator(config(send_batch_size=5, timeout="200ms"))
    assert waiting.due(0) is None
    assert waiting.take(0) is None
    waiting.add(request(3), 0)
    waiting.add(request(1), 0.1)
    assert waiting.due(0.19) is None
    assert waiting.due(0.2) is Trigger.TIMEOUT
    waiting.add(request(1), 0.15)
    assert waiting.due(0.15) is Trigger.SIZE


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9)), max_size=3), max_size=6),
    st.integers(min_value=1, max_value=7),
    st.booleans(),
)
def test_every_span_comes_out_once_in_order_and_every_delivery_is_settled(
    requests: list[list[tuple[int, int]]], most: int, bounded: bool
) -> None:
    waiting = Accumulator(config(send_batch_size=most, send_batch_max_size=most if bounded else 0))
    went_in: dict[Envelope, list[bytes]] = {}
    deliveries = []
    number = 0
    for groups in requests:
        batch = SpanBatch()
        for envelope, count in groups:
            spans = [str(number + index).encode() for index in range(count)]
            number += count
            batch.groups.append((ENVELOPES[envelope], spans))
            went_in.setdefault(ENVELOPES[envelope], []).extend(spans)
        deliveries.append(Delivery())
        waiting.add(Consignment(batch, [(deliveries[-1], 1)]), 0)
    came_out: dict[Envelope, list[bytes]] = {}
    while (taken := waiting.take(0)) is not None:
        assert not bounded or len(taken.batch) <= most
        for envelope, span in taken.batch:
            came_out.setdefault(envelope, []).append(span)
        taken.settle()
    assert came_out == went_in
    assert waiting.spans == 0
    assert all(delivery.holds == 0 for delivery in deliveries)


@given(st.lists(st.integers(0, 5), max_size=4), st.integers(0, 20))
def test_cutting_keeps_order_and_envelopes(sizes: list[int], at: int) -> None:
    batch = SpanBatch([(ENVELOPES[index % 3], [bytes([index, k]) for k in range(n)]) for index, n in enumerate(sizes)])
    first, rest = cut(batch, at)
    assert [*first, *rest] == list(batch)
    assert len(first) == min(at, len(batch))


async def test_small_requests_are_joined_by_age_and_by_size() -> None:
    consumer = RecordingConsumer()
    batch, settings = processor(consumer, send_batch_size=10, timeout="20ms")
    await batch.start()
    delivery = Delivery()
    await batch.consume(request(3, delivery))
    await batch.consume(request(3))
    assert consumer.spans == []
    await until(6, consumer)
    assert (len(consumer.batches), delivery.holds) == (1, 0)
    await batch.consume(request(10))
    await until(16, consumer)
    await batch.shutdown()
    value = settings.telemetry.value
    assert value(metrics.BATCH_TIMEOUT_TRIGGER, "batch") == 1
    assert value(metrics.BATCH_SIZE_TRIGGER, "batch") == 1
    assert value(metrics.BATCH_SEND_SIZE, "batch") == 2
    assert value(metrics.PROCESSOR_INCOMING, "batch") == value(metrics.PROCESSOR_OUTGOING, "batch") == 16


async def test_no_batch_is_over_the_maximum() -> None:
    consumer = RecordingConsumer()
    batch, _ = processor(consumer, send_batch_size=4, send_batch_max_size=4, timeout="10s")
    await batch.start()
    await batch.consume(request(10))
    await until(8, consumer)
    assert [len(part) for part in consumer.batches] == [4, 4]
    await batch.shutdown()
    assert [len(part) for part in consumer.batches] == [4, 4, 2]


async def test_shutdown_sends_what_waits() -> None:
    consumer = RecordingConsumer()
    batch, _ = processor(consumer, timeout="1h")
    await batch.start()
    await batch.consume(request(3))
    await batch.shutdown()
    await batch.shutdown()
    assert len(consumer.spans) == 3
    assert batch.undelivered == 0


async def test_a_refused_batch_is_offered_again() -> None:
    consumer = RecordingConsumer()
    consumer.failures.extend([Backpressure("full", 0.001), Backpressure("full", 0.001)])
    batch, _ = processor(consumer, timeout="1ms")
    await batch.start()
    delivery = Delivery()
    await batch.consume(request(3, delivery))
    await until(3, consumer)
    await batch.shutdown()
    assert delivery.holds == 0


async def test_a_batch_that_nobody_will_take_does_not_stop_the_next_one() -> None:
    consumer = RecordingConsumer()
    consumer.failures.extend([PermanentError("broken")])
    batch, settings = processor(consumer, timeout="0s")
    await batch.start()
    lost, kept = Delivery(), Delivery()
    await batch.consume(request(2, lost))
    await asyncio.sleep(0.01)
    await batch.consume(request(3, kept))
    await until(3, consumer)
    await batch.shutdown()
    assert lost.holds == kept.holds == 0
    assert settings.telemetry.value(metrics.SPANS_DROPPED, "batch") == 2


async def test_while_one_batch_waits_another_fills_and_then_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LEAST_ROOM", 0)
    consumer = RecordingConsumer()
    consumer.gate.clear()
    batch, _ = processor(consumer, send_batch_size=4, timeout="10s")
    await batch.start()
    await batch.consume(request(4))
    await asyncio.sleep(0.01)
    await batch.consume(request(4))
    refused = request(1)
    with pytest.raises(Backpressure):
        await batch.consume(refused)
    assert refused.holds[0][0].holds == 1
    consumer.gate.set()
    await until(8, consumer)
    await batch.consume(refused)
    await batch.shutdown()
    assert len(consumer.spans) == 9


async def test_the_next_consumers_refusal_is_passed_on() -> None:
    consumer = RecordingConsumer()
    batch, _ = processor(consumer)
    consumer.refusal = Backpressure("full")
    with pytest.raises(Backpressure, match="full"):
        batch.admit(1)
    await batch.shutdown()


async def test_what_cannot_be_sent_in_time_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_DRAIN_SECONDS", 0.02)
    consumer = RecordingConsumer()
    consumer.gate.clear()
    batch, _ = processor(consumer, send_batch_size=4)
    await batch.start()
    await batch.consume(request(5))
    await asyncio.sleep(0.01)
    await batch.consume(request(2))
    await batch.shutdown()
    assert batch.undelivered == 7
