"""The exporterhelper with a clock of its own: no test here waits."""

import asyncio

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from otel_tracead.component import Component
from otel_tracead.delivery import Consignment, Delivery
from otel_tracead.errors import Backpressure, InvalidRequest, PermanentError, RetryableError, TooLarge
from otel_tracead.exporting import ExporterConfig
from otel_tracead.metrics import (
    EXPORTER_ENQUEUE_FAILED,
    EXPORTER_FAILED,
    EXPORTER_IN_FLIGHT,
    EXPORTER_QUEUE_CAPACITY,
    EXPORTER_QUEUE_SIZE,
    EXPORTER_RETRIES,
    EXPORTER_SENT,
)
from otel_tracead.testing import RecordingSender
from otel_tracead.wire.batch import SpanBatch
from tests.exporting.exporter_bench import Bench, bench, spans, until


async def test_delivers_once_and_settles_once() -> None:
    one = await bench()
    assert isinstance(one.exporter, Component)
    await one.put("a", "b")
    await one.put("c")
    await one.exporter.shutdown()
    assert sorted(one.delivered) == ["a", "b", "c"]
    assert sorted(one.settled) == ["a+b", "c"]
    assert one.value(EXPORTER_SENT) == 3
    assert (one.exporter.undelivered, one.sender.running) == (0, False)
    await one.exporter.shutdown()


async def test_permanent_errors_drop_count_and_settle() -> None:
    one = await bench()
    one.sender.failures += [PermanentError("never"), None]
    with capture_logs() as logs:
        await one.put("a", "b")
        await until(lambda: one.settled)
        one.sender.failures.append(PermanentError("never"))
        await one.put("c")
        await until(lambda: len(one.settled) == 2)
        await one.put("d")
        await one.exporter.shutdown()
    assert [entry["spans"] for entry in logs if entry["event"] == "spans given up"] == [2]
    assert len(one.sender.attempts) == 3
    assert one.delivered in (["c"], ["d"])
    assert one.value(EXPORTER_FAILED) + one.value(EXPORTER_SENT) == 4
    assert one.value(EXPORTER_RETRIES) == 0


class Poisoned(RecordingSender):
    """Refuses every batch with a span whose name begins with `bad`."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def send(self, batch: SpanBatch) -> None:
        await super().send(batch)
        if any(span.startswith(b"bad") for _, span in batch):
            self.batches.pop()
            raise self.error


@pytest.mark.parametrize("error", [InvalidRequest("no"), TooLarge("too much"), ValueError("a bug")])
async def test_only_the_poisonous_spans_are_dropped(error: Exception) -> None:
    one = await bench(sender=Poisoned(error))
    names = [f"good{number}" for number in range(100)]
    names[17:17] = ["bad1"]
    names[80:80] = ["bad2"]
    await one.put(*names)
    await until(lambda: one.settled)
    assert sorted(one.delivered) == sorted(name for name in names if name.startswith("good"))
    assert one.value(EXPORTER_FAILED) == 2
    assert one.value(EXPORTER_SENT) == 100
    assert len(one.settled) == 1
    assert len(one.sender.attempts) < 40
    await one.exporter.shutdown()


async def test_a_backend_that_refuses_everything_is_not_asked_about_everything() -> None:
    one = await bench(sender=Poisoned(InvalidRequest("no")))
    await one.put(*["bad"] * 10_000)
    await until(lambda: one.settled)
    assert len(one.sender.attempts) < 2100
    assert one.value(EXPORTER_FAILED) == 10_000
    await one.exporter.shutdown()


@pytest.mark.parametrize(
    ("queue", "fits"),
    [
        ({"queue_size": 2}, 2),
        ({"queue_size": 5, "sizer": "items"}, 2),
        ({"queue_size": 17, "sizer": "bytes"}, 2),
        ({"queue_size": 1, "sizer": "items"}, 1),
    ],
)
async def test_a_full_queue_refuses_and_loses_nothing(queue: dict, fits: int) -> None:
    one = await bench({"sending_queue": {**queue, "num_consumers": 1}})
    one.sender.gate.clear()
    for _ in range(fits):
        await one.put("aaaa", "bbbb")
    refused = one.consignment("cccc", "dddd")
    with pytest.raises(Backpressure, match="sending queue is full"):
        await one.exporter.consume(refused)
    if queue.get("sizer") != "bytes":
        with pytest.raises(Backpressure):
            one.exporter.admit(2)
    assert one.value(EXPORTER_ENQUEUE_FAILED) >= 2
    assert refused.holds
    assert one.value(EXPORTER_QUEUE_CAPACITY, "traces") == queue["queue_size"]
    await until(lambda: one.value(EXPORTER_IN_FLIGHT) == 1)
    assert one.value(EXPORTER_QUEUE_SIZE, "traces") > 0
    one.sender.gate.set()
    await until(lambda: len(one.settled) == fits)
    await one.exporter.consume(refused)
    await one.exporter.shutdown()
    assert len(one.delivered) == 2 * fits + 2
    assert one.value(EXPORTER_QUEUE_SIZE, "traces") == 0


async def test_block_on_overflow_waits_for_room() -> None:
    one = await bench({"sending_queue": {"queue_size": 1, "block_on_overflow": True}})
    one.sender.gate.clear()
    await one.put("a")
    waiting = [asyncio.create_task(one.put(name)) for name in "bcd"]
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in waiting)
    one.sender.gate.set()
    await asyncio.gather(*waiting)
    await one.exporter.shutdown()
    assert sorted(one.delivered) == ["a", "b", "c", "d"]


async def test_without_a_queue_consume_returns_once_it_was_sent() -> None:
    one = await bench({"sending_queue": {"enabled": False}})
    one.sender.failures.append(RetryableError("away"))
    await one.put("a")
    assert (one.delivered, one.settled, one.waits) == (["a"], ["a"], [5])
    await one.exporter.shutdown()


async def test_without_queue_and_retry_a_failure_goes_back_to_the_sender() -> None:
    one = await bench({"sending_queue": {"enabled": False}, "retry_on_failure": {"enabled": False}})
    one.sender.failures.append(RetryableError("away", retry_after=3))
    consignment = one.consignment("a")
    with pytest.raises(Backpressure) as caught:
        await one.exporter.consume(consignment)
    assert caught.value.retry_after == 3
    assert consignment.holds
    assert one.value(EXPORTER_FAILED) == 0
    await one.exporter.consume(consignment)
    assert one.settled == ["a"]
    await one.exporter.shutdown()


async def test_without_a_queue_what_is_refused_for_good_is_said() -> None:
    one = await bench({"sending_queue": {"enabled": False}})
    one.sender.failures.append(InvalidRequest("HTTP 400"))
    consignment = one.consignment("a")
    with pytest.raises(InvalidRequest):
        await one.exporter.consume(consignment)
    assert consignment.holds
    assert one.value(EXPORTER_FAILED) == 1
    await one.exporter.shutdown()


async def test_who_waits_for_the_result_hears_it() -> None:
    one = await bench({"sending_queue": {"wait_for_result": True, "batch": {"min_size": 4, "max_size": 4}}})
    one.sender.gate.clear()
    put = [asyncio.create_task(one.put("a", "b")), asyncio.create_task(one.put("c", "d"))]
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in put)
    one.sender.gate.set()
    await asyncio.gather(*put)
    assert sorted(one.settled) == ["a+b", "c+d"]
    one.sender.failures.append(PermanentError("HTTP 403"))
    refused = one.consignment("e", "f", "g", "h")
    with pytest.raises(PermanentError, match="403"):
        await one.exporter.consume(refused)
    assert refused.holds
    await one.exporter.shutdown()


async def test_a_result_in_part_is_no_refusal() -> None:
    one = await bench({"sending_queue": {"wait_for_result": True, "batch": {"min_size": 2, "max_size": 2}}})
    one.sender.failures += [PermanentError("HTTP 403"), None]
    await one.put("a", "b", "c", "d")
    assert (one.delivered, one.settled) == (["c", "d"], ["a+b+c+d"])
    assert one.value(EXPORTER_FAILED) == 2
    await one.exporter.shutdown()


async def test_a_batch_is_measured_as_the_queue_is() -> None:
    def sizer(**queue: object) -> str:
        batch = ExporterConfig.model_validate({"sending_queue": queue}).sending_queue.batch
        assert batch is not None
        return batch.sizer

    assert sizer(batch={}) == "items"
    assert sizer(sizer="bytes", queue_size=10_000, batch={"min_size": 1}) == "bytes"
    assert sizer(sizer="bytes", batch={"sizer": "items"}) == "items"
    assert sizer(sizer="requests", batch={}) == "items"


async def test_requests_are_joined_to_min_size_and_cut_to_max_size() -> None:
    batch = {"flush_timeout": "1h", "min_size": 4, "max_size": 4}
    one = await bench({"sending_queue": {"batch": batch}})
    for names in (("a",), ("b", "c"), ("d", "e", "f")):
        await one.put(*names)
    await until(lambda: len(one.settled) == 3)
    assert [len(attempt) for attempt in one.sender.attempts] == [4, 2]
    assert one.delivered == ["a", "b", "c", "d", "e", "f"]
    await one.put("g")  # waits for more until the shutdown
    await asyncio.sleep(0.01)
    await one.exporter.shutdown()
    assert one.delivered[-1] == "g"
    assert sorted(one.settled) == ["a", "b+c", "d+e+f", "g"]


async def test_a_batch_waits_no_longer_than_flush_timeout() -> None:
    one = await bench({"sending_queue": {"batch": {"flush_timeout": "10ms", "min_size": 10, "sizer": "bytes"}}})
    await one.put("a")
    await until(lambda: one.settled)
    await one.put("bbbbbbbbbb")
    await until(lambda: len(one.settled) == 2)
    await one.exporter.shutdown()


async def test_shutdown_keeps_trying_within_its_time() -> None:
    one = await bench({"sending_queue": {"num_consumers": 2}})
    one.sender.failures += [RetryableError("away")] * 5
    for name in "abcdef":
        await one.put(name)
    await one.exporter.shutdown()
    assert sorted(one.delivered) == list("abcdef")
    assert one.exporter.undelivered == 0
    assert max(one.waits) <= 7.5
    with pytest.raises(Backpressure, match="shutting down"):
        one.exporter.admit(1)
    with pytest.raises(Backpressure, match="shutting down"):
        await one.exporter.consume(one.consignment("g"))


@pytest.mark.parametrize("batch", [None, {"min_size": 2, "max_size": 2}])
async def test_what_is_left_after_that_is_counted_and_not_settled(batch: dict | None) -> None:
    one = await bench({"sending_queue": {"num_consumers": 2, "batch": batch} if batch else {"num_consumers": 2}})
    one.exporter.drain_timeout = 0.05
    one.sender.gate.clear()
    for _ in range(5):
        await one.put("a", "b", "c")
    await one.exporter.shutdown()
    assert one.exporter.undelivered == 15
    assert one.value(EXPORTER_FAILED) == 15
    assert one.settled == []
    assert not one.sender.running


class Kept(Delivery):
    kept = True


async def test_what_is_kept_elsewhere_is_not_lost_when_it_is_left() -> None:
    one = await bench({"sending_queue": {"num_consumers": 1}})
    one.exporter.drain_timeout = 0.05
    one.sender.gate.clear()
    kept = Kept()
    for _ in range(3):
        await one.exporter.consume(Consignment(spans("a", "b"), [(kept, 0)]))
    await one.put("c")
    await one.exporter.shutdown()
    assert one.exporter.undelivered == 1


async def test_shutdown_without_start() -> None:
    one = Bench()
    await one.put("a")
    await one.exporter.shutdown()
    assert one.exporter.undelivered == 1


@pytest.mark.parametrize(
    "written",
    [
        {"sending_queue": {"storage": "file_storage", "wait_for_result": True}},
        {"sending_queue": {"queue_size": 10, "sizer": "items", "batch": {"min_size": 11}}},
        {"sending_queue": {"batch": {"partition": {"metadata_keys": ["tenant"]}}}},
        {"retry_on_failure": {"max_elapsed_time": "10s"}},
        {"sending_queue": {"queue_size": 0}},
        {"sending_queue": {"enabled": False, "batch": {}}},
        {"sending_queue": {"batch": {"min_size": 10, "max_size": 5}}},
        {"sending_queue": {"batch": {"sizer": "requests"}}},
        {"retry_on_failure": {"randomization_factor": 1.5}},
        {"retry_on_failure": {"multiplier": 0.5}},
        {"timeout": 5},
    ],
)
def test_what_is_not_implemented_or_wrong_is_refused(written: dict) -> None:
    with pytest.raises(ValidationError):
        ExporterConfig.model_validate(written)


def test_empty_sections_are_their_defaults() -> None:
    config = ExporterConfig.model_validate({"sending_queue": {"batch": None}, "retry_on_failure": None})
    assert config.sending_queue.batch is not None
    assert config.retry_on_failure.max_elapsed_time == 0
