"""`python -m benchmarks.memory`: what an open trace and an open span cost in memory, in a running stage.

A stage that releases nothing is given traces of one shape after another: so many spans a trace, in so many parts (each from
another service, in another request), so many bytes a span. What its resident memory grew by is fitted to bytes a trace, bytes
a part, bytes a span and a multiple of a span's own bytes. A last run keeps the default wait at a steady rate, and says whether
the fit foresees it.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
import grpc
import numpy as np
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from scipy.optimize import nnls

from benchmarks import report
from benchmarks.spans import BUNDLED
from benchmarks.stage_metrics import value
from otel_tracead import metrics
from tools.peers import Process, free_port
from tools.peers.backend import EXPORT
from tools.peers.process import HOST, listening

_PER_REQUEST: Final = 512
_OPERATIONS: Final = 60  # different names, as many as a small system has
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Shape:
    """What the traces of a run are like.

    Attributes:
        spans_per_trace: of each trace.
        parts: requests that a trace's spans come in, each of another service.
        bytes_per_span: of the encoded span, roughly; filled up by an attribute.
    """

    spans_per_trace: int
    parts: int
    bytes_per_span: int


_STEADY: Final = Shape(spans_per_trace=15, parts=5, bytes_per_span=300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run.

    Attributes:
        shape: of its traces.
        traces: that were open.
        spans: that were open.
        span_bytes: of all open spans, encoded.
        grown: bytes of resident memory beyond those of the idle stage.
        idle: bytes of resident memory of the idle stage.
    """

    shape: Shape
    traces: int
    spans: int
    span_bytes: int
    grown: int
    idle: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """`grown = per_trace * traces + per_part * parts + per_span * spans + factor * span_bytes`, bytes.

    Attributes:
        per_trace: bytes an open trace costs.
        per_part: bytes that a part of an open trace costs: its spans of one request.
        per_span: bytes an open span costs beside its own.
        factor: how often a span's own bytes count.
        worst: largest share by which a run differs from this.
    """

    per_trace: float
    per_part: float
    per_span: float
    factor: float
    worst: float

    def grown(self, shape: Shape, spans: float, span_bytes: float) -> float:
        """Give the bytes that this foresees for *spans* open spans in traces of *shape*."""
        a_trace = self.per_trace + self.per_part * shape.parts
        return a_trace * spans / shape.spans_per_trace + self.per_span * spans + self.factor * span_bytes


def fit(runs: list[Measured]) -> Fit:
    """Fit *runs* by least squares of relative differences, without negative costs."""
    counts = ((run.traces, run.traces * run.shape.parts, run.spans, run.span_bytes) for run in runs)
    columns = np.array(list(counts), dtype=float)
    grown = np.array([run.grown for run in runs], dtype=float)
    solution, _ = nnls(columns / grown[:, None], np.ones(len(runs)))
    foreseen = columns @ solution
    return Fit(
        per_trace=float(solution[0]),
        per_part=float(solution[1]),
        per_span=float(solution[2]),
        factor=float(solution[3]),
        worst=float(np.abs(foreseen / grown - 1).max()),
    )


def requests(shape: Shape, spans: int, first_trace: int = 1) -> Iterator[tuple[bytes, int, int]]:
    """Give (request, spans, bytes of its spans) until there were *spans* spans in whole traces of *shape*.

    As SDKs send them: a request holds the spans of one service, of many traces.
    """
    start = time.time_ns()
    block = max(1, _PER_REQUEST * shape.parts // shape.spans_per_trace)
    for first in range(first_trace, first_trace + spans // shape.spans_per_trace, block):
        last = min(first + block, first_trace + spans // shape.spans_per_trace)
        for part in range(shape.parts):
            request = ExportTraceServiceRequest()
            resource_spans = request.resource_spans.add()
            resource_spans.resource.attributes.add(key="service.name").value.string_value = f"service-{part}"
            scope_spans = resource_spans.scope_spans.add()
            scope_spans.scope.name = "benchmarks.memory"
            for trace, place in product(range(first, last), range(part, shape.spans_per_trace, shape.parts)):
                one = scope_spans.spans.add(
                    trace_id=trace.to_bytes(16, "big"),
                    span_id=(trace * shape.spans_per_trace + place).to_bytes(8, "big"),
                    parent_span_id=(trace * shape.spans_per_trace).to_bytes(8, "big") if place else b"",
                    name=f"operation-{place % _OPERATIONS}",
                    kind=1 if place else 2,
                    start_time_unix_nano=start + place,
                    end_time_unix_nano=start + 1_000_000 - place,
                )
                missing = shape.bytes_per_span - one.ByteSize()
                if missing > 0:
                    one.attributes.add(key="filled.up").value.string_value = f"{trace:0{missing}}"
            yield (
                request.SerializeToString(),
                len(scope_spans.spans),
                sum(one.ByteSize() for one in scope_spans.spans),
            )


class _Stage:
    """A running stage with the processor; what passes it is thrown away."""

    def __init__(self, folder: Path, model: Path, wait: str) -> None:
        self.target, self._metrics = f"{HOST}:{free_port()}", free_port()
        reader = {"pull": {"exporter": {"prometheus": {"host": HOST, "port": self._metrics}}}}
        tracead = {
            "model": str(model.resolve()),
            "require_report_card": False,
            "execution_provider": "cpu",
            "wait_duration": wait,
            "num_traces": 10_000_000,
        }
        document = {
            "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": self.target, "max_recv_msg_size_mib": 64}}}},
            "processors": {"tracead": tracead},
            "exporters": {"file": {"path": "/dev/null", "format": "proto"}},
            "service": {
                "pipelines": {"traces": {"receivers": ["otlp"], "processors": ["tracead"], "exporters": ["file"]}},
                "telemetry": {"metrics": {"readers": [reader]}},
            },
        }
        config = folder / "stage.yaml"
        config.write_text(yaml.safe_dump(document))
        command = [sys.executable, "-m", "otel_tracead", "run", "--config", str(config)]
        port = int(self.target.rpartition(":")[2])
        self.process = Process(command, log=folder / "stage.log", ready=listening(port))

    def value(self, metric: metrics.Metric) -> float:
        """Read a metric, the sum of its series."""
        return value(self._metrics, metric)


def open_traces(shape: Shape, spans: int, model: Path, folder: Path) -> Measured:
    """Let *spans* spans of *shape* wait in a stage, and measure its memory."""
    stage = _Stage(folder, model, wait="1h")
    size = 0
    with stage.process, grpc.insecure_channel(stage.target) as channel:
        export = channel.unary_unary(EXPORT, request_serializer=None, response_deserializer=None)
        # A first few make the stage allocate what it needs once.
        for body, _, _ in requests(shape, 4 * _PER_REQUEST, first_trace=1 << 40):
            export(body, timeout=30, wait_for_ready=True)
        idle = stage.value(metrics.PROCESS_RSS)
        before = stage.value(metrics.TRACES_OPEN), stage.value(metrics.SPANS_OPEN)
        for body, _, own in requests(shape, spans):
            export(body, timeout=30)
            size += own
        grown = stage.value(metrics.PROCESS_RSS) - idle
        return Measured(
            shape=shape,
            traces=int(stage.value(metrics.TRACES_OPEN) - before[0]),
            spans=int(stage.value(metrics.SPANS_OPEN) - before[1]),
            span_bytes=size,
            grown=int(grown),
            idle=int(idle),
        )


def steady(shape: Shape, rate: float, seconds: float, model: Path, folder: Path) -> dict[str, float]:
    """Send *rate* spans a second of *shape* for *seconds* through a stage with the default wait; give its largest numbers."""
    stage = _Stage(folder, model, wait="10s")
    most = dict.fromkeys(("traces", "spans", "resident"), 0.0)
    sent = size = 0
    with stage.process, grpc.insecure_channel(stage.target) as channel:
        export = channel.unary_unary(EXPORT, request_serializer=None, response_deserializer=None)
        bodies = list(requests(shape, int(rate * seconds)))
        begun = asked = time.monotonic()
        for body, spans, own in bodies:
            time.sleep(max(0.0, begun + sent / rate - time.monotonic()))
            export(body, timeout=30, wait_for_ready=True)
            sent, size = sent + spans, size + own
            if time.monotonic() > asked + 0.5:
                asked = time.monotonic()
                most["traces"] = max(most["traces"], stage.value(metrics.TRACES_OPEN))
                most["spans"] = max(most["spans"], stage.value(metrics.SPANS_OPEN))
                most["resident"] = max(most["resident"], stage.value(metrics.PROCESS_RSS))
        return {**most, "rate": sent / (time.monotonic() - begun), "bytes_per_span": size / sent}


def _table(runs: list[Measured], found: Fit) -> str:
    lines = [
        f"{'spans/trace':>11}{'parts':>7}{'bytes/span':>12}{'traces':>10}{'spans':>10}{'MiB':>8}{'bytes/span held':>17}{'fit':>9}",
        *(
            f"{run.shape.spans_per_trace:>11}{run.shape.parts:>7}{run.span_bytes / run.spans:>12.0f}{run.traces:>10,}{run.spans:>10,}"
            f"{run.grown / _MIB:>8.0f}{run.grown / run.spans:>17.0f}"
            f"{found.grown(run.shape, run.spans, run.span_bytes) / run.grown - 1:>+9.1%}"
            for run in runs
        ),
    ]
    return "\n".join(lines)


def _costs(idle: float, found: Fit) -> str:
    rows = (
        ("an idle stage with its model", f"{idle / _MIB:.0f} MiB"),
        ("an open trace", f"{found.per_trace:.0f} bytes"),
        ("a part of it", f"{found.per_part:.0f} bytes"),
        ("an open span, beside its own bytes", f"{found.per_span:.0f} bytes"),
        ("a byte of an open span", f"{found.factor:.2f} bytes"),
        ("largest difference from the table", f"{found.worst:.1%}"),
    )
    return "\n".join(f"{name:<40}{value:>12}" for name, value in rows)


def _steady(running: dict[str, float], foreseen: float, seconds: float) -> str:
    title = (
        f"A steady {running['rate']:,.0f} spans a second of {running['bytes_per_span']:.0f} bytes, "
        f"{_STEADY.spans_per_trace} a trace in {_STEADY.parts} parts, with the default wait of 10 s, for {seconds:.0f} s"
    )
    rows = (
        ("most open traces", f"{running['traces']:,.0f}"),
        ("most open spans", f"{running['spans']:,.0f}"),
        ("most resident memory", f"{running['resident'] / _MIB:.0f} MiB"),
        ("of that foreseen from the lines above", f"{foreseen / _MIB:.0f} MiB"),
    )
    return f"{title}\n\n" + "\n".join(f"{name:<40}{value:>12}" for name, value in rows)


_METHOD: Final = """\
Resident memory as the stage's own metric gives it. parts: requests in which a trace's spans came, each from another service.
fit: how far what the four costs foresee is off. What the steady run has beyond it is on its way: released traces that are
scored, encoded and sent, and what the allocator keeps."""


@click.command(context_settings={"show_default": True})
@click.option("--spans", type=int, default=150_000, help="open spans of each run")
@click.option("--rate", type=float, default=8_000, help="spans a second of the steady run")
@click.option("--seconds", type=float, default=40, help="of the steady run")
@click.option("--model", type=click.Path(path_type=Path, exists=True), default=BUNDLED)
@click.option("--output", type=click.Path(path_type=Path), default=report.RESULTS / "memory")
def main(spans: int, rate: float, seconds: float, model: Path, output: Path) -> None:
    """Measure the memory of open traces; write OUTPUT.txt and OUTPUT.json."""
    told = report.header("benchmarks.memory", sys.argv[1:])
    runs = []
    with TemporaryDirectory(prefix="otel-tracead-bench-") as temporary:
        for (per_trace, parts), size in product(((1, 1), (5, 1), (5, 5), (20, 5)), (100, 300, 1000)):
            runs.append(open_traces(Shape(per_trace, parts, size), spans, model, Path(temporary)))
            click.echo(f"{runs[-1].shape} {runs[-1].grown / runs[-1].spans:.0f} bytes a span", err=True)
        found = fit(runs)
        running = steady(_STEADY, rate, seconds, model, Path(temporary))
    idle = float(np.median([run.idle for run in runs]))
    foreseen = idle + found.grown(_STEADY, running["spans"], running["spans"] * running["bytes_per_span"])
    sections = [
        f"Open traces: {spans:,} spans of each shape wait in a stage that releases nothing; MiB beyond the idle stage",
        _table(runs, found),
        _costs(idle, found),
        _steady(running, foreseen, seconds),
        _METHOD,
    ]
    document: dict[str, Any] = {
        **told,
        "idle_bytes": idle,
        "fit": asdict(found),
        "runs": [asdict(run) for run in runs],
        "steady": {**running, "foreseen": foreseen},
    }
    report.conclude(output, "Memory of open traces", document, sections)


if __name__ == "__main__":
    main()
