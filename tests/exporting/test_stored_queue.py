"""A sending queue on disk: taken is stored, sent is removed, left is there for the next; with a twin of the storage and the real one."""

import asyncio
from pathlib import Path

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from otel_tracead.component import Kind, Settings
from otel_tracead.delivery import Consignment, Delivery
from otel_tracead.errors import Backpressure, ConfigError, InvalidRequest, PermanentError, RetryableError
from otel_tracead.exporting import ExporterConfig, QueuedExporter, stored_queue
from otel_tracead.extensions.file_storage import FileStorage, FileStorageConfig
from otel_tracead.metrics import EXPORTER_ENQUEUE_FAILED, EXPORTER_FAILED, EXPORTER_QUEUE_SIZE, EXPORTER_SENT
from otel_tracead.storage import NotStored, StorageUnavailable
from otel_tracead.telemetry import Telemetry
from otel_tracead.testing import RecordingSender
from otel_tracead.wire.batch import Envelope, SpanBatch, TranslatedSpan
from tests.exporting.exporter_bench import spans, until


class Machine:
    """A folder, and the processes that use it one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.storage: FileStorage | None = None
        self.telemetry = Telemetry()
        self.settled: list[str] = []

    async def boot(self) -> None:
        self.storage = FileStorage(FileStorageConfig(directory=self.path), Settings(id="disk", kind=Kind.EXTENSION))
        await self.storage.start()

    async def stop(self) -> None:
        assert self.storage is not None
        await self.storage.shutdown()

    def exporter(self, sender: RecordingSender, queue: dict | None = None, **written: object) -> QueuedExporter:
        assert self.storage is not None
        settings = Settings(id="out", kind=Kind.EXPORTER, telemetry=self.telemetry, extensions={"disk": self.storage})
        config = {"sending_queue": {"storage": "disk", **(queue or {})}, **written}
        exporter = QueuedExporter(settings, ExporterConfig.model_validate(config), sender)
        exporter.drain_timeout = 0.05
        return exporter

    def consignment(self, *names: str) -> Consignment:
        delivery = Delivery(lambda: self.settled.append("+".join(names)))
        return Consignment(spans(*names), ((delivery, 1),))

    async def put(self, exporter: QueuedExporter, *names: str) -> None:
        exporter.admit(len(names))
        await exporter.consume(self.consignment(*names))

    async def stored(self) -> int:
        """How many records there are once everything was removed that was to be."""
        assert self.storage is not None
        return len(await self.storage.store(Kind.EXPORTER, "out", "traces").log("queue").entries())


@pytest.fixture
async def machine(tmp_path: Path):
    machine = Machine(tmp_path)
    await machine.boot()
    yield machine
    await machine.stop()


def names(sender: RecordingSender) -> list[str]:
    return [span.decode() for span in sender.spans]


def away() -> RecordingSender:
    sender = RecordingSender()
    sender.gate.clear()
    return sender


async def test_what_was_taken_is_settled_at_once_and_removed_once_it_was_sent(machine: Machine) -> None:
    sender = away()
    exporter = machine.exporter(sender)
    await exporter.start()
    await machine.put(exporter, "a", "b")
    assert machine.settled == ["a+b"]
    assert await machine.stored() == 1
    assert machine.telemetry.value(EXPORTER_QUEUE_SIZE, "out", "traces") == 1
    sender.gate.set()
    exporter.drain_timeout = 10
    await exporter.shutdown()
    assert (names(sender), exporter.undelivered, await machine.stored()) == (["a", "b"], 0, 0)
    assert machine.telemetry.value(EXPORTER_SENT, "out") == 2
    assert machine.telemetry.value(EXPORTER_QUEUE_SIZE, "out", "traces") == 0


async def test_what_is_left_stays_and_is_sent_first_next_time(machine: Machine) -> None:
    first = machine.exporter(away())
    await first.start()
    for name in "abc":
        await machine.put(first, name)
    with capture_logs() as logs:
        await first.shutdown()
    assert first.undelivered == 0
    assert [line["spans"] for line in logs if line["event"] == "spans stay in the storage"] == [3]
    await machine.stop()
    await machine.boot()
    sender = RecordingSender()
    second = machine.exporter(sender, {"num_consumers": 1})
    second.drain_timeout = 10
    await second.start()
    await machine.put(second, "d")
    await second.shutdown()
    assert names(sender) == ["a", "b", "c", "d"]
    assert await machine.stored() == 0


@pytest.mark.parametrize("leave", ["shutdown", "hand_over"])
async def test_who_comes_while_it_leaves_hears_that_nothing_is_stored(machine: Machine, leave: str) -> None:
    """Not only that it shall come back: a fan-out would keep this copy in memory and call it safe."""
    exporter = machine.exporter(away())
    await exporter.start()
    await getattr(exporter, leave)()
    with pytest.raises(NotStored):
        exporter.admit(1)
    with pytest.raises(NotStored):
        await exporter.consume(machine.consignment("a"))
    await exporter.shutdown()


async def test_spans_and_their_originals_come_back_as_they_were(machine: Machine) -> None:
    batch = SpanBatch(
        [
            (Envelope(b"\x0a\x00", b"\x0a\x03\x0a\x01s", {}), [b"one", TranslatedSpan(b"two", b'{"id":"2"}')]),
            (Envelope(b"\x1a\x01u", b"", {}), [b"\xc0\x0c\x07"]),
        ]
    )
    first = machine.exporter(away())
    await first.start()
    await first.consume(Consignment(batch, ()))
    await first.shutdown()
    sender = RecordingSender()
    second = machine.exporter(sender)
    await second.start()
    await until(lambda: sender.batches)
    await second.shutdown()
    (got,) = sender.batches
    assert [(e.resource, e.scope, s) for e, s in got.groups] == [(e.resource, e.scope, s) for e, s in batch.groups]
    assert got.groups[0][1][1].origin == b'{"id":"2"}'  # type: ignore[attr-defined]


async def test_only_so_much_is_in_memory_and_the_order_stays(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_queue, "_WINDOW", 20)
    sender = away()
    exporter = machine.exporter(sender, {"num_consumers": 1})
    exporter.drain_timeout = 10
    await exporter.start()
    wanted = [f"{number:010}" for number in range(50)]
    for name in wanted:
        await machine.put(exporter, name)
    queue = exporter._queue
    assert isinstance(queue, stored_queue.StoredQueue)
    assert (len(queue._window._waiting), len(queue._backlog)) == (1, 48)
    sender.gate.set()
    await exporter.shutdown()
    assert names(sender) == wanted
    assert await machine.stored() == 0


@pytest.mark.parametrize(("sizer", "fits"), [("requests", 4), ("items", 2), ("bytes", 1)])
async def test_a_full_queue_refuses_also_what_an_earlier_process_left(machine: Machine, sizer: str, fits: int) -> None:
    first = machine.exporter(away(), {"queue_size": 4, "sizer": sizer})
    await first.start()
    for _ in range(fits):
        await machine.put(first, "abc", "d")
    with pytest.raises(Backpressure):
        await machine.put(first, "abc", "d")
    assert machine.telemetry.value(EXPORTER_ENQUEUE_FAILED, "out") == 2
    await first.shutdown()
    second = machine.exporter(away(), {"queue_size": 4, "sizer": sizer})
    await second.start()
    await until(lambda: second._queue is not None and second._queue.size >= (4 if sizer != "bytes" else 1))
    with pytest.raises(Backpressure):
        await machine.put(second, "abc", "d")
    await second.shutdown()
    assert await machine.stored() == fits


async def test_block_on_overflow_waits_for_room(machine: Machine) -> None:
    sender = away()
    exporter = machine.exporter(sender, {"queue_size": 1, "block_on_overflow": True})
    exporter.drain_timeout = 10
    await exporter.start()
    await machine.put(exporter, "a")
    waiting = asyncio.create_task(machine.put(exporter, "b"))
    await asyncio.wait([waiting], timeout=0.05)
    assert not waiting.done()
    sender.gate.set()
    await waiting
    await exporter.shutdown()
    assert names(sender) == ["a", "b"]


async def test_requests_are_joined_and_cut(machine: Machine) -> None:
    sender = RecordingSender()
    exporter = machine.exporter(
        sender, {"num_consumers": 1, "batch": {"min_size": 4, "max_size": 4, "flush_timeout": "10s"}}
    )
    exporter.drain_timeout = 10
    await exporter.start()
    for parts in (["a", "b", "c"], ["d", "e", "f"], ["g"]):
        await machine.put(exporter, *parts)
    await exporter.shutdown()
    assert names(sender) == list("abcdefg")
    assert [len(batch) for batch in sender.batches] == [4, 2, 1]
    assert await machine.stored() == 0


@pytest.mark.parametrize("leave", ["shutdown", "hand_over"])
async def test_of_a_batch_sent_in_part_only_the_rest_stays(machine: Machine, leave: str) -> None:
    sender = RecordingSender()
    sender.failures += [InvalidRequest("one of them"), None, RetryableError("away"), *[RetryableError("away")] * 1000]
    first = machine.exporter(sender, retry_on_failure={"initial_interval": "1h", "max_interval": "1h"})
    await first.start()
    await machine.put(first, "a", "b", "c", "d")
    await until(lambda: len(sender.attempts) >= 3)
    assert names(sender) == ["a", "b"]
    if leave == "hand_over":
        assert await first.hand_over() == []
    await first.shutdown()
    assert (first.undelivered, await machine.stored()) == (0, 1)
    after = RecordingSender()
    second = machine.exporter(after)
    second.drain_timeout = 10
    await second.start()
    await until(lambda: after.batches)
    await second.shutdown()
    assert names(after) == ["c", "d"]
    assert await machine.stored() == 0


async def test_of_joined_requests_cut_and_sent_in_part_only_the_rest_stays(machine: Machine) -> None:
    sender = RecordingSender()
    sender.failures += [None, *[RetryableError("away")] * 1000]
    queue = {"num_consumers": 1, "batch": {"min_size": 2, "max_size": 2, "flush_timeout": "10s"}}
    first = machine.exporter(sender, queue)
    await first.start()
    await machine.put(first, "a", "b", "c", "d", "e")
    await until(lambda: len(sender.attempts) >= 2)
    await first.shutdown()
    assert names(sender) == ["a", "b"]
    after = RecordingSender()
    second = machine.exporter(after)
    second.drain_timeout = 10
    await second.start()
    await until(lambda: len(after.spans) >= 3)
    await second.shutdown()
    assert names(after) == ["c", "d", "e"]


async def test_what_is_given_up_for_good_is_counted_and_removed(machine: Machine) -> None:
    sender = RecordingSender()
    sender.failures.append(PermanentError("no"))
    exporter = machine.exporter(sender)
    exporter.drain_timeout = 10
    await exporter.start()
    await machine.put(exporter, "a", "b")
    await exporter.shutdown()
    assert (names(sender), await machine.stored()) == ([], 0)
    assert machine.telemetry.value(EXPORTER_FAILED, "out") == 2


async def test_a_successor_takes_spans_at_once_and_gets_what_the_other_left(machine: Machine) -> None:
    former = machine.exporter(away())
    await former.start()
    for name in "abc":
        await machine.put(former, name)
    sender = RecordingSender()
    successor = machine.exporter(sender)
    successor.drain_timeout = 10
    await successor.start()
    await machine.put(successor, "d")
    await until(lambda: names(sender) == ["d"])  # what the other holds is the other's
    assert await former.hand_over() == []
    await former.shutdown()
    await until(lambda: len(sender.spans) == 4)
    await successor.shutdown()
    assert sorted(names(sender)) == list("abcd")
    assert await machine.stored() == 0


async def test_what_a_successor_has_on_disk_when_it_takes_over_is_sent_after_what_was_left(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_queue, "_WINDOW", 4)
    old, new = away(), away()
    first, second = machine.exporter(old), machine.exporter(new)
    await first.start()
    left = [f"left{number}" for number in range(3)]
    for name in left:
        await machine.put(first, name)
    await second.start()
    own = [f"own{number}" for number in range(3)]
    for name in own:
        await machine.put(second, name)
    await first.shutdown()
    new.gate.set()
    second.drain_timeout = 10
    await until(lambda: len(names(new)) == 6)
    await second.shutdown()
    assert sorted(names(new)) == sorted(left + own)
    assert await machine.stored() == 0


async def test_a_disk_that_takes_nothing_is_said_to_the_sender_and_nothing_is_kept(machine: Machine) -> None:
    sender = RecordingSender()
    exporter = machine.exporter(sender)
    exporter.drain_timeout = 10
    await exporter.start()
    assert machine.storage is not None
    file = machine.storage.store(Kind.EXPORTER, "out", "traces").file
    commit = file.commit

    def full(*_: object) -> None:
        from otel_tracead.extensions.file_storage.database_file import Unavailable

        raise Unavailable("database or disk is full")

    file.commit = full  # type: ignore[method-assign]
    with pytest.raises(StorageUnavailable, match="full"):
        await machine.put(exporter, "a")
    assert (machine.settled, exporter._queue and exporter._queue.size) == ([], 0)
    assert machine.telemetry.value(EXPORTER_ENQUEUE_FAILED, "out") == 1
    file.commit = commit  # type: ignore[method-assign]
    await machine.put(exporter, "a")
    await exporter.shutdown()
    assert names(sender) == ["a"]


async def test_a_cancelled_caller_leaves_nothing_behind(machine: Machine) -> None:
    exporter = machine.exporter(away())
    await exporter.start()
    putting = asyncio.create_task(machine.put(exporter, "a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    await machine.put(exporter, "b")
    assert machine.settled == ["b"]
    await exporter.shutdown()
    assert await machine.stored() == 1


async def test_a_record_that_is_no_batch_stays_and_does_not_stop_the_others(machine: Machine) -> None:
    assert machine.storage is not None
    log = machine.storage.store(Kind.EXPORTER, "out", "traces").log("queue")
    await log.append(b"something else", 3)
    sender = RecordingSender()
    exporter = machine.exporter(sender)
    exporter.drain_timeout = 10
    with capture_logs() as logs:
        await exporter.start()
        await until(lambda: any("cannot be read" in line["event"] for line in logs))
        await machine.put(exporter, "a")
        await exporter.shutdown()
    assert (names(sender), await machine.stored()) == (["a"], 1)


def test_a_result_cannot_be_waited_for() -> None:
    with pytest.raises(ValidationError, match="is not supported with a persistent queue"):
        ExporterConfig.model_validate({"sending_queue": {"storage": "disk", "wait_for_result": True}})


@pytest.mark.parametrize(
    ("extensions", "problem"), [({}, "storage not found"), ({"disk": object()}, "is not a storage extension")]
)
def test_what_is_named_must_be_a_storage(extensions: dict, problem: str) -> None:
    settings = Settings(id="out", kind=Kind.EXPORTER, extensions=extensions)
    with pytest.raises(ConfigError, match=problem):
        QueuedExporter(
            settings, ExporterConfig.model_validate({"sending_queue": {"storage": "disk"}}), RecordingSender()
        )


async def test_a_large_batch_is_stored_in_parts(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_queue, "_LARGEST", 2)
    exporter = machine.exporter(away())
    await exporter.start()
    await machine.put(exporter, *"abcde")
    assert (await machine.stored(), machine.settled) == (3, ["a+b+c+d+e"])
    await exporter.shutdown()
