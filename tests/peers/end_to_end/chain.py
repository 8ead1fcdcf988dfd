"""One run of everything: applications → Collector → the stage → Collector → Zipkin and Jaeger; the tests look at what came."""

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context

from otel_tracead.generator import Fault, Scenario, SimulatedSpan, Truth, simulate
from tests.peers.end_to_end.applications import Plan, Way, provider
from tests.peers.independent import from_json
from tests.peers.stage import Stage, otlp_to, scoring
from tools.peers import Process, free_port
from tools.peers.jaeger import Jaeger
from tools.peers.otelcol import Collector
from tools.peers.process import HOST
from tools.peers.zipkin import Zipkin

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[2]
_SIMULATED_S, _SPEED = 45, 5.0
_WAIT = "8s"
# A call that is left out, a call that stalls, and one that fails: each in some requests, all the time.
_FAULTS = (
    Fault(kind="missing_call", service="currency", caller="frontend", start_s=0, duration_s=_SIMULATED_S, share=0.05),
    Fault(
        kind="slow_edge",
        service="cart",
        caller="frontend",
        start_s=0,
        duration_s=_SIMULATED_S,
        share=0.05,
        severity=400,
    ),
    Fault(kind="error", service="product-catalog", start_s=0, duration_s=_SIMULATED_S, share=0.03),
)
# Who is instrumented with what; services that nobody names here would send nothing.
_TRACERS: dict[Way, list[str]] = {
    "otlp_grpc": ["frontend-proxy", "frontend", "checkout", "recommendation", "ad", "image-provider", "accounting"],
    "otlp_http": ["product-catalog", "shipping", "quote", "email", "fraud-detection"],
    "zipkin": ["cart", "currency", "payment"],
}


@dataclass(frozen=True)
class Seen:
    """What went in, and where it can be looked at.

    Attributes:
        sent: the spans of the applications, and `truth`, what went wrong in them.
        late: ids of the traces to which a span came after the verdict.
        judged: what the Collector behind the stage saw, and `file`, where it wrote that.
        zipkin, zipkin_with_keys: the same spans; the second offers values of keys on its page.
    """

    sent: list[SimulatedSpan]
    truth: Truth
    late: list[str]
    judged: list[ExportTraceServiceRequest]
    file: Path
    zipkin: Zipkin
    zipkin_with_keys: Zipkin
    jaeger: Jaeger


class Application(Process):
    """A program of the shop; ready to begin when it is entered."""

    def __init__(self, plan: Plan, path: Path) -> None:
        plan.write(path)
        super().__init__(
            [sys.executable, "-m", "tests.peers.end_to_end.applications", path],
            log=path.with_suffix(".log"),
            ready=path.with_suffix(".ready").exists,
            env={"OTEL_BSP_SCHEDULE_DELAY": "1000", "PYTHONPATH": _python_path()},
        )


def _python_path() -> str:
    return ":".join([str(_ROOT), *sys.path])


def run_everything(running: ExitStack, folder: Path, model: Path) -> Seen:
    """Start everything, let the shop do its work, and end all but the backends, from the front to the back.

    Raises:
        Unavailable: this machine lacks a peer.
    """
    # They start side by side; to enter one is to wait for it.
    servers: list[Process] = []
    for start in (
        lambda: Zipkin(folder / "zipkin.log"),
        lambda: Zipkin(folder / "zipkin_with_keys.log", ["tracead.anomaly.level", "tracead.anomaly.type"]),
        lambda: Jaeger(folder / "jaeger.log"),
    ):
        servers.append(start())
        running.callback(servers[-1].stop)
    zipkin, zipkin_with_keys, jaeger = servers
    assert isinstance(zipkin, Zipkin)
    assert isinstance(zipkin_with_keys, Zipkin)
    assert isinstance(jaeger, Jaeger)
    to_zipkin = {
        f"zipkin/{name}": {"endpoint": f"{one.url}/api/v2/spans", "timeout": "60s"}
        for name, one in (("plain", zipkin), ("keys", zipkin_with_keys))
    }
    hop = running.enter_context(Stage(folder, to_zipkin, name="zipkin_hop"))
    file = folder / "judged.jsonl"
    back = _collector(
        running,
        folder / "backends",
        {"BACKENDS_GRPC": ""},
        {"BACKENDS_FILE": str(file), "JAEGER_GRPC": jaeger.otlp_grpc, "ZIPKIN_HOP_GRPC": hop.grpc},
    )
    stage = running.enter_context(Stage(folder, otlp_to(back.address["BACKENDS_GRPC"]), scoring(model, _WAIT)))
    names = {f"APPLICATIONS_{name}": "" for name in ("GRPC", "HTTP", "ZIPKIN")}
    front = _collector(running, folder / "applications", names, {"STAGE_GRPC": stage.grpc})
    for one in servers:
        one.wait_until_ready()

    scenario = Scenario(
        seed=11,
        start_unix_nano=time.time_ns() - _SIMULATED_S * 10**9,
        duration_s=_SIMULATED_S,
        traces_per_second=12,
        daily_swing=0.0,
        faults=_FAULTS,
    )
    run = simulate(scenario)
    sent = list(run.spans)
    programs = [
        running.enter_context(Application(plan, folder / f"{plan.way}.json"))
        for plan in _plans(scenario, front.address)
    ]
    for plan in _TRACERS:
        (folder / f"{plan}.go").touch()
    late = _early_traces(sent, run.truth)
    _wait_until(lambda: set(late) <= _decided(file))
    _more_traffic(front.address["APPLICATIONS_GRPC"], late)
    for program in programs:
        assert program.wait() == 0, program.tail()
    for process in (front.process, stage, back.process, hop):
        assert process.stop() == 0, process.tail()
    judged = [from_json(line) for line in file.read_text().splitlines()]
    return Seen(sent, run.truth, late, judged, file, zipkin, zipkin_with_keys, jaeger)


@dataclass(frozen=True)
class _RunningCollector:
    process: Process
    address: dict[str, str]


def _collector(running: ExitStack, name: Path, addresses: dict[str, str], env: dict[str, str]) -> _RunningCollector:
    ports = [free_port() for _ in addresses]
    given = {key: f"{HOST}:{port}" for key, port in zip(addresses, ports, strict=True)}
    config = _HERE / f"{name.name}.yaml"
    process = Collector(config, log=name.with_suffix(".log"), ports=ports, env={**given, **env})
    return _RunningCollector(running.enter_context(process), given)


def _plans(scenario: Scenario, address: dict[str, str]) -> list[Plan]:
    endpoints: dict[Way, str] = {
        "otlp_grpc": address["APPLICATIONS_GRPC"],
        "otlp_http": f"http://{address['APPLICATIONS_HTTP']}",
        "zipkin": f"http://{address['APPLICATIONS_ZIPKIN']}",
    }
    return [Plan(scenario, services, way, endpoints[way], _SPEED) for way, services in _TRACERS.items()]


def _early_traces(sent: list[SimulatedSpan], truth: Truth) -> list[str]:
    """An anomalous trace and a normal one that will be judged long before the end."""
    affected = {trace.trace_id for trace in truth.traces}
    begun = [span.trace_id for span in sorted(sent, key=lambda span: span.ended_s)]
    wrong = next(trace for trace in begun if trace in affected)
    right = next(trace for trace in begun if trace not in affected)
    return [wrong.hex(), right.hex()]


def _decided(file: Path) -> set[str]:
    lines = file.read_text().splitlines() if file.exists() else []
    return {
        span.trace_id.hex()
        for line in lines
        if line.endswith("}")
        for resource_spans in from_json(line).resource_spans
        for scope_spans in resource_spans.scope_spans
        for span in scope_spans.spans
    }


def _wait_until(true: Callable[[], bool], patience: float = 60) -> None:
    deadline = time.monotonic() + patience
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.25)


def _more_traffic(endpoint: str, late: list[str]) -> None:
    """What the shop itself does not do: spans that come late, and a system that the model does not know."""
    frontend = provider({"service.name": "frontend"}, "otlp_grpc", endpoint)
    for trace in late:
        remote = SpanContext(int(trace, 16), 0x1234_5678, is_remote=True, trace_flags=TraceFlags(1))
        context = set_span_in_context(NonRecordingSpan(remote))
        frontend.get_tracer("shop").start_span("afterwards", context, SpanKind.INTERNAL).end()
    billing = provider({"service.name": "billing"}, "otlp_grpc", endpoint)
    tracer = billing.get_tracer("billing")
    for _ in range(3):
        with tracer.start_as_current_span("monthly invoices", kind=SpanKind.INTERNAL):
            for step in ("collect", "render", "send"):
                with tracer.start_as_current_span(step):
                    pass
    for one in (frontend, billing):
        one.shutdown()


def attributes(span: Any) -> dict[str, Any]:
    """The span's attributes `tracead.*`, with lists as lists."""
    found = {}
    for one in span.attributes:
        if one.key.startswith("tracead."):
            kind = one.value.WhichOneof("value")
            value = getattr(one.value, kind)
            found[one.key] = [item.string_value for item in value.values] if kind == "array_value" else value
    return found
