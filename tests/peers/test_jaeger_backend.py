"""A real Jaeger behind the stage: a search finds exactly the traces that are marked."""

from collections import defaultdict
from pathlib import Path

import pytest

from tests.peers.independent import GrpcSink, marked, own, parse, send_grpc, spans_of
from tests.peers.stage import StartStage, scoring
from tools.peers.jaeger import Jaeger

pytestmark = pytest.mark.peers


def _services(sink: GrpcSink) -> dict[str, set[str]]:
    """For each service, the traces that have one of its spans marked."""
    found = defaultdict(set)
    for request in sink.requests:
        for resource_spans in request.resource_spans:
            service = next(a.value.string_value for a in resource_spans.resource.attributes if a.key == "service.name")
            found[service]  # a service without marks is asked for too
            for span in (span for scope_spans in resource_spans.scope_spans for span in scope_spans.spans):
                if own(span).get("tracead.anomaly.detected"):
                    found[service].add(span.trace_id.hex())
    return found


@pytest.mark.parametrize("exporter", ["otlp_grpc", "otlp_http"])
def test_a_search_finds_exactly_the_marked_traces(
    jaeger: Jaeger, start_stage: StartStage, sink: GrpcSink, model: Path, shop: list[bytes], exporter: str
) -> None:
    plain = {"insecure": True}
    to_jaeger = {
        "otlp_grpc": {"endpoint": jaeger.otlp_grpc, "tls": plain},
        "otlp_http": {"endpoint": jaeger.otlp_http},
    }
    exporters = {
        f"{exporter}/jaeger": to_jaeger[exporter],
        "otlp_grpc/sink": {"endpoint": sink.target, "tls": plain},
    }
    stage = start_stage(exporters, scoring(model, wait="3s"))
    send_grpc(stage.grpc, shop, 5_000)
    stage.drain()

    begin = min(span.start_time_unix_nano for span in spans_of(parse(shop))) // 1000 - 1
    end = max(span.end_time_unix_nano for span in spans_of(parse(shop))) // 1000 + 1
    services = _services(sink)
    assert set(jaeger.services()) == set(services)
    for service, traces in services.items():
        found = jaeger.search(service, {"tracead.anomaly.detected": "true"}, start=begin, end=end, limit=100_000)
        assert {trace["traceID"] for trace in found} == traces, service
    everywhere = set().union(*services.values())
    assert everywhere == marked(sink.requests, "tracead.anomaly.detected", True)
    assert 0 < len(everywhere) < len({span.trace_id for span in spans_of(parse(shop))})
