"""The main job on real traces: learn a system's normal minutes, then a fault minute at 5,000 spans a second."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers.independent import (
    GrpcSink,
    assert_one_verdict_each,
    census,
    marked,
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

pytestmark = [pytest.mark.train, pytest.mark.data, pytest.mark.slow]

# Not the best model of the system, but one of it, in a minute or two.
QUICK = "training: {epochs: 3, folds: 2}"


@pytest.fixture(scope="module")
def boutique_model(trace_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of three normal minutes of Online Boutique."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("boutique")
    (folder / "quick.yaml").write_text(QUICK)
    system = trace_data / "online_boutique"
    faults = json.loads((system / "faults.json").read_text())["faults"]
    # A fault's first minute lies before its injection, most often.
    usable = [fault for fault in faults[1:] if fault["files"] and not fault["active_before_injection"]]
    before = [system / fault["files"][0] for fault in usable[:3]]
    inputs = [word for path in before for word in ("--input", str(path))]
    command = [sys.executable, "-m", "otel_tracead", "train", *inputs, "--output", str(folder / "model")]
    done = subprocess.run(
        [*command, "--config", str(folder / "quick.yaml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "model"


@pytest.fixture(scope="module")
def fault_minute(trace_data: Path) -> list[bytes]:
    system = trace_data / "online_boutique"
    return minute(system / first_fault(system)["files"][1])


@pytest.mark.parametrize("way", ["grpc", "http_protobuf", "http_json", "zipkin"])
def test_a_fault_minute(
    start_stage: StartStage, sink: GrpcSink, boutique_model: Path, fault_minute: list[bytes], way: str
) -> None:
    processor = scoring(boutique_model)
    processor["tracead"]["require_report_card"] = False
    stage = start_stage(otlp_to(sink.target), processor)
    match way:
        case "grpc":
            send_grpc(stage.grpc, fault_minute, 5_000)
        case "http_protobuf":
            post(f"{stage.http}/v1/traces", fault_minute, "application/x-protobuf", expect=200)
        case "http_json":
            post(f"{stage.http}/v1/traces", map(to_json, parse(fault_minute)), "application/json", expect=200)
        case "zipkin":
            bodies = [json.dumps(to_zipkin([request])).encode() for request in parse(fault_minute)]
            post(f"{stage.zipkin}/api/v2/spans", bodies, "application/json", expect=202)
    stage.drain()

    received = sink.requests
    if way in ("grpc", "http_protobuf"):
        assert census(sink.bodies) == census(fault_minute)
    elif way == "http_json":
        assert parsed_census(received) == parsed_census(parse(fault_minute))
    else:
        assert to_zipkin_ids(received) == to_zipkin_ids(parse(fault_minute))
    assert_one_verdict_each(received, fault_minute)
    unscored = {span.trace_id for span in spans_of(received) if "tracead.unscored" in own(span)}
    traces = {span.trace_id for span in spans_of(received)}
    assert len(unscored) < 0.1 * len(traces)
    assert 0 < len(marked(received, "tracead.anomaly.detected", True)) < len(traces)


def to_zipkin_ids(requests: list) -> list[tuple]:
    return sorted((s["traceId"], s["id"], s["name"], s["timestamp"], s["duration"]) for s in to_zipkin(requests))
