"""`python -m benchmarks.in_process`: what scoring inside an application costs it, written to docs/results/.

An application's thread makes the traces of the simulated shop again, with the real SDK: alone, with the SDK's batch
processor, and with ours in its place. Both export to nobody, so that what is compared is the processor.
"""

import resource
import sys
import time
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import click
from opentelemetry.context import Context
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, StatusCode, Tracer, set_span_in_context

from benchmarks import report
from benchmarks.spans import BUNDLED, START_UNIX_NANO
from otel_tracead.generator import Scenario, requests, simulate
from otel_tracead.metrics import TRACES_ANOMALOUS, TRACES_SCORED
from otel_tracead.sdk import TraceadSpanProcessor
from otel_tracead.telemetry import Telemetry
from otel_tracead.traces.offline import gather
from otel_tracead.traces.trace import Trace
from otel_tracead.wire.otlp import Envelopes, decode_request
from otel_tracead.wire.values import plain_value

_CALLS = 5000
_KINDS = {2: SpanKind.SERVER, 3: SpanKind.CLIENT, 4: SpanKind.PRODUCER, 5: SpanKind.CONSUMER}


class Nobody(SpanExporter):
    """Takes spans and forgets them."""

    def __init__(self) -> None:
        self.spans = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Count."""
        self.spans += len(spans)
        return SpanExportResult.SUCCESS


def _nothing(_exporter: Nobody, _model: str) -> SpanProcessor | None:
    return None


def _batch(exporter: Nobody, _model: str) -> SpanProcessor:
    return BatchSpanProcessor(exporter, max_queue_size=1_000_000)  # drops nothing, so that everything is paid for


def _tracead(exporter: Nobody, model: str) -> SpanProcessor:
    return TraceadSpanProcessor(exporter, model=model, wait_duration="1s", execution_provider="cpu")


_SYSTEMS: dict[str, tuple[str, Callable[[Nobody, str], SpanProcessor | None]]] = {
    "none": ("the SDK without a processor", _nothing),
    "batch": ("BatchSpanProcessor", _batch),
    "tracead": ("TraceadSpanProcessor: whole traces, scored, annotated", _tracead),
}


class _Step(NamedTuple):
    """One span of a trace that is made again; parents come before their children."""

    service: str
    name: str
    kind: SpanKind
    attributes: dict[str, Any]
    start: int
    end: int
    parent: int | None
    failed: bool


def _plans() -> list[list[_Step]]:
    """Traces of the shop in an ordinary hour."""
    scenario = Scenario(seed=1, start_unix_nano=START_UNIX_NANO, duration_s=60, traces_per_second=20)
    envelopes = Envelopes()
    return [
        _plan(trace) for trace in gather(decode_request(body, envelopes) for _, body in requests(simulate(scenario)))
    ]


def _plan(trace: Trace) -> list[_Step]:
    parsed = sorted(
        ((Span.FromString(span), envelope) for span, envelope in zip(trace.spans, trace.envelopes, strict=True)),
        key=lambda pair: (pair[0].parent_span_id != b"", pair[0].start_time_unix_nano),
    )
    order: dict[bytes, int] = {}
    steps: list[_Step] = []
    waiting = parsed
    while waiting:
        left = []
        for span, envelope in waiting:
            if span.parent_span_id and span.parent_span_id not in order:
                left.append((span, envelope))
                continue
            order[span.span_id] = len(steps)
            values = {pair.key: plain_value(pair.value) for pair in span.attributes}
            times = (span.start_time_unix_nano, span.end_time_unix_nano)
            parent = order.get(span.parent_span_id)
            kind = _KINDS.get(span.kind, SpanKind.INTERNAL)
            steps.append(_Step(envelope.service, span.name, kind, values, *times, parent, span.status.code == 2))
        if len(left) == len(waiting):  # orphans
            break
        waiting = left
    return steps


class _Application:
    """The services of the shop, each with a provider of its own, and one processor."""

    def __init__(self, plans: list[list[_Step]], processor: SpanProcessor | None) -> None:
        self.tracers: dict[str, Tracer] = {}
        for service in sorted({step.service for plan in plans for step in plan}):
            provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
            if processor is not None:
                provider.add_span_processor(processor)
            self.tracers[service] = provider.get_tracer("benchmark")

    def play(self, plan: list[_Step]) -> None:
        """Make one trace."""
        contexts: list[Context] = []
        spans = []
        for step in plan:
            context = None if step.parent is None else contexts[step.parent]
            tracer = self.tracers[step.service]
            span = tracer.start_span(step.name, context, step.kind, step.attributes, start_time=step.start)
            if step.failed:
                span.set_status(StatusCode.ERROR)
            spans.append(span)
            contexts.append(set_span_in_context(span))
        for span, step in zip(reversed(spans), reversed(plan), strict=True):
            span.end(step.end)


def _run(plans: list[list[_Step]], system: str, model: str, rate: float, seconds: float) -> dict[str, float]:
    """Make traces at *rate* spans a second; times in µs a span."""
    exporter = Nobody()
    processor = _SYSTEMS[system][1](exporter, model)
    application = _Application(plans, processor)
    for plan in plans[:200]:
        application.play(plan)
    if processor is not None:
        processor.force_flush()
    warm, made = exporter.spans, 0
    on_thread: list[float] = []
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    thread = time.thread_time()
    for plan in cycle(plans[200:]):
        now = time.perf_counter()
        if now >= started + seconds:
            break
        if (due := started + made / rate) > now:
            time.sleep(due - now)
        began = time.perf_counter()
        application.play(plan)
        on_thread.append((time.perf_counter() - began) / len(plan))
        made += len(plan)
    thread = time.thread_time() - thread
    if processor is not None:
        processor.shutdown()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    micros = sorted(1e6 * one for one in on_thread)
    telemetry = processor.telemetry if isinstance(processor, TraceadSpanProcessor) else Telemetry()
    return {
        "rate": rate,
        "spans": made,
        "lost": made + warm - exporter.spans if processor is not None else 0,
        "anomalous": sum(telemetry.value(TRACES_ANOMALOUS, "tracead", level) for level in ("low", "high")),
        "scored": telemetry.value(TRACES_SCORED, "tracead"),
        "thread_us": 1e6 * thread / made,
        "cpu_us": 1e6 * cpu / made,
        "p50_us": micros[len(micros) // 2],
        "p99_us": micros[len(micros) * 99 // 100],
    }


def _on_end(plans: list[list[_Step]], model: str) -> float:
    """Give the CPU time of the one call that an application's thread makes for each span, in µs."""
    kept: list[ReadableSpan] = []

    class Keeping(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            kept.append(span)

    application = _Application(plans, Keeping())
    while len(kept) < _CALLS:
        application.play(plans[len(kept) % len(plans)])
    processor = TraceadSpanProcessor(Nobody(), model=model, execution_provider="cpu")
    times = []
    for _ in range(20):
        started = time.thread_time()
        for span in kept:
            processor.on_end(span)
        times.append(1e6 * (time.thread_time() - started) / len(kept))
        processor.force_flush()
    processor.shutdown()
    return median(times)


@click.command(context_settings={"show_default": True})
@click.option("--model", default=str(BUNDLED))
@click.option("--rate", "rates", multiple=True, type=float, default=[500.0, 5000.0], help="Spans a second.")
@click.option("--seconds", type=float, default=10.0)
@click.option("--repeats", type=int, default=3)
@click.option(
    "--place", type=click.Path(path_type=Path), default=report.RESULTS / "in-process", help="Without its ending."
)
def main(model: str, rates: tuple[float, ...], seconds: float, repeats: int, place: Path) -> None:
    """Measure, and write it down."""
    document: dict[str, Any] = report.header("benchmarks.in_process", sys.argv[1:])
    plans = _plans()
    document["on_end_us"] = _on_end(plans, model)
    document["runs"] = runs = [
        {"system": system, **_run(plans, system, model, rate, seconds)}
        for rate in rates
        for _ in range(repeats)
        for system in _SYSTEMS
    ]
    sections = [
        f"on_end of TraceadSpanProcessor, all that an application's thread does for it: {document['on_end_us']:.2f} µs a span"
    ]
    sections += [_table(rate, [one for one in runs if one["rate"] == rate]) for rate in rates]
    sections.append(_METHOD)
    report.conclude(place, "What scoring inside an application costs it, a span", document, sections)


def _table(rate: float, runs: list[dict[str, Any]]) -> str:
    scored = [one for one in runs if one["system"] == "tracead"]
    marked = sum(one["anomalous"] for one in scored) / max(sum(one["scored"] for one in scored), 1)
    lines = [f"{rate:,.0f} spans a second; {marked:.1%} of the traces were marked", ""]
    lines.append(f"{'processor':<10}{'thread µs':>11}{'process µs':>12}{'p50 µs':>9}{'p99 µs':>9}{'lost':>6}  what")
    for system, (what, _) in _SYSTEMS.items():
        these = [one for one in runs if one["system"] == system]
        middle = {key: median(one[key] for one in these) for key in ("thread_us", "cpu_us", "p50_us", "p99_us", "lost")}
        lines.append(
            f"{system:<10}{middle['thread_us']:>11.1f}{middle['cpu_us']:>12.1f}{middle['p50_us']:>9.1f}"
            f"{middle['p99_us']:>9.1f}{middle['lost']:>6.0f}  {what}"
        )
    return "\n".join(lines)


_METHOD = """\
Medians over the repeats, taken in turns. thread: CPU time of the application's thread, which makes and ends the spans. process: user
and system time of the whole process, its thread included, until everything was exported. p50, p99: until a span was made and
ended, by the clock: with the wait for Python's one lock while a processor's thread works. lost: not exported."""


if __name__ == "__main__":
    main()
