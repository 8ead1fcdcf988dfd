"""The real Collector writes what otel-tracead reads, and reads what otel-tracead writes."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest
import yaml

from tests.peers.independent import GrpcSink, assert_one_verdict_each, parse, parsed_census, send_grpc, spans_of
from tests.peers.stage import StartCollector, scoring
from tests.receivers.kafka.kafka_rig import Topic
from tools.peers import Process, free_port
from tools.peers.process import HOST

_CONFIG = Path(__file__).parent / "configs" / "kafka.yaml"
_PATIENCE = 60.0


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def stage(folder: Path, name: str, pipeline: dict[str, Any], port: int) -> Process:
    """`otel-tracead run` with one receiver, processor and exporter of each kind in *pipeline*."""
    file = folder / f"{name}.yaml"
    service = {
        "pipelines": {"traces": {kind: list(parts) for kind, parts in pipeline.items()}},
        "telemetry": {"metrics": {"readers": [{"pull": {"exporter": {"prometheus": {"host": HOST, "port": port}}}}]}},
    }
    file.write_text(yaml.safe_dump({**pipeline, "service": service}))
    command = [sys.executable, "-m", "otel_tracead", "run", "--config", file]
    return Process(
        command, log=folder / f"{name}.log", ready=lambda: "is ready" in (folder / f"{name}.log").read_text()
    )


def partitions_by_key(address: str, topic: str, partitions: int) -> dict[bytes, int]:
    consumer = confluent_kafka.Consumer({"bootstrap.servers": address, "group.id": "looking", "log_level": 0})
    found: dict[bytes, int] = {}
    try:
        consumer.assign([confluent_kafka.TopicPartition(topic, number, 0) for number in range(partitions)])
        while messages := consumer.consume(1000, 2.0):
            for message in messages:
                assert found.setdefault(message.key(), message.partition()) == message.partition()
    finally:
        consumer.close()
    return found


@pytest.mark.peers
@pytest.mark.parametrize("encoding", ["otlp_proto", "otlp_json"])
def test_there_and_back(
    kafka: Any,
    start_collector: StartCollector,
    model: Path,
    shop: list[bytes],
    tmp_path: Path,
    encoding: str,
) -> None:
    there, back = Topic(kafka.address, partitions=4), Topic(kafka.address, partitions=4)
    grpc = free_port()
    with GrpcSink() as sink:
        env = {
            "GRPC": f"{HOST}:{grpc}",
            "BROKER": kafka.address,
            "SINK": sink.target,
            "TOPIC_TO_WRITE": there.name,
            "TOPIC_TO_READ": back.name,
            "ENCODING": encoding,
        }
        pipeline = {
            "receivers": {
                "kafka": {
                    "brokers": [kafka.address],
                    "traces": {"topics": [there.name], "encoding": encoding},
                    "initial_offset": "earliest",
                }
            },
            "processors": scoring(model, wait="3s"),
            "exporters": {
                "kafka": {
                    "brokers": [kafka.address],
                    "traces": {"topic": back.name, "encoding": encoding},
                    "partition_traces_by_id": True,
                }
            },
        }
        collector = start_collector(_CONFIG, [grpc], env)
        with stage(tmp_path, "stage", pipeline, free_port()) as running:
            send_grpc(f"{HOST}:{grpc}", shop)
            sent = sum(1 for _ in spans_of(parse(shop)))
            until(lambda: sum(1 for _ in spans_of(sink.requests)) >= sent, running.tail())
            assert running.stop() == 0
        assert collector.stop() == 0
    assert parsed_census(sink.requests) == parsed_census(parse(shop))
    assert_one_verdict_each(sink.requests, shop)
    written = partitions_by_key(kafka.address, there.name, 4)
    assert set(written) == {span.trace_id.hex().encode() for span in spans_of(parse(shop))}
    assert partitions_by_key(kafka.address, back.name, 4) == written  # both hash alike
