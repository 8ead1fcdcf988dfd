"""What a user writes under `processors: tracead:`."""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field

from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import Duration, FilePath, PositiveDuration, PositiveSize, StorageId
from otel_tracead.detection.annotate import Mode
from otel_tracead.traces.release import ReleasePolicy

DEFAULT_MODEL: Final = Path("model_artifacts/shop")

_NullIsDefault: Final = BeforeValidator(lambda body: {} if body is None else body)


class DetectionConfig(ComponentConfig):
    """Where the line between normal and anomalous is drawn.

    Attributes:
        false_positive_rate: the share of normal traces that may be marked; the thresholds are calibrated to it.
        top_k: the paper's structural rule (3 = not among the 3 most probable labels) instead of the calibrated one.
        confidence: the paper's response-time rule (0.95 = outside that interval) instead of the calibrated one.
    """

    false_positive_rate: Annotated[float, Field(gt=0, lt=1)] = 0.01
    top_k: Annotated[int, Field(ge=1)] | None = None
    confidence: Annotated[float, Field(gt=0, lt=1)] | None = None


class SamplingConfig(ComponentConfig):
    """Which traces go on; anomalous and unscored ones always do.

    Attributes:
        normal_percentage: share of normal traces, chosen by trace id: the same ones in every replica.
    """

    normal_percentage: Annotated[float, Field(ge=0, le=100)] = 100


class TraceadConfig(ComponentConfig):
    """The processor `tracead`.

    Attributes:
        model: a model artifact; relative to the YAML file, then to the package.
        require_report_card: refuse a model whose own check did not hold.
        execution_provider: `auto` takes CUDA when it works.
        wait_duration: from a trace's first span to its release.
        wait_after_root: earlier release once the root has arrived; 0 = off.
        shutdown_timeout: to drain; what is left then is counted.
        num_traces: open traces held; over it the oldest is released early.
        max_spans_per_trace: over it the trace is scored at once, and the rest passes through with the verdict.
        decision_cache: verdicts remembered for late spans.
        detection: where the line is drawn.
        annotate: which spans get `tracead.anomaly.*`.
        unknown_labels: a trace with a larger share of labels that the model never saw is unscored.
        record: a folder that keeps labels and times of the traffic, for `train --input`.
        sampling: which normal traces go on.
        storage: an extension that keeps what was accepted until it is handed on, so that it survives `kill -9`. A reload
            cannot change it.
    """

    model: FilePath = DEFAULT_MODEL
    require_report_card: bool = True
    execution_provider: Literal["auto", "cuda", "cpu"] = "auto"
    wait_duration: PositiveDuration = 10.0
    wait_after_root: Duration = 0.0
    shutdown_timeout: PositiveDuration = 25.0
    num_traces: PositiveSize = 50_000
    max_spans_per_trace: PositiveSize = 10_000
    decision_cache: PositiveSize = 100_000
    detection: Annotated[DetectionConfig, _NullIsDefault] = DetectionConfig()
    annotate: Annotated[Mode, Field(strict=False)] = Mode.ANOMALOUS
    unknown_labels: Annotated[float, Field(ge=0, le=1)] = 0.2
    record: FilePath | None = None
    sampling: Annotated[SamplingConfig, _NullIsDefault] = SamplingConfig()
    storage: StorageId = None

    @property
    def release_policy(self) -> ReleasePolicy:
        """What of this rules the assembler."""
        return ReleasePolicy(
            wait_duration=self.wait_duration,
            wait_after_root=self.wait_after_root,
            num_traces=self.num_traces,
            max_spans_per_trace=self.max_spans_per_trace,
            decision_cache=self.decision_cache,
        )
