"""The examples are valid for the programs that they are written for, and do together what their README says."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers.independent import from_json, parse, parsed_census, send_grpc, verdicts
from tests.peers.stage import StartCollector
from tools.peers import Process, Unavailable, free_port
from tools.peers.jaeger import Jaeger
from tools.peers.otelcol import validate
from tools.peers.process import HOST, listening
from tools.peers.zipkin import Zipkin

EXAMPLES = Path(__file__).parents[2] / "examples"
OURS = ["tracead.yaml", "jaeger.yaml", "zipkin.yaml", "replica.yaml", "kafka-replicas.yaml"]
ELSEWHERE = ["load-balancing.yaml"]  # tests/examples
COLLECTORS = ["collector-upstream.yaml", "collector-downstream.yaml", "kafka-replicas-collector.yaml"]


def test_every_example_is_tested() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.yaml")) == sorted([*OURS, *COLLECTORS, *ELSEWHERE])


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize("name", OURS)
def test_ours_are_valid(name: str) -> None:
    command = [sys.executable, "-m", "otel_tracead", "validate", "--config", str(EXAMPLES / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.peers
@pytest.mark.parametrize("name", COLLECTORS)
def test_the_collectors_are_valid(name: str) -> None:
    try:
        complaint = validate(EXAMPLES / name)
    except Unavailable as missing:
        pytest.skip(str(missing))
    assert complaint == ""


def _stage(name: str, env: dict[str, str], ports: list[int], log: Path) -> Process:
    command = [sys.executable, "-m", "otel_tracead", "run", "--config", EXAMPLES / name]
    return Process(command, log=log, ready=listening(*ports), env={"TRACEAD_WAIT": "2s", **env})


@pytest.mark.peers
@pytest.mark.usefixtures("model")
def test_between_two_collectors(start_collector: StartCollector, shop: list[bytes], tmp_path: Path) -> None:
    front, front_http, middle, back = (free_port() for _ in range(4))
    file = tmp_path / "downstream.jsonl"
    env = {
        "UPSTREAM_GRPC": f"{HOST}:{front}",
        "UPSTREAM_HTTP": f"{HOST}:{front_http}",
        "TRACEAD_GRPC": f"{HOST}:{middle}",
        "DOWNSTREAM_GRPC": f"{HOST}:{back}",
        "DOWNSTREAM_FILE": str(file),
        **{f"{name}_METRICS_PORT": str(free_port()) for name in ("UPSTREAM", "TRACEAD", "DOWNSTREAM")},
    }
    downstream = start_collector(EXAMPLES / "collector-downstream.yaml", [back], env)
    with _stage("tracead.yaml", env, [middle], tmp_path / "stage.log") as stage:
        upstream = start_collector(EXAMPLES / "collector-upstream.yaml", [front], env)
        send_grpc(f"{HOST}:{front}", shop, 5_000)
        assert [upstream.stop(), stage.stop(), downstream.stop()] == [0, 0, 0]
    received = [from_json(line) for line in file.read_text().splitlines()]
    assert parsed_census(received) == parsed_census(parse(shop))
    assert set(verdicts(received).values()) == {1}


@pytest.mark.usefixtures("model")
def test_in_front_of_zipkin(zipkin: Zipkin, shop: list[bytes], tmp_path: Path) -> None:
    inward, grpc = free_port(), free_port()
    env = {
        "TRACEAD_ZIPKIN": f"{HOST}:{inward}",
        "TRACEAD_GRPC": f"{HOST}:{grpc}",
        "ZIPKIN_URL": f"{zipkin.url}/api/v2/spans",
        "TRACEAD_METRICS_PORT": str(free_port()),
    }
    with _stage("zipkin.yaml", env, [inward, grpc], tmp_path / "stage.log") as stage:
        send_grpc(f"{HOST}:{grpc}", shop)
        assert stage.stop() == 0
    assert zipkin.search({"annotationQuery": "tracead.anomaly.level=high", "lookback": 3_600_000})


@pytest.mark.peers
@pytest.mark.usefixtures("model")
def test_in_front_of_jaeger(jaeger: Jaeger, shop: list[bytes], tmp_path: Path) -> None:
    grpc, http = free_port(), free_port()
    env = {
        "TRACEAD_GRPC": f"{HOST}:{grpc}",
        "TRACEAD_HTTP": f"{HOST}:{http}",
        "JAEGER_GRPC": jaeger.otlp_grpc,
        "TRACEAD_METRICS_PORT": str(free_port()),
    }
    with _stage("jaeger.yaml", env, [grpc, http], tmp_path / "stage.log") as stage:
        send_grpc(f"{HOST}:{grpc}", shop)
        assert stage.stop() == 0
    assert any(jaeger.search(service, {"tracead.anomaly.detected": "true"}) for service in jaeger.services())
