"""Every span comes out exactly once, byte for byte as it went in but for `tracead.*`, and each trace has one verdict."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.peers.independent import (
    GrpcSink,
    HttpSink,
    assert_one_verdict_each,
    census,
    own,
    parse,
    parsed_census,
    post,
    send_grpc,
    spans_of,
    to_json,
    to_zipkin,
)
from tests.peers.real_traces import first_fault, minute
from tests.peers.stage import StartStage, otlp_to, scoring

SPANS_PER_SECOND = 5_000


def test_grpc(start_stage: StartStage, sink: GrpcSink, model: Path, shop: list[bytes]) -> None:
    stage = start_stage(otlp_to(sink.target), scoring(model))
    send_grpc(stage.grpc, shop, SPANS_PER_SECOND)
    stage.drain()
    assert census(sink.bodies) == census(shop)
    assert_one_verdict_each(sink.requests, shop)
    assert any(own(span).get("tracead.anomaly.detected") for span in spans_of(sink.requests))


def test_http_protobuf(start_stage: StartStage, sink: GrpcSink, model: Path, shop: list[bytes]) -> None:
    stage = start_stage(otlp_to(sink.target), scoring(model))
    post(f"{stage.http}/v1/traces", shop, "application/x-protobuf", expect=200)
    stage.drain()
    assert census(sink.bodies) == census(shop)
    assert_one_verdict_each(sink.requests, shop)


def test_http_json(start_stage: StartStage, sink: GrpcSink, model: Path, shop: list[bytes]) -> None:
    stage = start_stage(otlp_to(sink.target), scoring(model))
    post(f"{stage.http}/v1/traces", map(to_json, parse(shop)), "application/json", expect=200)
    stage.drain()
    assert parsed_census(sink.requests) == parsed_census(parse(shop))
    assert_one_verdict_each(sink.requests, shop)


def test_zipkin(start_stage: StartStage, model: Path, shop: list[bytes]) -> None:
    spans = to_zipkin(parse(shop))
    bodies = [json.dumps(spans[start : start + 500]).encode() for start in range(0, len(spans), 500)]
    with HttpSink() as sink:
        stage = start_stage({"zipkin": {"endpoint": f"{sink.url}/api/v2/spans"}}, scoring(model))
        post(f"{stage.zipkin}/api/v2/spans", bodies, "application/json", expect=202)
        stage.drain()
    received = [span for body in sink.bodies for span in json.loads(body)]
    found: Counter[str] = Counter()
    for span in received:
        tags = span.pop("tags", {})
        found[span["traceId"]] += bool({"tracead.trace.anomalous", "tracead.unscored"} & tags.keys())
        if theirs := {key: value for key, value in tags.items() if not key.startswith("tracead.")}:
            span["tags"] = theirs

    def by_id(listed: list[dict[str, Any]]) -> list[str]:
        return sorted(json.dumps(span, sort_keys=True) for span in listed)

    assert by_id(received) == by_id(spans)
    assert set(found.values()) == {1}


@pytest.mark.data
@pytest.mark.parametrize("system", ["online_boutique", "train_ticket"])
def test_a_real_fault_minute_in_front_of_a_model_that_does_not_know_the_system(
    start_stage: StartStage, sink: GrpcSink, model: Path, trace_data: Path, system: str
) -> None:
    sent = minute(trace_data / system / first_fault(trace_data / system)["files"][1])
    stage = start_stage(otlp_to(sink.target), scoring(model))
    send_grpc(stage.grpc, sent, SPANS_PER_SECOND)
    stage.drain()
    assert census(sink.bodies) == census(sent)
    assert_one_verdict_each(sink.requests, sent)
    reasons = {own(span).get("tracead.unscored") for span in spans_of(sink.requests)}
    assert reasons == {None, "unknown_traffic"}


def test_sigterm_right_after_acceptance_loses_nothing(
    start_stage: StartStage, sink: GrpcSink, model: Path, shop: list[bytes]
) -> None:
    stage = start_stage(otlp_to(sink.target), scoring(model, wait="60s"))
    some = shop[:100]
    send_grpc(stage.grpc, some)
    stage.drain()
    assert census(sink.bodies) == census(some)
    releases = {own(span).get("tracead.trace.release") for span in spans_of(sink.requests)}
    assert releases == {None, "shutdown"}


def test_a_stage_without_the_processor_only_forwards(
    start_stage: StartStage, sink: GrpcSink, shop: list[bytes]
) -> None:
    stage = start_stage(otlp_to(sink.target))
    send_grpc(stage.grpc, shop)
    stage.drain()
    assert census(sink.bodies) == census(shop)
    assert not any(own(span) for span in spans_of(sink.requests))
