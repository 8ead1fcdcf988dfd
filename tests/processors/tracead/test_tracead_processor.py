import asyncio
import random
from collections import Counter

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from span_builders import batch, encoded, trace_id
from tracead_stage import ANOMALOUS, NORMAL, Stage, until

from otel_tracead import metrics
from otel_tracead.delivery import Consignment, Delivery
from otel_tracead.detection.verdicts import TraceVerdict
from otel_tracead.errors import ArtifactError, Backpressure, PermanentError
from otel_tracead.processors.tracead.bounds import Bounds
from otel_tracead.processors.tracead.parcels import MAX_SPANS
from otel_tracead.wire.batch import Envelope, SpanBatch


def own(span: bytes) -> dict[str, object]:
    values = {a.key: a.value for a in Span.FromString(span).attributes if a.key.startswith("tracead.")}
    return {key.removeprefix("tracead."): getattr(v, v.WhichOneof("value")) for key, v in values.items()}


def bare(span: bytes) -> bytes:
    """The span without what was appended to it."""
    first = span.find(b"tracead.")  # its field begins four bytes before: tag, length, tag, length
    return span if first < 0 else span[: first - 4]


def by_name(stage: Stage) -> dict[str, dict[str, object]]:
    return {Span.FromString(span).name: own(span) for _, span in stage.backend.got}


async def test_a_trace_goes_through_annotated_and_settled():
    async with Stage() as stage:
        stage.detector.verdicts[trace_id(1)] = ANOMALOUS
        first = await stage.send(encoded(1, 1), encoded(2, 1, name="other"))
        second = await stage.send(encoded(1, 2, parent=1))
        await until(lambda: len(stage.backend.got) == 3)
        assert (first.holds, second.holds) == (0, 0)
        attributes = by_name(stage)
        assert attributes["operation 1"]["trace.anomalous"] is True
        assert attributes["operation 1"]["anomaly.type"] == "response_time"
        assert attributes["operation 2"] == {}
        assert attributes["other"]["trace.anomalous"] is False
        assert attributes["other"]["model.name"] == "fake"
        assert stage.detector.threads == {"score tracead"}


async def test_everything_but_our_attributes_is_as_it_came():
    spans = [encoded(trace, number, parent=number - 1 or b"") for trace in range(20) for number in range(1, 8)]
    random.Random(1).shuffle(spans)
    sent = batch(*spans)
    async with Stage(annotate="all") as stage:
        await stage.processor.consume(Consignment(sent, [(Delivery(), 1)]))
        await until(lambda: len(stage.backend.got) == len(spans))
    assert Counter((envelope, bare(span)) for envelope, span in stage.backend.got) == Counter(sent)
    assert sum("trace.anomalous" in own(span) for _, span in stage.backend.got) == 20


async def test_the_root_may_release_early():
    async with Stage(wait_duration="10m", wait_after_root="10ms") as stage:
        await stage.send(encoded(1, 2, parent=1))
        await stage.send(encoded(1, 1))
        await until(lambda: len(stage.backend.got) == 2)
        assert by_name(stage)["operation 2"]["trace.release"] == "root"
        assert stage.value(metrics.TRACES_RELEASED, "root") == 1


async def test_late_spans_go_on_at_once_with_the_verdict():
    async with Stage() as stage:
        stage.detector.verdicts[trace_id(1)] = ANOMALOUS
        stage.detector.verdicts[trace_id(3)] = TraceVerdict(verdict_span=0, complete=True, unscored="unknown_traffic")
        await stage.send(encoded(1, 1), encoded(2, 1), encoded(3, 1))
        await until(lambda: len(stage.backend.got) == 3)
        stage.backend.got.clear()
        delivery = await stage.send(*(encoded(n, 2, name=f"late {n}") for n in (1, 2, 3)))
        await until(lambda: len(stage.backend.got) == 3)
        assert by_name(stage) == {
            "late 1": {"late": True, "late_verdict": "anomalous"},
            "late 2": {"late": True, "late_verdict": "normal"},
            "late 3": {"late": True, "late_verdict": "unscored"},
        }
        assert delivery.holds == 0
        assert stage.value(metrics.SPANS_LATE) == 3
        assert stage.value(metrics.TRACES_RELEASED, "wait") == 3


async def test_spans_of_a_trace_that_is_being_scored_wait_for_its_verdict():
    async with Stage() as stage:
        stage.detector.gate.clear()
        stage.detector.verdicts[trace_id(1)] = ANOMALOUS
        await stage.send(encoded(1, 1))
        await until(lambda: stage.detector.batches)
        delivery = await stage.send(encoded(1, 2, name="late"))
        assert stage.value(metrics.SPANS_PENDING) == 2
        stage.detector.gate.set()
        await until(lambda: len(stage.backend.got) == 2)
        assert by_name(stage)["late"] == {"late": True, "late_verdict": "anomalous"}
        assert delivery.holds == 0
        assert stage.value(metrics.SPANS_PENDING) == 0


async def test_a_trace_over_its_limit_is_scored_at_once_and_the_rest_follows():
    async with Stage(wait_duration="10m", max_spans_per_trace=3) as stage:
        await stage.send(*(encoded(1, n) for n in range(1, 11)))
        await until(lambda: len(stage.backend.got) == 10)
        found = [own(span) for _, span in stage.backend.got]
        assert sum("trace.release" in one for one in found) == 1
        assert sum(one == {"late": True, "late_verdict": "normal"} for one in found) == 7


async def test_one_trace_too_many_releases_the_oldest():
    async with Stage(wait_duration="10m", num_traces=2) as stage:
        await stage.send(encoded(1, 1), encoded(2, 1), encoded(3, 1))
        await until(lambda: len(stage.backend.got) == 1)
        assert stage.value(metrics.TRACES_RELEASED, "limit") == 1
        assert (stage.value(metrics.TRACES_OPEN), stage.value(metrics.SPANS_OPEN)) == (2, 2)


@pytest.mark.parametrize("bounds", [Bounds(batch_spans=4), Bounds(batch_bytes=4 * len(encoded(1, 1)))])
async def test_what_is_scored_together_is_bounded_but_for_one_trace(bounds: Bounds):
    async with Stage(bounds=bounds) as stage:
        spans = [encoded(trace, n) for trace in range(1, 7) for n in range(1, 7 if trace == 6 else 3)]
        await stage.send(*spans)
        await until(lambda: len(stage.backend.got) == len(spans))
        assert stage.detector.batches == [2, 2, 1, 1]


async def test_spans_without_valid_ids_go_on_at_once_and_say_so():
    async with Stage(wait_duration="10m") as stage:
        delivery = await stage.send(encoded(b"", 1), encoded(b"\1" * 15, 2))
        await until(lambda: len(stage.backend.got) == 2)
        assert [own(span) for _, span in stage.backend.got] == [{"unscored": "invalid_id"}] * 2
        assert delivery.holds == 0
        assert stage.value(metrics.SPANS_INVALID_ID) == 2


async def test_an_empty_request_is_settled_at_once():
    async with Stage() as stage:
        assert (await stage.send()).holds == 0


async def test_a_failing_detector_unscores_only_what_it_fails_for():
    async with Stage() as stage:
        stage.detector.poison.add(trace_id(2))
        await stage.send(*(encoded(n, 1, name=str(n)) for n in range(5)))
        await until(lambda: len(stage.backend.got) == 5)
        attributes = by_name(stage)
        assert attributes["2"] == {"unscored": "error"}
        assert all("trace.anomalous" in attributes[name] for name in "0134")
        assert stage.value(metrics.SCORING_FAILURES) == 1
        assert stage.value(metrics.TRACES_UNSCORED, "error") == 1
        assert stage.value(metrics.TRACES_SCORED) == 4


async def test_a_hanging_detector_is_passed_by_until_it_comes_back():
    async with Stage(Bounds(patience=0.05)) as stage:
        stage.detector.gate.clear()
        await stage.send(encoded(1, 1, name="1"))
        await until(lambda: len(stage.backend.got) == 1)
        await stage.send(encoded(2, 1, name="2"))
        await until(lambda: len(stage.backend.got) == 2)
        assert by_name(stage) == {"1": {"unscored": "timeout"}, "2": {"unscored": "timeout"}}
        assert stage.detector.batches == [1]
        assert stage.value(metrics.TRACES_UNSCORED, "timeout") == stage.value(metrics.SCORING_FAILURES) == 2
        stage.detector.gate.set()
        await until(lambda: not stage.processor._judging._thread.busy)
        await stage.send(encoded(3, 1, name="3"))
        await until(lambda: len(stage.backend.got) == 3)
        assert by_name(stage)["3"]["trace.anomalous"] is False
        late = await stage.send(encoded(1, 2, name="late"))
        await until(lambda: late.holds == 0)
        assert by_name(stage)["late"] == {"late": True, "late_verdict": "unscored"}


async def test_a_failure_beside_the_detector_lets_the_spans_go_on(monkeypatch):
    def broken(*_):
        raise OSError("packing")

    monkeypatch.setattr("otel_tracead.processors.tracead.judging.score", broken)
    async with Stage() as stage:
        await stage.send(encoded(1, 1, name="1"))
        await until(lambda: len(stage.backend.got) == 1)
        assert by_name(stage) == {"1": {"unscored": "error"}}


@pytest.mark.parametrize("full", [True, "late"])
async def test_a_full_consumer_delays_spans_and_loses_none(full):
    async with Stage(Bounds(pending_spans=4)) as stage:
        stage.backend.full = full
        delivery = await stage.send(*(encoded(1, n) for n in range(1, 4)), encoded(2, 1))
        await until(lambda: stage.value(metrics.SPANS_PENDING) == 4)
        with pytest.raises(Backpressure):
            stage.processor.admit(1)
        with pytest.raises(Backpressure):
            await stage.send(encoded(3, 1))
        await asyncio.sleep(0.1)
        assert delivery.holds > 0
        stage.backend.full = False
        await until(lambda: len(stage.backend.got) == 4)
        assert delivery.holds == 0
        stage.processor.admit(1)
        assert stage.value(metrics.PROCESSOR_INCOMING) == stage.value(metrics.PROCESSOR_OUTGOING) == 4


@pytest.mark.parametrize("error", [PermanentError("no"), ValueError("a bug")])
async def test_what_the_consumer_refuses_for_good_is_counted_and_settled(error):
    async with Stage() as stage:
        stage.backend.error = error
        delivery = await stage.send(encoded(1, 1), encoded(1, 2))
        await until(lambda: delivery.holds == 0)
        assert stage.value(metrics.SPANS_DROPPED) == 2
        stage.backend.error = None
        await stage.send(encoded(2, 1))
        await until(lambda: len(stage.backend.got) == 1)
        assert stage.value(metrics.PROCESSOR_OUTGOING) == 1


async def test_sampling_leaves_out_normal_traces_and_their_late_spans_only():
    async with Stage(sampling={"normal_percentage": 0}) as stage:
        stage.detector.verdicts[trace_id(1)] = ANOMALOUS
        stage.detector.verdicts[trace_id(2)] = TraceVerdict(verdict_span=0, complete=True, unscored="unknown_traffic")
        delivery = await stage.send(*(encoded(trace, n, name=str(trace)) for trace in range(5) for n in (1, 2)))
        await until(lambda: delivery.holds == 0)
        late = await stage.send(*(encoded(n, 3, name=f"late {n}") for n in range(5)))
        await until(lambda: late.holds == 0)
        names = Counter(Span.FromString(span).name for _, span in stage.backend.got)
        assert names == {"1": 2, "2": 2, "late 1": 1, "late 2": 1}
        assert stage.value(metrics.TRACES_SAMPLED_OUT) == 3
        assert stage.value(metrics.SPANS_SAMPLED_OUT) == 9
        assert stage.value(metrics.SPANS_PENDING) == 0


async def test_shutdown_drains_everything():
    stage = Stage(wait_duration="10m")
    async with stage:
        await stage.send(*(encoded(trace, n) for trace in range(50) for n in range(1, 5)))
        assert stage.backend.got == []
    assert len(stage.backend.got) == 200
    assert all(delivery.holds == 0 for delivery in stage.deliveries)
    assert stage.processor.undelivered == 0
    assert stage.value(metrics.TRACES_RELEASED, "shutdown") == 50
    with pytest.raises(Backpressure):
        await stage.send(encoded(1, 1))
    await stage.processor.shutdown()


async def test_shutdown_waits_for_late_spans_too():
    stage = Stage()
    async with stage:
        stage.detector.gate.clear()
        await stage.send(encoded(1, 1))
        await until(lambda: stage.detector.batches)
        await stage.send(encoded(1, 2))
    assert len(stage.backend.got) == 2


async def test_shutdown_counts_what_a_full_consumer_leaves_behind():
    stage = Stage(wait_duration="10m", shutdown_timeout="200ms")
    await stage.processor.start()
    stage.backend.full = True
    delivery = await stage.send(encoded(1, 1), encoded(2, 1))
    await stage.processor.shutdown()
    assert stage.processor.undelivered == 2
    assert delivery.holds > 0  # not settled: whoever keeps a journal still has them


async def test_shutdown_does_not_wait_for_a_hanging_detector():
    stage = Stage(wait_duration="10m", shutdown_timeout="400ms")
    await stage.processor.start()
    stage.detector.gate.clear()
    await stage.send(encoded(1, 1, name="1"))
    await stage.processor.shutdown()
    assert by_name(stage) == {"1": {"unscored": "timeout"}}
    assert stage.processor.undelivered == 0
    stage.detector.gate.set()


async def test_shutdown_hurries_a_batch_that_is_being_scored():
    stage = Stage(shutdown_timeout="400ms")
    await stage.processor.start()
    stage.detector.gate.clear()
    await stage.send(encoded(1, 1, name="1"))
    await until(lambda: stage.detector.batches)
    await stage.processor.shutdown()
    assert by_name(stage) == {"1": {"unscored": "timeout"}}
    stage.detector.gate.set()


async def test_it_takes_nothing_before_the_start_and_may_be_shut_down_then():
    stage = Stage()
    with pytest.raises(Backpressure):
        stage.processor.admit(1)
    await stage.processor.shutdown()


async def test_a_model_that_does_not_load_aborts_the_start():
    stage = Stage()
    stage.models.error = ArtifactError("no model")
    with pytest.raises(ArtifactError):
        await stage.processor.start()
    await stage.processor.shutdown()


async def test_a_broken_task_is_reported():
    stage = Stage()
    stage.processor._assembler.due = None
    await stage.processor.start()
    await until(lambda: stage.failed)
    with pytest.raises(Backpressure):
        stage.processor.admit(1)
    await stage.processor.shutdown()


async def test_batches_are_bounded():
    async with Stage(wait_duration="10m", max_spans_per_trace=20_000) as stage:
        delivery = await stage.send(*(encoded(1, n) for n in range(1, 10_001)))
        for trace in range(2, 1002):
            await stage.send(*(encoded(trace, n) for n in range(1, 11)))
    assert len(stage.backend.got) == 20_000
    assert max(stage.backend.batches) <= MAX_SPANS
    assert len(stage.backend.batches) <= 5
    assert delivery.holds == 0


async def test_large_spans_are_spread_over_batches():
    async with Stage() as stage:
        spans = [encoded(1, n, name="x" * 300_000) for n in range(1, 21)]
        delivery = await stage.send(*spans, encoded(1, 30, name="y" * 3_000_000))
        await until(lambda: len(stage.backend.got) == 21)
        assert delivery.holds == 0
        assert len(stage.backend.batches) >= 4


async def test_large_resources_count_too():
    envelopes = [Envelope(b"r" * 100_000, b"", {}) for _ in range(100)]
    sent = SpanBatch([(envelope, [encoded(1, n)]) for n, envelope in enumerate(envelopes, 1)])
    async with Stage() as stage:
        await stage.processor.consume(Consignment(sent, [(Delivery(), 1)]))
        await until(lambda: len(stage.backend.got) == 100)
        assert max(stage.backend.batches) <= 20


async def test_many_deliveries_and_their_joined_consignments():
    """A `batch` processor before us joins requests: each part then holds all of them."""
    async with Stage() as stage:
        deliveries = [Delivery(holds=2), Delivery()]
        await stage.processor.consume(
            Consignment(batch(encoded(1, 1), encoded(2, 1), encoded(b"", 1)), [(deliveries[0], 2), (deliveries[1], 1)])
        )
        await until(lambda: len(stage.backend.got) == 3)
        assert [delivery.holds for delivery in deliveries] == [0, 0]


async def test_verdicts_do_not_depend_on_the_order_of_arrival():
    async def run(spans: list[bytes], requests: int) -> Counter[bytes]:
        stage = Stage(wait_duration="10m")
        stage.detector.verdicts = {trace_id(n): ANOMALOUS for n in range(0, 30, 3)}
        async with stage:
            for index in range(requests):
                await stage.send(*spans[index::requests])
        return Counter(
            trace for _, span in stage.backend.got if (trace := own(span).get("trace.anomalous")) is not None
        )

    spans = [encoded(trace, number) for trace in range(30) for number in range(1, 5)]
    shuffled = random.Random(2).sample(spans, len(spans))
    assert await run(spans, 1) == await run(shuffled, 17) == {True: 10, False: 20}


async def test_everything_is_counted():
    async with Stage() as stage:
        stage.detector.verdicts = {
            trace_id(1): ANOMALOUS,
            trace_id(2): TraceVerdict(verdict_span=0, complete=False, unknown_labels=1),
            trace_id(3): TraceVerdict(verdict_span=0, complete=False, unscored="unknown_traffic", unknown_labels=2),
            trace_id(4): NORMAL,
        }
        marked = encoded(4, 1, attributes=[{"key": "tracead.trace.anomalous", "value": {"string_value": "x"}}])
        await stage.send(encoded(1, 1), encoded(2, 1), encoded(3, 1), encoded(3, 2), marked)
        await until(lambda: len(stage.backend.got) == 5)
    value = stage.value
    assert value(metrics.PROCESSOR_INCOMING) == value(metrics.PROCESSOR_OUTGOING) == 5
    assert value(metrics.TRACES_RELEASED, "wait") == value(metrics.TRACE_SPANS) == 4
    assert value(metrics.RELEASE_LATENCY) == 4
    assert value(metrics.TRACES_SCORED) == 3
    assert value(metrics.TRACES_ANOMALOUS, "high") == value(metrics.SPANS_ANOMALOUS, "response_time") == 1
    assert value(metrics.TRACES_UNSCORED, "unknown_traffic") == 1
    assert value(metrics.SPANS_UNKNOWN_LABEL) == 3
    assert value(metrics.TRACES_INCOMPLETE) == 2
    assert value(metrics.SPANS_SPOOFED) == 1
    assert value(metrics.SCORING_DURATION) >= 1
    assert value(metrics.SCORING_FAILURES) == value(metrics.SPANS_DROPPED) == 0
    assert value(metrics.TRACES_OPEN) == value(metrics.SPANS_OPEN) == value(metrics.SPANS_PENDING) == 0
