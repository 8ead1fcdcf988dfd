import asyncio

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from service_fakes import spans

from otel_tracead.delivery import Consignment, Delivery
from otel_tracead.errors import Backpressure, InvalidRequest, PermanentError
from otel_tracead.service import fanout as module
from otel_tracead.service.fanout import Fanout
from otel_tracead.storage import NotStored, StorageUnavailable
from otel_tracead.telemetry import Counter

LOGGER = structlog.wrap_logger(structlog.testing.ReturnLogger(), processors=[])


class Sink:
    def __init__(self, *answers: BaseException | None) -> None:
        self.answers = list(answers)
        self.full = False
        self.got: list[Consignment] = []
        self.gate: asyncio.Event | None = None

    def admit(self, count: int) -> None:
        if self.full:
            raise Backpressure("full")

    async def consume(self, consignment: Consignment) -> None:
        if self.gate is not None:
            await self.gate.wait()
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        self.got.append(consignment)
        consignment.settle()


def request(count: int = 3) -> tuple[Consignment, Delivery]:
    delivery = Delivery()
    return Consignment(spans(count), [(delivery, 1)]), delivery


async def test_everyone_gets_the_spans_and_the_last_one_settles() -> None:
    sinks = [Sink(), Sink(), Sink()]
    consignment, delivery = request()
    await Fanout(sinks, LOGGER).consume(consignment)
    assert [len(sink.got) for sink in sinks] == [1, 1, 1]
    assert delivery.holds == 0


async def test_a_refusal_takes_nothing() -> None:
    sinks = [Sink(), Sink()]
    sinks[1].full = True
    consignment, delivery = request()
    with pytest.raises(Backpressure):
        await Fanout(sinks, LOGGER).consume(consignment)
    assert sinks[0].got == []
    assert delivery.holds == 1


async def test_a_late_refusal_is_offered_again_and_nothing_more_is_admitted() -> None:
    sinks = [Sink(), Sink(Backpressure("filled in between", 0.01), Backpressure("again", 0.01))]
    fanout = Fanout(sinks, LOGGER)
    consignment, delivery = request()
    await fanout.consume(consignment)
    assert len(sinks[0].got) == 1
    assert delivery.holds == 1
    with pytest.raises(Backpressure):
        fanout.admit(1)
    assert await fanout.drain(5) == 0
    assert len(sinks[1].got) == 1
    assert delivery.holds == 0
    fanout.admit(1)


@pytest.mark.parametrize("error", [PermanentError("broken"), RuntimeError("a bug")])
async def test_what_one_can_never_take_is_not_the_loss_of_the_others(error: Exception) -> None:
    sinks = [Sink(error), Sink()]
    consignment, delivery = request()
    dropped = Counter()
    await Fanout(sinks, LOGGER, dropped).consume(consignment)
    assert len(sinks[1].got) == 1
    assert delivery.holds == 0
    assert dropped.value == 3


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (PermanentError("broken"), PermanentError),
        (InvalidRequest("broken"), InvalidRequest),
        (KeyError("broken"), PermanentError),
    ],
)
async def test_what_nobody_can_ever_take_is_said(error: Exception, raised: type[Exception]) -> None:
    sinks = [Sink(error), Sink(PermanentError("so is this"))]
    consignment, delivery = request()
    with pytest.raises(raised, match="broken"):
        await Fanout(sinks, LOGGER).consume(consignment)
    assert delivery.holds == 1


async def test_what_turns_out_to_be_broken_later_is_given_up() -> None:
    sinks = [Sink(Backpressure("filled in between", 0.001), PermanentError("broken")), Sink()]
    fanout = Fanout(sinks, LOGGER)
    consignment, delivery = request()
    await fanout.consume(consignment)
    assert await fanout.drain(5) == 0
    assert delivery.holds == 0
    fanout.admit(1)


class Kept(Delivery):
    kept = True


@pytest.mark.parametrize(("delivery", "lost"), [(Delivery(), 3), (Kept(), 0)])
async def test_what_still_waits_at_the_end_is_lost_unless_somebody_keeps_it(delivery: Delivery, lost: int) -> None:
    fanout = Fanout([Sink(*[Backpressure("full", 0.01)] * 1000), Sink()], LOGGER)
    await fanout.consume(Consignment(spans(3), [(delivery, 1)]))
    assert await fanout.drain(0.05) == lost
    assert delivery.holds == 1


async def test_a_slow_sibling_stalls_nobody() -> None:
    slow, fast = Sink(), Sink()
    slow.gate = asyncio.Event()
    consignment, delivery = request()
    handing = asyncio.create_task(Fanout([slow, fast], LOGGER).consume(consignment))
    async with asyncio.timeout(5):
        while not fast.got:  # noqa: ASYNC110 (a fake has no event to wait for)
            await asyncio.sleep(0)
    slow.gate.set()
    await handing
    assert delivery.holds == 0


async def test_a_caller_that_goes_away_loses_nothing() -> None:
    slow, fast = Sink(), Sink()
    slow.gate = asyncio.Event()
    fanout = Fanout([slow, fast], LOGGER)
    consignment, delivery = request()
    handing = asyncio.create_task(fanout.consume(consignment))
    await asyncio.sleep(0.01)
    handing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handing
    slow.gate.set()
    assert await fanout.drain(5) == 0
    assert (len(slow.got), len(fast.got), delivery.holds) == (1, 1, 0)


async def test_what_nobody_takes_after_the_caller_went_away_is_settled() -> None:
    sinks = [Sink(PermanentError("no")), Sink(PermanentError("no"))]
    for sink in sinks:
        sink.gate = asyncio.Event()
    dropped = Counter()
    fanout = Fanout(sinks, LOGGER, dropped)
    consignment, delivery = request()
    handing = asyncio.create_task(fanout.consume(consignment))
    await asyncio.sleep(0.01)
    handing.cancel()
    await asyncio.wait({handing})
    for sink in sinks:
        sink.gate.set()
    await fanout.drain(5)
    assert (delivery.holds, dropped.value) == (0, 3)


async def test_what_is_never_taken_is_counted_at_the_end() -> None:
    stuck = Sink(*[Backpressure("full", 0.001)] * 10_000)
    fanout = Fanout([stuck, Sink()], LOGGER)
    await fanout.consume(request(7)[0])
    assert await fanout.drain(0.02) == 7


async def test_success_waits_until_a_disk_that_failed_takes_its_copy() -> None:
    sinks = [Sink(StorageUnavailable("full", 0.2), NotStored("full", 0.01)), Sink()]
    fanout = Fanout(sinks, LOGGER)
    consignment, delivery = request()
    handing = asyncio.create_task(fanout.consume(consignment))
    for _ in range(30):
        await asyncio.sleep(0)
    assert sinks[1].got
    assert not handing.done(), "its sender heard of success, and a copy is only in memory"
    with pytest.raises(Backpressure):
        fanout.admit(1)
    await handing
    assert ([len(sink.got) for sink in sinks], delivery.holds) == ([1, 1], 0)
    fanout.admit(1)


async def test_a_disk_that_stays_full_refuses_and_the_others_have_only_the_first_request_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.02)
    broken = Sink(*[StorageUnavailable("disk full", 0.01)] * 8)
    sinks = [Sink(), broken, Sink()]
    fanout, dropped = Fanout(sinks, LOGGER), Counter()
    consignment, delivery = request()
    refusals = 0
    while broken.answers:  # a sender that comes again as long as it is told to
        with pytest.raises(StorageUnavailable, match="disk full"):
            await fanout.consume(consignment)
        assert delivery.holds == 1
        refusals += 1
    assert refusals > 2
    await fanout.consume(consignment)
    assert [len(sink.got) for sink in sinks] == [2, 1, 2]
    assert (delivery.holds, dropped.value) == (0, 0)
    await fanout.consume(request()[0])
    assert [len(sink.got) for sink in sinks] == [3, 2, 3]


async def test_of_two_disks_that_fail_neither_makes_the_other_take_requests_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.0)
    full = StorageUnavailable("full", 0.001)
    sinks = [Sink(full, None), Sink(*[full] * 9), Sink()]
    fanout = Fanout(sinks, LOGGER)
    consignment, delivery = request()
    for _ in range(9):
        with pytest.raises(StorageUnavailable):
            await fanout.consume(consignment)
        assert delivery.holds == 1
    await fanout.consume(consignment)
    assert [len(sink.got) for sink in sinks] == [2, 1, 2]


async def test_what_nobody_could_store_is_refused_at_once() -> None:
    sinks = [Sink(StorageUnavailable("full")), Sink(PermanentError("broken"))]
    consignment, delivery = request()
    dropped = Counter()
    with pytest.raises(StorageUnavailable):
        await Fanout(sinks, LOGGER, dropped).consume(consignment)
    assert (delivery.holds, dropped.value) == (1, 0)


async def test_what_its_source_keeps_waits_in_memory_for_a_disk() -> None:
    sinks = [Sink(StorageUnavailable("full", 0.1)), Sink()]
    fanout, delivery = Fanout(sinks, LOGGER), Kept()
    await fanout.consume(Consignment(spans(3), [(delivery, 1)]))
    assert delivery.holds == 1
    assert await fanout.drain(5) == 0
    assert ([len(sink.got) for sink in sinks], delivery.holds) == ([1, 1], 0)


async def test_a_sender_that_goes_away_while_a_disk_is_waited_for_was_told_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    dropped = Counter()
    fanout = Fanout([Sink(*[StorageUnavailable("full", 0.01)] * 99), Sink()], LOGGER, dropped)
    consignment, delivery = request()
    handing = asyncio.create_task(fanout.consume(consignment))
    await asyncio.sleep(0.01)
    handing.cancel()
    await asyncio.wait({handing})
    assert await fanout.drain(5) == 0, "nothing that was acknowledged is left"
    assert (delivery.holds, dropped.value) == (0, 0)


async def test_an_exporter_that_stands_in_two_pipelines_gets_both_copies_when_its_disk_works_again() -> None:
    sink = Sink(StorageUnavailable("full", 0.001), StorageUnavailable("full", 0.001))
    consignment, delivery = request()
    fanout = Fanout([sink, sink], LOGGER)
    with pytest.raises(StorageUnavailable):
        await fanout.consume(consignment)
    await fanout.consume(consignment)
    assert (len(sink.got), delivery.holds) == (2, 0)


@given(st.lists(st.lists(st.sampled_from(["take", "later", "never", "unstored"]), min_size=2, max_size=4), max_size=5))
async def test_every_delivery_is_settled_whatever_the_siblings_answer(rounds: list[list[str]]) -> None:
    answers = {
        "take": None,
        "later": Backpressure("later", 0.0001),
        "never": PermanentError("never"),
        "unstored": StorageUnavailable("later", 0.0001),
    }
    for answered in rounds:
        sinks = [Sink(answers[answer]) for answer in answered]
        fanout = Fanout(sinks, LOGGER)
        consignment, delivery = request()
        try:
            await fanout.consume(consignment)
        except PermanentError:
            assert set(answered) == {"never"}
            consignment.settle()
        except StorageUnavailable:
            assert set(answered) <= {"never", "unstored"}, "it was taken in part, and the disk works again"
            consignment.settle()
            answered[:] = ["never" if answer == "unstored" else answer for answer in answered]
        assert await fanout.drain(5) == 0
        assert delivery.holds == 0
        for sink, answer in zip(sinks, answered, strict=True):
            assert len(sink.got) == (0 if answer == "never" else 1)
