"""Whatever happens around it, the processor hands on every span exactly once and settles every delivery."""

import asyncio
import random
from collections import Counter

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from span_builders import encoded, trace_id
from tracead_stage import ANOMALOUS, Stage

from otel_tracead import metrics
from otel_tracead.errors import Backpressure
from otel_tracead.processors.tracead.bounds import Bounds


def identity(span: bytes) -> tuple[bytes, bytes, str]:
    found = Span.FromString(span)
    return found.trace_id, found.span_id, found.name


async def trouble(stage: Stage, chance: random.Random) -> None:
    while True:
        stage.backend.full = chance.choice([False, False, True, "late"])
        stage.detector.poison = {trace_id(chance.randrange(40)) for _ in range(chance.choice([0, 0, 3]))}
        if chance.random() < 0.2:
            stage.detector.gate.clear()
        else:
            stage.detector.gate.set()
        await asyncio.sleep(chance.random() * 0.02)


async def sender(stage: Stage, chance: random.Random, sent: Counter[tuple[bytes, bytes, str]]) -> None:
    for _ in range(60):
        spans = [
            encoded(
                chance.choice([b"", chance.randrange(40), chance.randrange(40), chance.randrange(40)]),
                chance.randrange(1, 30),
                parent=chance.choice([b"", 1, 2]),
            )
            for _ in range(chance.randrange(1, 25))
        ]
        while True:
            try:
                await stage.send(*spans)
            except Backpressure:
                await asyncio.sleep(0.005)
            else:
                break
        sent.update(map(identity, spans))
        await asyncio.sleep(chance.random() * 0.004)


@pytest.mark.parametrize("seed", range(4))
async def test_every_span_goes_on_exactly_once(seed):
    chance = random.Random(seed)
    sent: Counter[tuple[bytes, bytes, str]] = Counter()
    stage = Stage(
        Bounds(pending_spans=chance.choice([50, 500]), batch_spans=64, patience=0.03),
        wait_duration="20ms",
        wait_after_root=chance.choice(["0s", "5ms"]),
        num_traces=chance.choice([5, 100]),
        max_spans_per_trace=chance.choice([7, 100]),
        decision_cache=chance.choice([3, 100]),
    )
    stage.detector.verdicts = {trace_id(n): ANOMALOUS for n in range(0, 40, 5)}
    async with stage:
        troubled = asyncio.create_task(trouble(stage, chance))
        await asyncio.gather(*(sender(stage, random.Random(f"{seed}-{n}"), sent) for n in range(3)))
        troubled.cancel()
        stage.backend.full = False
    assert Counter(identity(span) for _, span in stage.backend.got) == sent
    assert all(delivery.holds == 0 for delivery in stage.deliveries)
    assert stage.processor.undelivered == 0
    assert stage.value(metrics.PROCESSOR_OUTGOING) == stage.value(metrics.PROCESSOR_INCOMING) == sent.total()
    assert stage.value(metrics.SPANS_PENDING) == stage.value(metrics.SPANS_OPEN) == 0
