"""A real Zipkin behind the stage: a search finds exactly the traces that are marked."""

import json
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.faults.processes import until
from tests.peers.independent import GrpcSink, marked, parse, post, send_grpc, spans_of, to_zipkin
from tests.peers.stage import StartStage, otlp_to, scoring
from tools.peers.zipkin import Zipkin

_EVERYTHING = {"limit": 100_000, "lookback": 3_600_000}


def _found(zipkin: Zipkin, query: str, spans: list[dict[str, Any]]) -> set[str]:
    """The trace ids that a search of the hour before the newest of *spans* finds."""
    newest = max(span["timestamp"] for span in spans) // 1000 + 1
    traces = zipkin.search({**_EVERYTHING, "annotationQuery": query, "endTs": newest})
    return {trace[0]["traceId"] for trace in traces} & {span["traceId"] for span in spans}


def _exporters(sink: GrpcSink, zipkin: Zipkin) -> dict[str, Any]:
    return {"zipkin": {"endpoint": f"{zipkin.url}/api/v2/spans"}, **otlp_to(sink.target)}


@pytest.mark.parametrize("way", ["otlp", "zipkin"])
def test_a_search_finds_exactly_the_marked_traces(
    zipkin: Zipkin, start_stage: StartStage, sink: GrpcSink, model: Path, shop: list[bytes], way: str
) -> None:
    requests = _other_traces(shop, way)
    spans = to_zipkin(requests)
    stage = start_stage(_exporters(sink, zipkin), scoring(model, wait="3s"))
    if way == "otlp":
        send_grpc(stage.grpc, [request.SerializeToString() for request in requests], 5_000)
    else:
        post(f"{stage.zipkin}/api/v2/spans", [json.dumps(spans).encode()], "application/json", expect=202)
    stage.drain()

    high = marked(sink.requests, "tracead.anomaly.level", "high")
    assert 0 < len(high) < len({span["traceId"] for span in spans})
    assert _found(zipkin, "tracead.anomaly.level=high", spans) == high
    detected = marked(sink.requests, "tracead.anomaly.detected", True)
    assert _found(zipkin, "tracead.anomaly.detected=true", spans) == detected


def test_spans_of_a_zipkin_tracer_reach_zipkin_unharmed(
    zipkin: Zipkin, start_stage: StartStage, sink: GrpcSink, shop: list[bytes]
) -> None:
    spans = to_zipkin(_other_traces(shop, "unharmed"))
    stage = start_stage(_exporters(sink, zipkin))
    post(f"{stage.zipkin}/api/v2/spans", [json.dumps(spans).encode()], "application/json", expect=202)
    stage.drain()

    assert len(list(spans_of(sink.requests))) == len(spans)
    newest = max(span["timestamp"] for span in spans) // 1000 + 1
    kept = [span for trace in zipkin.search({**_EVERYTHING, "endTs": newest}) for span in trace]
    ours = {span["traceId"] for span in spans}
    assert _comparable(span for span in kept if span["traceId"] in ours) == _comparable(spans)


def test_more_than_zipkin_takes_in_one_request_comes_in_several(
    zipkin: Zipkin, start_stage: StartStage, shop: list[bytes]
) -> None:
    whole, spans, size = ExportTraceServiceRequest(), list[dict[str, Any]](), 0
    while size < 11 * 2**20:  # the limit is 10 MiB, and is answered with 500 and "413 ..."
        more = _other_traces(shop, f"large {size}")
        for request in more:
            whole.resource_spans.extend(request.resource_spans)
        spans += to_zipkin(more)
        size = len(json.dumps(spans))
    stage = start_stage({"zipkin": {"endpoint": f"{zipkin.url}/api/v2/spans", "timeout": "60s"}})
    send_grpc(stage.grpc, [whole.SerializeToString()])
    stage.drain()

    ours = {span["traceId"] for span in spans}

    def kept() -> list[dict[str, Any]]:
        return [span for trace in zipkin.search(_EVERYTHING) for span in trace if span["traceId"] in ours]

    until(lambda: len(kept()) >= len(spans))  # it stores after it has answered
    assert sorted((span["traceId"], span["id"]) for span in kept()) == sorted(
        (span["traceId"], span["id"]) for span in spans
    )


def _other_traces(bodies: list[bytes], name: str) -> list[ExportTraceServiceRequest]:
    """The same spans under trace ids that belong to *name*: the tests share one Zipkin."""
    requests = parse(bodies)
    for span in spans_of(requests):
        span.trace_id = sha256(name.encode() + span.trace_id).digest()[:16]
    return requests


def _comparable(spans: Iterable[dict[str, Any]]) -> list[str]:
    """What Zipkin gives back as it came: all but names, which it writes in lower case."""
    return sorted(json.dumps({**span, "name": span["name"].lower()}, sort_keys=True) for span in spans)
