"""A model whose GPU does not work, or fails while traces are judged: everything goes on, and it is said where."""

from collections.abc import Sequence

import structlog
from span_builders import encoded
from tracead_stage import FakeDetector, Stage, until

from otel_tracead import metrics
from otel_tracead.detection.verdicts import ModelInfo, TraceVerdict
from otel_tracead.traces.trace import Trace

ILLEGAL = "CUDA failure 700: an illegal memory access was encountered"


class OnGpu(FakeDetector):
    """Judges on a GPU until that fails."""

    def __init__(self) -> None:
        super().__init__()
        self.model = ModelInfo("fake", "1", "cuda")
        self.fails = False

    def judge(self, traces: Sequence[Trace], *, every_span: bool = False) -> list[TraceVerdict]:
        if self.fails:
            self.model = self.model.placed("cpu", ILLEGAL)
        return super().judge(traces, every_span=every_span)


def providers(stage: Stage) -> list[str]:
    return [labels[3] for labels in dict(stage.settings.telemetry.collect())[metrics.MODEL_INFO]]


def test_a_model_says_where_it_runs_now() -> None:
    model = ModelInfo("fake", "1", "cuda", digest="d")
    assert model.placed("cuda", "") is model
    assert model.placed("cpu", "why") == ModelInfo("fake", "1", "cpu", digest="d", trouble="why")


async def test_a_gpu_that_fails_is_told_once_and_costs_no_trace() -> None:
    with structlog.testing.capture_logs() as logs:
        stage = Stage(wait_duration="20ms")
        detector = stage.detector = stage.models.detector = OnGpu()
        async with stage:
            await stage.send(encoded(1, 1))
            await until(lambda: len(stage.backend.got) == 1)
            assert providers(stage) == ["cuda"]
            detector.fails = True
            await stage.send(encoded(2, 1))
            await until(lambda: len(stage.backend.got) == 2)
            assert providers(stage) == ["cpu"]
            await stage.send(encoded(3, 1))
            await until(lambda: len(stage.backend.got) == 3)
    told = [(log["log_level"], log["event"]) for log in logs if "error" in log or log["event"].startswith("model")]
    assert told == [
        ("info", "model loaded"),
        ("error", "the GPU failed, traces are judged on the CPU from now on"),
        ("info", "model moved"),
    ]
    assert next(log["error"] for log in logs if log["log_level"] == "error") == ILLEGAL
    assert stage.value(metrics.SCORING_FAILURES) == 0
    assert stage.value(metrics.TRACES_SCORED) == 3


async def test_a_gpu_that_does_not_work_from_the_start_is_told() -> None:
    with structlog.testing.capture_logs() as logs:
        stage = Stage(wait_duration="20ms")
        stage.detector.model = ModelInfo("fake", "1", "cpu", trouble="libcudnn.so.9: cannot open shared object file")
        async with stage:
            assert providers(stage) == ["cpu"]
    (warning,) = (log for log in logs if log["log_level"] == "warning")
    assert warning["event"] == "CUDA does not work, traces are judged on the CPU"
    assert warning["error"] == "libcudnn.so.9: cannot open shared object file"
