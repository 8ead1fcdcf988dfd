"""Traces in, annotated spans out, whatever the detector does: scoring may fail, forwarding may not.

The service and `otel-tracead score` go through here, so that both give the same verdicts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from otel_tracead.detection.annotate import Mode, annotate
from otel_tracead.detection.verdicts import Detector, ModelInfo, TraceVerdict
from otel_tracead.traces.identity import earliest_root
from otel_tracead.traces.late import Decision
from otel_tracead.traces.trace import Trace

ERROR = "error"
"""The reason of traces whose scoring failed."""

TIMEOUT = "timeout"
"""The reason of traces whose scoring took too long."""

INVALID_ID = "invalid_id"
"""The reason of spans that belong to no trace."""

_MAX_FAILED_ATTEMPTS = 32


@dataclass(slots=True, eq=False)
class Marked:
    """One trace with its verdict.

    Attributes:
        trace: as it was released.
        verdict: what the detector said, or why it said nothing.
        spans: of the trace, annotated, in order.
        spoofed: how many of them had come with `tracead.*` attributes.
        size: how many bytes they have.
    """

    trace: Trace
    verdict: TraceVerdict
    spans: list[bytes]
    spoofed: int
    size: int

    @property
    def decision(self) -> Decision:
        """What late spans of this trace will be told."""
        if self.verdict.unscored is not None:
            return Decision.UNSCORED
        return Decision.ANOMALOUS if self.verdict.anomalous else Decision.NORMAL


@dataclass(slots=True)
class Failures:
    """What went wrong in one batch.

    Attributes:
        attempts: how often the detector failed.
        error: the first failure, or None.
    """

    attempts: int = 0
    error: Exception | None = field(default=None)

    def note(self, error: Exception) -> None:
        """Count one failure."""
        self.attempts += 1
        self.error = self.error or error


def mark(detector: Detector, traces: Sequence[Trace], mode: Mode) -> tuple[list[Marked], Failures]:
    """Judge and annotate *traces*, one result each, in their order.

    Never raises for what a detector or a span does: a batch that fails is halved until the trace that it fails for is
    alone, and that one goes on unscored. A detector that fails again and again is not asked again for this batch.
    """
    failures = Failures()
    verdicts = _judge(detector, traces, failures)
    return _annotated_all(traces, verdicts, mode, detector.model, failures), failures


def mark_unscored(traces: Sequence[Trace], reason: str) -> list[Marked]:
    """Annotate *traces* with the reason why nobody judges them."""
    verdicts = [unscored(trace, reason) for trace in traces]
    return _annotated_all(traces, verdicts, Mode.ROOT, ModelInfo("", ""), Failures())


def unscored(trace: Trace, reason: str) -> TraceVerdict:
    """Give the verdict that there is none, for *reason*."""
    return TraceVerdict(verdict_span=earliest_root(trace.spans), complete=False, unscored=reason)


def _judge(detector: Detector, traces: Sequence[Trace], failures: Failures) -> list[TraceVerdict]:
    if failures.attempts < _MAX_FAILED_ATTEMPTS:
        try:
            verdicts = detector.judge(traces)
            if len(verdicts) == len(traces):
                return verdicts
            failures.note(ValueError(f"the detector gave {len(verdicts)} verdicts on {len(traces)} traces"))
        except Exception as error:  # noqa: BLE001 (fail open: any)
            failures.note(error)
        if len(traces) > 1:
            half = len(traces) // 2
            return _judge(detector, traces[:half], failures) + _judge(detector, traces[half:], failures)
    return [unscored(trace, ERROR) for trace in traces]


def _annotated_all(
    traces: Sequence[Trace], verdicts: Sequence[TraceVerdict], mode: Mode, model: ModelInfo, failures: Failures
) -> list[Marked]:
    marked: list[Marked] = []
    for trace, verdict in zip(traces, verdicts, strict=True):
        try:
            spans, spoofed, size = annotate(trace, verdict, mode, model)
            marked.append(Marked(trace, verdict, spans, spoofed, size))
        except Exception as error:  # noqa: BLE001 (fail open: any; a try costs nothing)
            failures.note(error)
            marked.append(_annotated_unscored(trace, model, failures))
    return marked


def _annotated_unscored(trace: Trace, model: ModelInfo, failures: Failures) -> Marked:
    """Annotate a trace that could not be annotated with what was found."""
    verdict = unscored(trace, ERROR)
    try:
        return Marked(trace, verdict, *annotate(trace, verdict, Mode.ROOT, model))
    except Exception as error:  # noqa: BLE001 (fail open: any)
        failures.note(error)
    return Marked(trace, verdict, list(trace.spans), 0, trace.size)
