"""The drop-in place: an app with the SDK, a real Collector, the stage, another real Collector."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

from tests.peers.independent import (
    assert_one_verdict_each,
    from_json,
    marked,
    parse,
    parsed_census,
    send_grpc,
    spans_of,
    verdicts,
)
from tests.peers.stage import StartCollector, StartStage, otlp_to, scoring
from tools.peers import Process, free_port
from tools.peers.process import HOST

pytestmark = pytest.mark.peers

_CONFIGS = Path(__file__).parent / "configs"


@dataclass(frozen=True)
class Downstream:
    """The Collector behind the stage: its addresses, and the file that it writes."""

    process: Process
    grpc: str
    http: str
    zipkin: str
    file: Path

    def received(self) -> list[ExportTraceServiceRequest]:
        """End it, and read what it wrote."""
        assert self.process.stop() == 0, self.process.tail()
        return [from_json(line) for line in self.file.read_text().splitlines()]


@pytest.fixture
def downstream(start_collector: StartCollector, tmp_path: Path) -> Downstream:
    grpc, http, zipkin = (free_port() for _ in range(3))
    file = tmp_path / "downstream.jsonl"
    env = {
        "DOWNSTREAM_GRPC": f"{HOST}:{grpc}",
        "DOWNSTREAM_HTTP": f"{HOST}:{http}",
        "DOWNSTREAM_ZIPKIN": f"{HOST}:{zipkin}",
        "DOWNSTREAM_FILE": str(file),
    }
    process = start_collector(_CONFIGS / "downstream.yaml", [grpc, http, zipkin], env)
    return Downstream(process, f"{HOST}:{grpc}", f"http://{HOST}:{http}", f"http://{HOST}:{zipkin}", file)


def upstream(start_collector: StartCollector, stage: Any, exporter: str) -> tuple[Process, str]:
    """The Collector in front of *stage*, sending with *exporter*: the process, and where it takes OTLP over gRPC."""
    port = free_port()
    env = {
        "UPSTREAM_GRPC": f"{HOST}:{port}",
        "UPSTREAM_EXPORTER": exporter,
        "STAGE_GRPC": stage.grpc,
        "STAGE_HTTP": stage.http,
    }
    return start_collector(_CONFIGS / "upstream.yaml", [port], env), f"{HOST}:{port}"


@pytest.mark.parametrize("exporter", ["otlp_grpc", "otlp_http/proto", "otlp_http/json"])
def test_every_span_exactly_once_between_two_collectors(
    start_collector: StartCollector,
    start_stage: StartStage,
    downstream: Downstream,
    model: Path,
    shop: list[bytes],
    exporter: str,
) -> None:
    stage = start_stage(otlp_to(downstream.grpc), scoring(model))
    front, address = upstream(start_collector, stage, exporter)
    send_grpc(address, shop, 5_000)
    assert front.stop() == 0, front.tail()
    stage.drain()
    received = downstream.received()
    sent = parse(shop)
    assert parsed_census(received) == parsed_census(sent)
    assert_one_verdict_each(received, shop)
    assert marked(received, "tracead.anomaly.detected", True)


@pytest.mark.parametrize("exporter", ["otlp_http", "zipkin"])
def test_the_other_exporters_reach_a_collector(
    start_stage: StartStage, downstream: Downstream, model: Path, shop: list[bytes], exporter: str
) -> None:
    exporters = {
        "otlp_http": {"endpoint": downstream.http},
        "zipkin": {"endpoint": f"{downstream.zipkin}/api/v2/spans"},
    }
    stage = start_stage({exporter: exporters[exporter]}, scoring(model))
    send_grpc(stage.grpc, shop, 5_000)
    stage.drain()
    received = downstream.received()
    sent = parse(shop)
    if exporter == "otlp_http":
        assert parsed_census(received) == parsed_census(sent)
    # Zipkin's format cannot hold all of OTLP: there every span is the same span, and has its verdict.
    assert sorted((span.trace_id, span.span_id, span.kind) for span in spans_of(received)) == sorted(
        (span.trace_id, span.span_id, span.kind) for span in spans_of(sent)
    )
    ours = {(span.trace_id, key) for span in spans_of(received) for key in _trace_keys(span)}
    assert {trace for trace, _ in ours} == {span.trace_id for span in spans_of(sent)}


def _trace_keys(span: Any) -> list[str]:
    return [a.key for a in span.attributes if a.key in {"tracead.trace.anomalous", "tracead.unscored"}]


def test_an_application_with_the_sdk(
    start_collector: StartCollector, start_stage: StartStage, downstream: Downstream, model: Path
) -> None:
    exporters = otlp_to(downstream.grpc)
    stage = start_stage(exporters, scoring(model, wait="2s"))
    front, address = upstream(start_collector, stage, "otlp_grpc")
    provider = TracerProvider(resource=Resource.create({"service.name": "checkout"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=address, insecure=True)))
    tracer = provider.get_tracer("shop", "1.2")
    expected = set()
    for number in range(50):
        with tracer.start_as_current_span("POST /checkout", kind=SpanKind.SERVER, attributes={"order": number}) as root:
            with tracer.start_as_current_span("charge", kind=SpanKind.CLIENT) as child:
                child.add_event("sent", {"amount": 9.5})
            expected |= {(s.get_span_context().trace_id, s.get_span_context().span_id) for s in (root, child)}
    provider.shutdown()
    assert front.stop() == 0, front.tail()
    stage.drain()
    received = downstream.received()
    found = [(int.from_bytes(span.trace_id, "big"), int.from_bytes(span.span_id, "big")) for span in spans_of(received)]
    assert sorted(found) == sorted(expected)
    assert set(verdicts(received).values()) == {1}
