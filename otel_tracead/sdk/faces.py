"""What an application adds to its SDK: a span processor, or an exporter around its own."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_tracead.processors.tracead.config import TraceadConfig
from otel_tracead.processors.tracead.model import load
from otel_tracead.sdk.stage import Stage
from otel_tracead.telemetry import Telemetry


class TraceadSpanProcessor(SpanProcessor):
    """Stands where `BatchSpanProcessor(exporter)` stood: marks anomalous spans, exports every span.

    Args:
        exporter: who gets the spans.
        options: keys of the processor `tracead` as its YAML has them: `model="my-model"`, `wait_duration="10s"`,
            `detection={"false_positive_rate": 0.001}`. Relative paths start from the working directory.

    Raises:
        pydantic.ValidationError: an option that does not exist, or a value that it cannot have (a ValueError).
        otel_tracead.errors.ArtifactError: there is no such model, or it is refused.
        RuntimeError: CUDA was asked for and does not work.
    """

    def __init__(self, exporter: SpanExporter, **options: object) -> None:
        self._stage = _stage(exporter, options)

    @property
    def telemetry(self) -> Telemetry:
        """What was counted, under the metrics of the processor with the label `tracead`."""
        return self._stage.telemetry

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing: only ended spans are looked at."""

    def on_end(self, span: ReadableSpan) -> None:
        """Take *span* if it is sampled; never waits."""
        if span.context is not None and span.context.trace_flags.sampled:
            self._stage.add(span)

    def shutdown(self) -> None:
        """Judge and export what there is within `shutdown_timeout`, then shut the exporter down."""
        self._stage.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Judge and export what there is, open traces too; says whether that was done in time."""
        return self._stage.flush(timeout_millis / 1000)


class TraceadSpanExporter(SpanExporter):
    """Wraps an exporter where only that can be chosen; otherwise `TraceadSpanProcessor` is the better way.

    The SDK's processors do not pass `force_flush` on to exporters: call this one's to have everything exported.

    Args:
        exporter: as for `TraceadSpanProcessor`.
        options: likewise. Raises the same.
    """

    def __init__(self, exporter: SpanExporter, **options: object) -> None:
        self._stage = _stage(exporter, options)

    @property
    def telemetry(self) -> Telemetry:
        """What was counted, under the metrics of the processor with the label `tracead`."""
        return self._stage.telemetry

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Take *spans*; FAILURE says that some were dropped, and counted. Never waits."""
        taken = [self._stage.add(span) for span in spans]
        return SpanExportResult.SUCCESS if all(taken) else SpanExportResult.FAILURE

    def shutdown(self, timeout_millis: float | None = None) -> None:
        """Judge and export what there is within `shutdown_timeout`, then shut the exporter down."""
        self._stage.shutdown(None if timeout_millis is None else timeout_millis / 1000)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Judge and export what there is, open traces too; says whether that was done in time."""
        return self._stage.flush(timeout_millis / 1000)


def _stage(exporter: SpanExporter, options: dict[str, object]) -> Stage:
    config = TraceadConfig.model_validate(options)
    return Stage(exporter, config, partial(load, config, Path.cwd()))
