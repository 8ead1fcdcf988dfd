"""A batch is sent again and again; with a clock of the bench's own: no test here waits."""

import asyncio
import gc
from contextlib import suppress
from weakref import WeakSet

import pytest

from otel_tracead.component import Kind, Settings
from otel_tracead.delivery import Consignment
from otel_tracead.errors import Backpressure, InvalidRequest, PermanentError, RetryableError
from otel_tracead.exporting import ExporterConfig, QueuedExporter
from otel_tracead.metrics import EXPORTER_FAILED, EXPORTER_RETRIES
from otel_tracead.testing import RecordingSender
from otel_tracead.wire.batch import SpanBatch
from tests.exporting.exporter_bench import bench, spans, until


async def test_backs_off_as_the_collector_does() -> None:
    one = await bench()
    one.sender.failures += [RetryableError("away")] * 7
    await one.put("a")
    await until(lambda: one.settled)
    assert one.waits == [5, 7.5, 11.25, 16.875, 25.3125, 30, 30]
    assert one.delivered == ["a"]
    assert one.value(EXPORTER_RETRIES) == 7
    await one.exporter.shutdown()


@pytest.mark.parametrize(("random", "first"), [(0.0, 2.5), (1.0, 7.5)])
async def test_waits_are_spread(random: float, first: float) -> None:
    one = await bench(random=random)
    one.sender.failures.append(RetryableError("away"))
    await one.put("a")
    await until(lambda: one.settled)
    assert one.waits == [first]
    await one.exporter.shutdown()


async def test_waits_at_least_as_long_as_the_backend_asks_for() -> None:
    one = await bench()
    one.sender.failures += [RetryableError("busy", retry_after=seconds) for seconds in (60.0, 0.1, 1e9)]
    await one.put("a")
    await until(lambda: one.settled)
    assert one.waits == [60, 7.5, 300]
    await one.exporter.shutdown()


async def test_gives_up_only_where_a_limit_says_so() -> None:
    forever = await bench()
    forever.sender.failures += [RetryableError("away")] * 1000
    limited = await bench({"retry_on_failure": {"max_elapsed_time": "20s", "max_interval": "20s"}})
    limited.sender.failures += [RetryableError("away")] * 1000
    for one in (forever, limited):
        await one.put("a", "b")
        await until(lambda one=one: one.settled)
    assert (forever.delivered, sum(forever.waits) > 20_000) == (["a", "b"], True)
    assert (limited.delivered, limited.waits) == ([], [5, 7.5])
    assert limited.value(EXPORTER_FAILED) == 2
    for one in (forever, limited):
        await one.exporter.shutdown()


async def test_without_retry_a_failed_request_is_given_up() -> None:
    one = await bench({"retry_on_failure": {"enabled": False}})
    one.sender.failures.append(RetryableError("away"))
    await one.put("a")
    await until(lambda: one.settled)
    assert (one.delivered, one.value(EXPORTER_FAILED)) == ([], 1)
    await one.exporter.shutdown()


async def test_errors_of_the_system_are_tried_again() -> None:
    one = await bench()
    one.sender.failures += [OSError("disk full"), ConnectionResetError("gone"), TimeoutError()]
    await one.put("a")
    await until(lambda: one.settled)
    assert one.delivered == ["a"]
    await one.exporter.shutdown()


async def test_an_attempt_that_takes_too_long_is_tried_again() -> None:
    one = await bench({"timeout": "10ms"})
    one.sender.gate.clear()
    await one.put("a")
    await until(lambda: one.waits)
    one.sender.gate.set()
    await until(lambda: one.settled)
    assert one.delivered == ["a"]
    await one.exporter.shutdown()


async def test_a_wait_between_attempts_does_not_hold_the_shutdown_up() -> None:
    sender = RecordingSender()
    exporter = QueuedExporter(Settings(id="out", kind=Kind.EXPORTER), ExporterConfig(), sender)
    await exporter.start()
    sender.failures.append(RetryableError("away", retry_after=3600))
    await exporter.consume(Consignment(spans("a")))
    await until(lambda: sender.attempts)
    async with asyncio.timeout(1):
        await exporter.shutdown()
    assert sender.spans == [b"a"]


class Failing(RecordingSender):
    """A sender whose every attempt fails, with a request in its hands."""

    class Request:
        pass

    def __init__(self, kind: type[Exception]) -> None:
        super().__init__()
        self.kind = kind
        self.requests: WeakSet[Failing.Request] = WeakSet()
        self.tried = 0

    async def send(self, batch: SpanBatch) -> None:
        request = self.Request()
        self.requests.add(request)
        self.tried += 1
        raise self.kind(f"{len(batch)} spans")


@pytest.mark.parametrize("kind", [RetryableError, OSError, InvalidRequest])
@pytest.mark.parametrize("queue", [True, False])
async def test_a_failed_attempt_leaves_nothing_for_the_garbage_collector(kind: type[Exception], queue: bool) -> None:
    """It comes round rarely in a stage, and a request has up to 4 MiB: while it waits, and when it is over."""
    sender = Failing(kind)
    written = {"retry_on_failure": {"max_elapsed_time": "30s"}, "sending_queue": {"enabled": queue}}
    one = await bench(written, sender=sender)
    spans_before = len([found for found in gc.get_objects() if type(found) is SpanBatch])
    gc.collect()
    gc.disable()
    try:
        while_waiting: list[int] = []
        one.while_waiting = lambda: while_waiting.append(len(sender.requests))
        with suppress(Backpressure, PermanentError):
            await one.put("a", "b")
        await until(lambda: one.value(EXPORTER_FAILED) == 2 or not queue)
        assert sender.tried > 0
        assert set(while_waiting) <= {0}
        await until(lambda: not sender.requests)
        await until(lambda: sum(type(found) is SpanBatch for found in gc.get_objects()) <= spans_before)
    finally:
        gc.enable()
    await one.exporter.shutdown()
