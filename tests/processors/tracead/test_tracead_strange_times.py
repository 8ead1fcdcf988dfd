"""Spans whose times cannot be right, and copies of spans: each trace gets a verdict, and every span leaves as it came."""

import time
from collections import Counter
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from span_builders import encoded
from tracead_stage import Stage, until

from otel_tracead.processors.tracead.model import ModelFolders
from otel_tracead.processors.tracead.processor import TraceadProcessor
from tests.peers.independent import without_own
from tests.tiny_model import learned, shop_traces, write_artifact

NOW = time.time_ns()
DAY = 86_400 * 10**9
LAST = 2**64 - 1


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    write_artifact(folder, learned(shop_traces(duration_s=15)))
    return folder


def times(start: int, end: int) -> dict[str, int]:
    return {"start_time_unix_nano": start, "end_time_unix_nano": end}


def trace(number: int, *spans: dict[str, int]) -> list[bytes]:
    return [encoded(number, n, parent=1 if n > 1 else b"", **fields) for n, fields in enumerate(spans, 1)]


USUAL = times(NOW, NOW + 10**7)
STRANGE = {
    "in a year": trace(1, times(NOW + 365 * DAY, NOW + 365 * DAY + 10**6)),
    "a child in a year": trace(2, USUAL, times(NOW + 365 * DAY, NOW + 365 * DAY + 10**6)),
    "forty years ago": trace(3, times(NOW - 14_600 * DAY, NOW - 14_600 * DAY + 10**6), USUAL),
    "an end before the start": trace(4, times(NOW + 10**6, NOW), USUAL),
    "no times": trace(5, times(0, 0), times(0, 0)),
    "no start": trace(6, times(0, NOW), USUAL),
    "no end": trace(7, times(NOW, 0), USUAL),
    "the last nanosecond there is": trace(8, times(LAST, LAST), times(0, LAST), times(LAST, 0)),
    "a child before its parent": trace(9, USUAL, times(NOW - 3600 * 10**9, NOW - 3599 * 10**9)),
    "clocks that go apart": trace(10, USUAL, times(NOW - 10**9, NOW + 10**9), times(NOW + 10**9, NOW - 10**9)),
    "a span twice": trace(11, USUAL, USUAL) + trace(11, USUAL, USUAL)[1:],
    "a root twice": trace(12, USUAL) * 2 + trace(12, USUAL, USUAL)[1:],
    "a span a hundred times": trace(13, USUAL, USUAL) + trace(13, USUAL, USUAL)[1:] * 99,
    "its own parent": [encoded(14, 1, parent=1, **USUAL), encoded(14, 2, parent=2, **USUAL)],
    "parents in a ring": [encoded(15, 1, parent=2, **USUAL), encoded(15, 2, parent=1, **USUAL)],
}


@pytest.mark.parametrize("together", [True, False])
async def test_each_is_scored_and_leaves_as_it_came(model: Path, *, together: bool) -> None:
    stage = Stage(model=str(model), execution_provider="cpu", unknown_labels=1.0, wait_duration="20ms")
    stage.processor = TraceadProcessor(stage.config, stage.settings, stage.backend, ModelFolders(model.parent))
    sent = [span for spans in STRANGE.values() for span in spans]
    async with stage:
        if together:
            await stage.send(*sent)
        else:
            for spans in STRANGE.values():
                await stage.send(*spans)
        await until(lambda: len(stage.backend.got) == len(sent))
    assert Counter(without_own(span) for _, span in stage.backend.got) == Counter(sent)
    verdicts = Counter(
        span.trace_id
        for span in (Span.FromString(encoded) for _, encoded in stage.backend.got)
        for attribute in span.attributes
        if attribute.key == "tracead.trace.anomalous"
    )
    assert verdicts == Counter(Span.FromString(spans[0]).trace_id for spans in STRANGE.values())
