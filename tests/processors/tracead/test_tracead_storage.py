"""What the storage under the processor is for, case by case."""

import asyncio

import pytest
from span_builders import ENVELOPES, batch, encoded, trace_id
from test_tracead_survival import Exported, Survival
from tracead_stage import ANOMALOUS, Stage, until

from otel_tracead import metrics
from otel_tracead.component import Kind, Settings
from otel_tracead.delivery import Consignment, Delivery
from otel_tracead.detection.marking import Marked
from otel_tracead.detection.verdicts import TraceVerdict
from otel_tracead.errors import Backpressure, ConfigError
from otel_tracead.extensions.file_storage.config import FileStorageConfig
from otel_tracead.extensions.file_storage.extension import FileStorage
from otel_tracead.processors.tracead import recovery
from otel_tracead.processors.tracead.bounds import Bounds
from otel_tracead.processors.tracead.judged import (
    StoredRequest,
    pack_decisions,
    read_judged,
    unpack_decisions,
    verdicts,
)
from otel_tracead.storage import StorageUnavailable
from otel_tracead.testing import MemoryStorage
from otel_tracead.traces.late import Decision
from otel_tracead.traces.trace import Trace
from otel_tracead.wire.batch import TranslatedSpan


class Kept(Delivery):
    """As a Kafka receiver makes them."""

    @property
    def kept(self) -> bool:
        return True


@pytest.fixture
def survival():
    machines = []

    def make(**config):
        machine = Survival()
        machine.most_pending = config.pop("most_pending", 40)
        machines.append(machine)
        usual = {"traces": 50, "spans": 50, "after_root": "0s", "share": 100, "mode": "all", "together": 1}
        machine.begin(**usual | config)
        return machine

    yield make
    for machine in machines:
        machine.teardown()


def keys(machine, which=0):
    """What the exported spans say of themselves, by identity."""
    return {identity: copies[0].keys for identity, copies in machine.got[which].items()}


def test_a_trace_of_which_one_request_is_settled_keeps_the_verdict_that_it_had(survival):
    machine = survival()
    machine.send([(1, True, False)])
    machine.send([(1, False, False), (2, True, False)])
    machine.flow(5.0, sent=True)  # the first trace only
    assert len(machine.got[0]) == 2
    machine.crash(more=1 << 30)
    assert machine.stored() == 1, "of the second request one trace is not handed on"
    machine.heal()
    assert [len(copies) for copies in machine.got[0].values()] == [1, 1, 1], "what was handed on did not come again"


def test_spans_over_the_limit_of_their_trace_come_again_as_late_ones(survival):
    machine = survival(spans=3)
    machine.send([(1, True, False)] + [(1, False, False)] * 4)
    machine.judge()
    machine.export(0, 1)
    machine.export(1, 1)
    machine.crash(more=1 << 30)
    machine.heal()
    late = [found for found in keys(machine).values() if "tracead.late" in found]
    assert (len(late), len(machine.got[0])) == (2, 5)


def test_no_limit_and_no_timer_judges_half_of_a_trace_while_it_is_read(survival):
    machine = survival(traces=2, together=16)
    for trace in (1, 2):
        machine.send([(trace, True, False)])
    for trace in (1, 2):
        machine.send([(trace, False, False)])
    machine.config = machine.config.model_copy(update={"num_traces": 1})
    machine.crash(more=0)
    machine.send([(3, True, False)])
    machine.heal()
    assert sorted(map(len, machine.numbers)) == [1, 2, 2]


def test_reading_what_is_stored_waits_for_the_next_consumer_and_nothing_is_judged_meanwhile(survival):
    machine = survival(spans=5, most_pending=1000)
    machine.disturb("first is full")
    machine.send([(1, True, False)])
    for trace in range(10, 22):
        machine.send([(trace, False, False)] * 6)
        machine.judge()
    machine.send([(1, False, False)])
    machine.full_at_start, machine.most_pending = True, 40
    judged = len(machine.numbers)
    machine.crash(more=0)
    machine.loop.pass_by(30.0)
    machine.judge()
    assert len(machine.numbers) == judged
    with pytest.raises(Backpressure, match="still reads what is stored"):
        machine.processor.admit(1)
    machine.heal()
    assert list(map(len, machine.numbers[judged:])) == [2]
    assert machine.stored() == 0


async def test_what_is_accepted_is_stored_until_it_is_handed_on():
    storage = MemoryStorage()
    async with Stage(storage=storage) as stage:
        store = storage.store(Kind.PROCESSOR, "tracead")
        await stage.send(encoded(1, 1), encoded(2, 2))
        assert stage.deliveries[0].holds == 0, "the sender need not keep it any longer"
        assert len(store.records["requests"]) == 1
        assert stage.value(metrics.JOURNAL_REQUESTS) == 1
        await until(lambda: len(stage.backend.got) == 2)
        await until(lambda: not store.records["requests"])
        assert stage.value(metrics.JOURNAL_REQUESTS) == 0


async def test_what_its_source_keeps_is_not_stored():
    storage = MemoryStorage()
    async with Stage(storage=storage) as stage:
        delivery = Kept()
        await stage.processor.consume(Consignment(batch(encoded(1, 1)), [(delivery, 1)]))
        assert delivery.holds == 1
        await until(lambda: delivery.holds == 0)
    assert not any(storage.store(Kind.PROCESSOR, "tracead").records.values())


async def test_without_a_disk_nothing_is_accepted_and_everything_goes_on():
    storage = MemoryStorage()
    store = storage.store(Kind.PROCESSOR, "tracead")
    async with Stage(storage=storage) as stage:
        await stage.send(encoded(1, 1))
        store.failure = StorageUnavailable("disk full", 1.0)
        with pytest.raises(StorageUnavailable, match="disk full"):
            await stage.send(encoded(2, 2))
        with pytest.raises(StorageUnavailable, match="does not work"):
            stage.processor.admit(1)
        await until(lambda: stage.backend.got)  # its verdict could not be stored
        assert len(store.records["requests"]) == 1, "it stays until its verdict is"
        store.failure = None
        await until(lambda: not store.records["requests"])
        await stage.send(encoded(3, 3))
        await until(lambda: len(stage.backend.got) == 2)
        assert stage.value(metrics.JOURNAL_FAILURES, "write") >= 2


async def test_a_damaged_request_is_left_out_and_the_rest_of_its_traces_goes_on():
    storage = MemoryStorage()
    store = storage.store(Kind.PROCESSOR, "tracead")
    stage = Stage(storage=storage, wait_duration="1m")
    await stage.processor.start()
    await stage.send(encoded(1, 1))
    await stage.send(encoded(1, 2))
    found = storage.crash()
    store = found.store(Kind.PROCESSOR, "tracead")
    store.damaged.add(("requests", min(store.records["requests"])))
    await stage.processor.shutdown()
    async with Stage(storage=found) as after:
        await until(lambda: after.backend.got)
        assert after.value(metrics.JOURNAL_FAILURES, "read") == 1
    assert [Exported.of(span).identity for span in after.backend.spans] == [encoded(1, 2)]


async def half_read(monkeypatch, requests):
    """Give storage with these requests, and the last of them that a disk does not give now."""
    monkeypatch.setattr(recovery, "_READ_TOGETHER", 1)
    monkeypatch.setattr(recovery, "_PAUSE", 0.01)
    storage = MemoryStorage()
    stage = Stage(storage=storage, wait_duration="1m")
    await stage.processor.start()
    for spans in requests:
        await stage.send(*spans)
    found = storage.crash()
    store = found.store(Kind.PROCESSOR, "tracead")
    last = ("requests", max(store.records["requests"]))
    store.hidden.add(last)
    await stage.processor.shutdown()
    return found, store, last


async def test_a_disk_that_fails_while_stored_spans_are_read_is_waited_for(monkeypatch):
    storage, store, _ = await half_read(monkeypatch, [[encoded(1, 1)], [encoded(1, 2)]])
    async with Stage(Bounds(replay_seconds=0.02), storage) as stage:
        await until(lambda: stage.value(metrics.JOURNAL_FAILURES, "read") >= 3)
        assert stage.failed == []
        with pytest.raises(Backpressure, match="still reads what is stored"):
            stage.processor.admit(1)
        assert stage.detector.batches == []
        store.hidden.clear()
        await until(lambda: len(stage.backend.got) == 2)
        assert stage.detector.batches == [1], "the trace was judged in halves"
        stage.processor.admit(1)
    assert not store.records["requests"]


@pytest.mark.parametrize("finishes", [False, True])
async def test_a_drain_while_stored_spans_are_read_loses_nothing_and_judges_nothing_in_part(monkeypatch, finishes):
    """Of a trace one half is read; the other one never is, or while a span that goes alone holds the drain up."""
    alone = [encoded(b"", 3)] if finishes else []
    storage, store, _ = await half_read(monkeypatch, [[encoded(1, 1), *alone], [encoded(1, 2)]])
    stage = Stage(Bounds(replay_seconds=0.02), storage, shutdown_timeout="300ms")
    stage.backend.full = finishes
    await stage.processor.start()
    stopping = asyncio.create_task(stage.processor.shutdown())
    await asyncio.sleep(0.05)
    assert stopping.done() is not finishes
    if finishes:
        store.hidden.clear()
    await stopping
    assert (stage.detector.batches, stage.failed, stage.processor.undelivered) == ([], [], 0)
    with pytest.raises(Backpressure):
        stage.processor.admit(1)
    found = storage.crash(1 << 30)
    found.store(Kind.PROCESSOR, "tracead").hidden.clear()
    async with Stage(storage=found) as after:
        await until(lambda: len(after.backend.got) == 2 + len(alone))
        assert after.detector.batches == [1], "a trace was judged in halves"
    assert set(after.backend.spans.values()) == {1}


async def test_a_record_that_nobody_understands_stays_where_it_is():
    storage = MemoryStorage()
    store = storage.store(Kind.PROCESSOR, "tracead")
    for log in ("requests", "judged", "decisions"):
        await store.log(log).append(b"\xc1 of tomorrow")
    async with Stage(storage=storage) as stage:
        assert stage.value(metrics.JOURNAL_FAILURES, "read") == 3
        await stage.send(encoded(1, 1))
        await until(lambda: stage.backend.got)
    assert len(store.records["requests"]) == len(store.records["decisions"]) == 1


async def test_late_spans_hear_after_a_restart_what_their_trace_was():
    storage = MemoryStorage()
    async with Stage(storage=storage) as stage:
        stage.detector.verdicts[trace_id(1)] = ANOMALOUS
        await stage.send(encoded(1, 1))
        await stage.send(encoded(2, 2))
        await until(lambda: len(stage.backend.got) == 2)
    async with Stage(storage=storage.crash(1 << 30)) as after:
        await after.send(encoded(1, 3), encoded(2, 4))
        await until(lambda: len(after.backend.got) == 2)
        told = [Exported.of(span).own for span in after.backend.spans]
    assert ["anomalous" in str(own) for own in told] == [True, False]
    assert all("tracead.late" in dict(own) for own in told)


async def test_of_what_is_gone_only_the_last_decisions_are_kept():
    storage = MemoryStorage()
    store = storage.store(Kind.PROCESSOR, "tracead")
    async with Stage(storage=storage, decision_cache=5, wait_duration="1ms") as stage:
        for number in range(1, 41):
            await stage.send(encoded(number, number))
            await until(lambda number=number: len(stage.backend.got) == number)
        await until(lambda: len(store.records["judged"]) < 5)
        kept = sum(entry.note for entry, _ in store.records["decisions"].values())
        assert 5 <= kept < 15
        assert len(store.records["done"]) <= len(store.records["judged"])


async def test_what_cannot_be_handed_on_before_the_end_is_not_lost():
    storage = MemoryStorage()
    stage = Stage(storage=storage, shutdown_timeout="50ms")
    async with stage:
        stage.backend.full = True
        await stage.send(encoded(1, 1))
    assert stage.processor.undelivered == 0
    async with Stage(storage=storage.crash(1 << 30)) as after:
        await until(lambda: after.backend.got)
        assert after.value(metrics.JOURNAL_SPANS, "gathered") + after.value(metrics.JOURNAL_SPANS, "sent_again") == 1
    assert not storage.crash(1 << 30).store(Kind.PROCESSOR, "tracead").records["done"]


@pytest.mark.parametrize("change", [{"storage": None}, {"storage": "file_storage/2"}])
async def test_a_reload_cannot_change_the_storage(change):
    async with Stage(storage=MemoryStorage()) as stage:
        config = stage.config.model_copy(update=change)
        with pytest.raises(ConfigError, match="reload cannot change"):
            async with stage.processor.revision(config, stage.settings):
                raise AssertionError
        async with stage.processor.revision(stage.config.model_copy(update={"decision_cache": 7}), stage.settings):
            pass


async def test_a_request_that_is_being_stored_when_the_processor_stops_is_for_the_next():
    storage = MemoryStorage()
    stage = Stage(storage=storage)
    await stage.processor.start()
    store = storage.store(Kind.PROCESSOR, "tracead")
    store.gate.clear()
    sending = asyncio.create_task(stage.send(encoded(1, 1)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await stage.processor.shutdown()
    store.gate.set()
    await sending
    async with Stage(storage=storage.crash()) as after:
        await until(lambda: after.backend.got)


async def test_what_is_settled_at_the_last_moment_is_written_before_the_file_is_closed(tmp_path):
    def storage():
        config = FileStorageConfig(directory=tmp_path)
        return FileStorage(config, Settings(id="file_storage", kind=Kind.EXTENSION))

    before = storage()
    await before.start()
    stage = Stage(storage=before)
    sent = []
    stage.backend.on_sent = sent.append
    async with stage:
        await stage.send(encoded(1, 1), encoded(2, 2), encoded(b"", 3))
        await stage.send(encoded(3, 1))
    assert sum(len(one.batch) for one in sent) == 4
    for one in sent:
        one.settle()
    await before.shutdown()
    after = storage()
    store = after.store(Kind.PROCESSOR, "tracead")
    assert await store.log("requests").entries() == []
    assert len(await store.log("done").entries()) == len(await store.log("judged").entries()) > 0
    await after.shutdown()


def marked(*spans, after, requests):
    trace = Trace(trace_id(1), list(spans), [ENVELOPES[0]] * len(spans), holds=[(one, 1) for one in requests])
    return Marked(trace, TraceVerdict(0, True, anomalous=True), list(after), 0, sum(map(len, after)))


def test_what_annotation_changed_is_stored_and_done_again():
    plain, spoofed, translated = encoded(1, 1), encoded(1, 2), TranslatedSpan(encoded(1, 3), b"{}")
    after = [plain + b"J\x00", b"cut", TranslatedSpan(translated + b"J\x01", b"{}")]
    after[2].origin = translated.origin
    request = StoredRequest(7, lambda _: None)
    request.cuts[trace_id(1)] = 2
    found = verdicts([marked(plain, spoofed, translated, after=after, requests=[request])], going=True)
    assert found is not None
    (trace,) = read_judged(found.record).traces
    assert (trace.requests, trace.cut, trace.decision) == ((7,), 2, Decision.ANOMALOUS)
    again = trace.annotated([plain, spoofed, translated])
    assert again == after
    assert isinstance(again[2], TranslatedSpan)
    assert again[2].origin == b"{}"
    assert unpack_decisions(found.decisions) == [(trace_id(1), Decision.ANOMALOUS)]


def test_traces_that_are_kept_elsewhere_have_no_record():
    assert verdicts([marked(encoded(1, 1), after=[encoded(1, 1)], requests=[Kept()])], going=True) is None


@pytest.mark.parametrize(
    "record",
    [b"", b"\x93\x01\xc3", b"\x93\x02\xc3\x90", b"\x93\x01\xc3\x91\x94\xc4\x01a\x00\x01\x91\x01", b"\x91" * 10_000],
)
def test_what_is_no_record_is_refused(record):
    with pytest.raises(ValueError, match="record"):
        read_judged(record)


def test_what_are_no_decisions_is_refused():
    packed = pack_decisions([(trace_id(1), Decision.UNSCORED)])
    with pytest.raises(ValueError, match="decisions"):
        unpack_decisions(packed + b"x")
    with pytest.raises(ValueError, match="decisions"):
        unpack_decisions(packed[:-1] + b"\x09")
