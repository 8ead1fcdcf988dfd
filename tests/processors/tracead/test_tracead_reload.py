"""Another configuration or another model while traces are open: none is released for it, each is judged by one model."""

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from span_builders import encoded, trace_id
from tracead_stage import ANOMALOUS, FakeDetector, Stage, until

from otel_tracead import metrics
from otel_tracead.detection.verdicts import ModelInfo, TraceVerdict
from otel_tracead.errors import ArtifactError
from otel_tracead.processors.tracead.bounds import Bounds
from otel_tracead.processors.tracead.config import TraceadConfig
from otel_tracead.traces.trace import Trace

QUICK = Bounds(look_seconds=0.01)


async def revise(stage: Stage, **keys: object) -> None:
    changed = {name: getattr(TraceadConfig.model_validate(keys), name) for name in keys}
    stage.config = stage.config.model_copy(update=changed)
    async with stage.processor.revision(stage.config, stage.settings):
        pass


def put(stage: Stage, version: str) -> FakeDetector:
    """Put another model where the stage looks for its model."""
    detector = FakeDetector()
    detector.model = ModelInfo("fake", version, created="2026-01-01T00:00:00+00:00", digest=version)
    stage.models.detector = detector
    stage.models.state = (version,)
    return detector


def versions(stage: Stage) -> dict[str, str]:
    """By trace: which model judged."""
    names = {trace_id(number).hex(): f"{number:02}" for number in range(10)}
    found = {}
    for _, span in stage.backend.got:
        parsed = Span.FromString(span)
        own = {a.key: a.value.string_value for a in parsed.attributes}
        if "tracead.model.version" in own:
            found[names[parsed.trace_id.hex()]] = own["tracead.model.version"]
    return found


def loads(stage: Stage, outcome: str) -> float:
    return stage.value(metrics.MODEL_LOADS, outcome)


def which(stage: Stage) -> list[tuple[str, ...]]:
    series = dict(stage.settings.telemetry.collect()).get(metrics.MODEL_INFO, {})
    return [labels[1:3] for labels in series]


@asynccontextmanager
async def open_trace(stage: Stage) -> AsyncIterator[None]:
    """A trace whose spans come before, and after, what happens inside."""
    async with stage:
        await stage.send(encoded(1, 1))
        yield
        assert stage.value(metrics.TRACES_OPEN) == 1
        await stage.send(encoded(1, 2, parent=1))
    assert len(stage.backend.got) == 2
    assert stage.value(metrics.TRACES_RELEASED, "shutdown") == 1


async def test_a_model_that_is_put_there_is_taken_while_traces_are_open() -> None:
    stage = Stage(QUICK, wait_duration="1h")
    async with open_trace(stage):
        put(stage, "2")
        await until(lambda: loads(stage, "loaded"))
        assert which(stage) == [("fake", "2")]
    assert versions(stage) == {"01": "2"}
    assert stage.models.loads == 2


async def test_a_model_is_loaded_only_once_nobody_is_still_copying() -> None:
    stage = Stage(QUICK, wait_duration="1h")
    async with open_trace(stage):
        for number in range(30):
            stage.models.state = ("copying", number)
            await asyncio.sleep(0.005)
        loaded = stage.models.loads
        put(stage, "2")
        await until(lambda: loads(stage, "loaded"))
        assert loaded <= 3  # a look may fall twice on one state of it
    assert loads(stage, "refused") == 0


async def test_a_model_that_is_refused_is_refused_once() -> None:
    stage = Stage(QUICK, wait_duration="1h")
    async with open_trace(stage):
        put(stage, "2")
        stage.models.error = ArtifactError("its checksum is not the manifest's")
        await until(lambda: loads(stage, "refused"))
        await asyncio.sleep(0.05)
        assert loads(stage, "refused") == 1
        assert which(stage) == [("fake", "1")]
        stage.models.error = None
        put(stage, "3")
        await until(lambda: loads(stage, "loaded"))
    assert versions(stage) == {"01": "3"}


async def test_the_same_model_copied_again_is_no_other() -> None:
    stage = Stage(QUICK, wait_duration="1h")
    put(stage, "1")
    async with open_trace(stage):
        stage.models.state = ("touched",)
        await asyncio.sleep(0.05)
    assert stage.models.loads == 1
    assert loads(stage, "loaded") == 0


async def test_a_reload_takes_the_model_at_once_even_where_the_configuration_is_the_same() -> None:
    stage = Stage(wait_duration="1h")
    async with open_trace(stage):
        put(stage, "2")
        await revise(stage)
        assert which(stage) == [("fake", "2")]
        await revise(stage)
        assert stage.models.loads == 2


async def test_a_reload_with_a_model_that_is_refused_changes_nothing() -> None:
    stage = Stage(wait_duration="1h")
    async with open_trace(stage):
        put(stage, "2")
        stage.models.error = ArtifactError("no")
        before = stage.config
        with pytest.raises(ArtifactError):
            await revise(stage, annotate="all")
        stage.config = before
        assert which(stage) == [("fake", "1")]
    assert versions(stage) == {"01": "1"}


async def test_something_else_that_fails_leaves_the_model_alone() -> None:
    stage = Stage(wait_duration="1h")
    async with open_trace(stage):
        put(stage, "2")
        with pytest.raises(OSError, match="port"):
            async with stage.processor.revision(stage.config, stage.settings):
                raise OSError("port in use")
        assert which(stage) == [("fake", "1")]


class Judge(FakeDetector):
    """Says what it has begun, and waits."""

    def __init__(self, version: str) -> None:
        super().__init__()
        self.model = ModelInfo("fake", version, digest=version)
        self.begun = threading.Event()

    def judge(self, traces: Sequence[Trace], *, every_span: bool = False) -> list[TraceVerdict]:
        self.begun.set()
        return super().judge(traces, every_span=every_span)


async def test_a_batch_is_judged_by_one_model() -> None:
    stage = Stage(QUICK)
    old = stage.detector = stage.models.detector = Judge("1")
    async with stage:
        old.gate.clear()
        await stage.send(*(encoded(number, 1) for number in range(1, 4)))
        await until(old.begun.is_set)
        put(stage, "2")
        await until(lambda: loads(stage, "loaded"))
        old.gate.set()
        await until(lambda: len(stage.backend.got) == 3)
        await stage.send(encoded(9, 1))
    assert versions(stage) == {"01": "1", "02": "1", "03": "1", "09": "2"}


async def test_the_one_before_judges_again_where_the_new_one_cannot() -> None:
    stage = Stage(QUICK)
    async with stage:
        new = put(stage, "2")
        new.poison = {trace_id(number) for number in range(1, 5)}
        await until(lambda: loads(stage, "loaded"))
        stage.detector.verdicts[trace_id(2)] = ANOMALOUS
        await stage.send(*(encoded(number, 1) for number in range(1, 5)))
        await until(lambda: len(stage.backend.got) == 4)
        assert loads(stage, "reverted") == 1
        assert which(stage) == [("fake", "1")]
        assert stage.value(metrics.TRACES_ANOMALOUS, "high") == 1
        await asyncio.sleep(0.05)
        assert stage.models.loads == 2  # and is not tried again
    assert set(versions(stage).values()) == {"1"}
    assert stage.value(metrics.SCORING_FAILURES) == 0


async def test_traces_that_nobody_can_judge_say_nothing_of_the_new_one() -> None:
    stage = Stage(QUICK)
    async with stage:
        new = put(stage, "2")
        new.poison = stage.detector.poison = {trace_id(1)}
        await until(lambda: loads(stage, "loaded"))
        await stage.send(encoded(1, 1))
        await until(lambda: len(stage.backend.got) == 1)
        await stage.send(encoded(2, 1))
    assert loads(stage, "reverted") == 0
    assert versions(stage)["02"] == "2"


async def test_a_new_one_that_hangs_is_left() -> None:
    stage = Stage(Bounds(look_seconds=0.01, patience=0.05))
    async with stage:
        new = put(stage, "2")
        new.gate.clear()
        await until(lambda: loads(stage, "loaded"))
        await stage.send(encoded(1, 1))
        await until(lambda: loads(stage, "reverted"))
        new.gate.set()
        await until(lambda: len(stage.backend.got) == 1)
        await asyncio.sleep(0.05)
        await stage.send(encoded(2, 1))
    assert versions(stage)["02"] == "1"


async def test_the_one_before_is_forgotten_once_the_new_one_has_judged() -> None:
    stage = Stage(QUICK)
    async with stage:
        before = weakref.ref(stage.detector)
        put(stage, "2")
        await until(lambda: loads(stage, "loaded"))
        del stage.detector
        stage.detector = stage.models.detector
        assert before() is not None
        gc.disable()  # what is frozen or rarely collected must not be needed
        try:
            await stage.send(encoded(1, 1))
            await until(lambda: len(stage.backend.got) == 1)
            await until(lambda: before() is None)
        finally:
            gc.enable()


async def test_open_traces_wait_as_long_as_the_new_configuration_says() -> None:
    stage = Stage(wait_duration="1h")
    async with stage:
        await stage.send(encoded(1, 1))
        await revise(stage, wait_duration="10ms", annotate="all")
        await until(lambda: len(stage.backend.got) == 1)
        assert stage.value(metrics.TRACES_RELEASED, "wait") == 1
        await revise(stage, wait_duration="1h", wait_after_root="10ms")
        await stage.send(encoded(2, 2, parent=1), encoded(2, 1))
        await until(lambda: len(stage.backend.got) == 3)
        assert stage.value(metrics.TRACES_RELEASED, "root") == 1


async def test_fewer_open_traces_release_the_oldest() -> None:
    stage = Stage(wait_duration="1h")
    async with stage:
        for number in range(1, 6):
            await stage.send(encoded(number, 1))
        await revise(stage, num_traces=2)
        await stage.send(encoded(6, 1))
        await until(lambda: len(stage.backend.got) == 4)
        assert sorted(versions(stage)) == ["01", "02", "03", "04"]


async def test_sampling_and_annotation_follow() -> None:
    stage = Stage()
    async with stage:
        await revise(stage, sampling={"normal_percentage": 0})
        await stage.send(encoded(1, 1))
        await until(lambda: stage.value(metrics.TRACES_SAMPLED_OUT) == 1)
        assert stage.backend.got == []


async def test_recording_begins_and_ends(tmp_path: Path) -> None:
    stage = Stage()
    async with stage:
        await revise(stage, record=str(tmp_path / "record"))
        await stage.send(encoded(1, 1))
        await until(lambda: len(stage.backend.got) == 1)
        await revise(stage, record=None)
        await until(lambda: list((tmp_path / "record").glob("*.pb.zst")))
        await stage.send(encoded(2, 1))
        await until(lambda: len(stage.backend.got) == 2)
    assert len(list((tmp_path / "record").iterdir())) == 1


async def test_age_and_drift_of_the_model_are_numbers() -> None:
    stage = Stage(QUICK)
    async with stage:
        assert np.isnan(stage.value(metrics.DRIFT, "0.5"))
        assert np.isnan(stage.value(metrics.MODEL_AGE))
        new = put(stage, "2")
        new.slower = lambda: np.array([0.5, 1.0, 4.0])  # type: ignore[attr-defined]
        await until(lambda: loads(stage, "loaded"))
        assert [stage.value(metrics.DRIFT, quantile) for quantile in ("0", "0.5", "1")] == [0.5, 1.0, 4.0]
        assert stage.value(metrics.DRIFT_LABELS) == 3
        assert stage.value(metrics.MODEL_AGE) == pytest.approx(time.time() - 1767225600, abs=60)
