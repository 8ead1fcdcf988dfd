"""What a detector says of a trace and of its spans."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from otel_tracead.traces.trace import Trace

UNKNOWN_TRAFFIC: Final = "unknown_traffic"
"""Why a trace has no verdict whose labels are not the traffic that the model was trained on."""


class AnomalyType(StrEnum):
    """What is wrong with a span; the value of `tracead.anomaly.type`."""

    STRUCTURAL = "structural"
    RESPONSE_TIME = "response_time"
    BOTH = "both"


class Level(StrEnum):
    """How sure we are; the value of `tracead.anomaly.level` and `tracead.trace.level`."""

    LOW = "low"
    HIGH = "high"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanVerdict:
    """One anomalous span (or, with scores below the threshold, a normal one that was asked for).

    Attributes:
        anomalous: whether its score reached the threshold.
        type: what is wrong; None for a normal span.
        score: -log10 of the share of normal traces whose strongest span is as strong.
        rank: 0 = the most probable label was the one that came; structural verdicts only.
        probability: of the label that came (or of `!0`, where one is missing).
        expected: the most probable labels, best first.
        expected_ms: the response time that the model expected.
        upper_ms: the bound that was crossed.
    """

    anomalous: bool
    score: float
    type: AnomalyType | None = None
    level: Level | None = None
    rank: int | None = None
    probability: float | None = None
    expected: Sequence[str] = ()
    expected_ms: float | None = None
    upper_ms: float | None = None


NO_SPANS: Final[Mapping[int, SpanVerdict]] = MappingProxyType({})


class TraceVerdict(NamedTuple):
    """What a detector says of one trace.

    A named tuple, since one is made of every trace: a frozen data class takes three times as long to make.

    Attributes:
        verdict_span: index of the verdict span in the trace's spans: its earliest root, else its earliest span.
        complete: it has one root and no orphan.
        unscored: why there is no verdict, or None; then only `verdict_span` and `complete` mean something.
        anomalous: whether any span is.
        score: the largest span score.
        level: if anomalous.
        missing: labels that should have come and did not.
        spans: verdicts by span index: every anomalous span; all spans if the detector was asked for all.
        unknown_labels: how many spans carry a label that the model never saw.
    """

    verdict_span: int
    complete: bool
    unscored: str | None = None
    anomalous: bool = False
    score: float = 0.0
    level: Level | None = None
    missing: Sequence[str] = ()
    spans: Mapping[int, SpanVerdict] = NO_SPANS
    unknown_labels: int = 0


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which model judged.

    Attributes:
        name: `tracead.model.name`.
        version: `tracead.model.version`.
        execution_provider: where it runs; what is judged may move it from `cuda` to `cpu`.
        created: when it was made, RFC 3339.
        digest: of its manifest; two models with the same one are the same.
        trouble: why it does not run on CUDA, where that was to be tried and there is a driver for it.
    """

    name: str
    version: str
    execution_provider: str = "cpu"
    created: str = ""
    digest: str = ""
    trouble: str = ""

    def placed(self, execution_provider: str, trouble: str) -> "ModelInfo":
        """Give the same where it runs now."""
        if execution_provider == self.execution_provider:
            return self
        return replace(self, execution_provider=execution_provider, trouble=trouble)


class Detector(Protocol):
    """Judges whole traces. Pure: nothing about it changes by judging, and the same traces get the same verdicts."""

    @property
    def model(self) -> ModelInfo:
        """Which model this is."""

    def judge(self, traces: Sequence[Trace], *, every_span: bool = False) -> list[TraceVerdict]:
        """Judge *traces*, one verdict each, in their order; with *every_span* also the normal spans get one.

        Runs for milliseconds on the CPU: call it off the event loop.
        """
