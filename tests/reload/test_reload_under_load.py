"""A running stage under steady load over every protocol, and SIGHUPs: nothing is refused, lost, doubled or judged half."""

from pathlib import Path
from typing import Any

import pytest

from tests.peers.independent import GrpcSink
from tests.peers.stage import Stage, otlp_to
from tests.reload.steady import Changing, GrpcSender, HttpSender, Load, Sender, assert_nothing_lost, otlp, zipkin
from tests.tiny_model import learned, shop_traces, write_artifact

JSON, PROTOBUF = "application/json", "application/x-protobuf"


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    write_artifact(folder, learned(shop_traces(duration_s=20)))
    return folder


def tracead(model: Path, **keys: Any) -> dict[str, Any]:
    always = {"model": str(model), "execution_provider": "cpu", "unknown_labels": 1.0, "wait_duration": "3s"}
    return {"tracead": {**always, **keys}}


def senders(stage: Stage) -> dict[str, Sender]:
    return {
        "grpc 1": GrpcSender(stage.grpc),
        "grpc 2": GrpcSender(stage.grpc),
        "http kept": HttpSender(stage.http, "/v1/traces", otlp, PROTOBUF, keep=True),
        "http fresh": HttpSender(stage.http, "/v1/traces", otlp, PROTOBUF, keep=False),
        "zipkin kept": HttpSender(stage.zipkin, "/api/v2/spans", zipkin, JSON, keep=True),
        "zipkin fresh": HttpSender(stage.zipkin, "/api/v2/spans", zipkin, JSON, keep=False),
    }


def test_nothing_is_refused_lost_or_judged_half(tmp_path: Path, model: Path) -> None:
    with GrpcSink() as sink, Stage(tmp_path, otlp_to(sink.target), tracead(model)) as stage:
        changing = Changing(stage, tmp_path)
        with Load(senders(stage), gap=0.8) as load:
            for change, good in [
                ({}, True),
                ({"processors": tracead(model, detection={"false_positive_rate": 0.05})}, True),
                ({"processors": tracead(model, wait_duraton="1s")}, False),
                ({"processors": tracead(model, wait_duration="4s", annotate="all")}, True),
                ({"receivers": {"zipkin": {"max_request_body_size": 10_000}}}, True),
                ({"receivers": {"otlp": {"protocols": {"http": {"response_headers": {"x-new": "1"}}}}}}, True),
                ({"processors": tracead(tmp_path / "nowhere")}, False),
                ({"exporters": {"otlp_grpc": {"timeout": "7s", "sending_queue": {"num_consumers": 1}}}}, True),
                (
                    {
                        "processors": {"batch": {"timeout": "100ms"}},
                        "exporters": {"file": {"path": str(tmp_path / "copy.jsonl")}},
                        "service": {
                            "pipelines": {
                                "traces": {"processors": ["tracead", "batch"], "exporters": ["otlp_grpc", "file"]}
                            }
                        },
                    },
                    True,
                ),
                ({}, True),
            ]:
                changing.reload(change, good=good)
        stage.drain()
        assert load.failures == {}
        assert len(load.accepted) > 500
        assert_nothing_lost(load, sink.requests)
