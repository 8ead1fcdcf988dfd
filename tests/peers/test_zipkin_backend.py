"""A real Zipkin behind the stage: a search finds exactly the traces that are marked."""

import json
from pathlib import Path
from typing import Any

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


def test_a_search_finds_exactly_the_marked_traces(
    zipkin: Zipkin, start_stage: StartStage, sink: GrpcSink, model: Path, shop: list[bytes]
) -> None:
    stage = start_stage(_exporters(sink, zipkin), scoring(model, wait="3s"))
    send_grpc(stage.grpc, shop, 5_000)
    stage.drain()

    spans = to_zipkin(parse(shop))
    high = marked(sink.requests, "tracead.anomaly.level", "high")
    assert 0 < len(high) < len({span["traceId"] for span in spans})
    assert _found(zipkin, "tracead.anomaly.level=high", spans) == high
    detected = marked(sink.requests, "tracead.anomaly.detected", True)
    assert _found(zipkin, "tracead.anomaly.detected=true", spans) == detected


def test_spans_of_a_zipkin_tracer_reach_zipkin_unharmed(
    zipkin: Zipkin, start_stage: StartStage, sink: GrpcSink, model: Path, shop: list[bytes]
) -> None:
    # Other trace ids than in the test above: both talk to one Zipkin.
    spans = [{**span, "traceId": f"beef{span['traceId'][4:]}"} for span in to_zipkin(parse(shop))]
    stage = start_stage(_exporters(sink, zipkin), scoring(model, wait="3s"))
    post(f"{stage.zipkin}/api/v2/spans", [json.dumps(spans).encode()], "application/json", expect=202)
    stage.drain()

    high = marked(sink.requests, "tracead.anomaly.level", "high")
    assert high
    assert _found(zipkin, "tracead.anomaly.level=high", spans) == high
    assert len(list(spans_of(sink.requests))) == len(spans)
    newest = max(span["timestamp"] for span in spans) // 1000 + 1
    kept = [span for trace in zipkin.search({**_EVERYTHING, "endTs": newest}) for span in trace]
    ours = {span["traceId"] for span in spans}
    assert _comparable(span for span in kept if span["traceId"] in ours) == _comparable(spans)


def _comparable(spans: Any) -> list[str]:
    """What Zipkin gives back as it came: all but our tags, and names, which it writes in lower case."""
    return sorted(
        json.dumps(
            {
                **span,
                "name": span["name"].lower(),
                "tags": {key: value for key, value in span["tags"].items() if not key.startswith("tracead.")},
            },
            sort_keys=True,
        )
        for span in spans
    )
