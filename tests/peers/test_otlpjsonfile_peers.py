"""Files that the real Collector writes and rotates, followed by the stage, arrive whole."""

import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.peers.independent import GrpcSink, parse, parsed_census, send_grpc
from tests.peers.stage import StartCollector, otlp_to
from tools.peers import Process, free_port
from tools.peers.process import HOST, listening

pytestmark = pytest.mark.peers


def test_what_the_collector_writes_while_it_rotates(
    start_collector: StartCollector, sink: GrpcSink, shop: list[bytes], tmp_path: Path
) -> None:
    collector_port, metrics_port = free_port(), free_port()
    written = tmp_path / "traces.jsonl"
    collector = {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"{HOST}:{collector_port}"}}}},
        "exporters": {"file": {"path": str(written), "rotation": {"max_megabytes": 1, "max_backups": 100}}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["file"]}},
        },
    }
    stage = {
        "receivers": {"otlpjsonfile": {"include": [str(tmp_path / "traces*.jsonl")], "start_at": "beginning"}},
        "exporters": otlp_to(sink.target),
        "service": {
            "telemetry": {
                "metrics": {"readers": [{"pull": {"exporter": {"prometheus": {"host": HOST, "port": metrics_port}}}}]}
            },
            "pipelines": {"traces": {"receivers": ["otlpjsonfile"], "exporters": ["otlp_grpc"]}},
        },
    }
    for name, config in (("collector", collector), ("stage", stage)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "otel_tracead", "run", "--config", tmp_path / "stage.yaml"]
    with Process(command, log=tmp_path / "stage.log", ready=listening(metrics_port)) as following:
        writing = start_collector(tmp_path / "collector.yaml", [collector_port], {})
        for part in range(4):
            send_grpc(f"{HOST}:{collector_port}", shop[part::4])
            time.sleep(1.2)  # the Collector flushes each second, and stamps the files that it puts aside
        assert writing.stop() == 0
        expected = parsed_census(parse(shop))
        deadline = time.monotonic() + 20
        while sum(parsed_census(sink.requests).values()) < sum(expected.values()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert following.stop() == 0, following.tail()
    assert len(list(tmp_path.glob("traces*.jsonl"))) > 2
    assert parsed_census(sink.requests) == expected
