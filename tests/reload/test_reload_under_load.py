"""A running stage under steady load over every protocol, and SIGHUPs: nothing is refused, lost, doubled or judged half."""

import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from otel_tracead.artifact import folder
from tests.peers.independent import GrpcSink, own, spans_of
from tests.peers.stage import Stage, otlp_to
from tests.reload.steady import (
    Changing,
    GrpcSender,
    HttpSender,
    Load,
    Sender,
    assert_nothing_lost,
    assert_taken_once,
    otlp,
    zipkin,
)
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
                time.sleep(0.1)
        stage.drain()
        assert load.failures == {}
        assert len(load.accepted) > 200
        assert_nothing_lost(load, sink.requests)


def test_a_changed_grpc_listener_refuses_at_most_what_comes_in_that_moment(tmp_path: Path, model: Path) -> None:
    """What a user is told in docs/reload.md: CANCELLED or UNAVAILABLE, both to be tried again; nothing taken is lost."""
    with GrpcSink() as sink, Stage(tmp_path, otlp_to(sink.target), tracead(model)) as stage:
        changing = Changing(stage, tmp_path)
        several = {f"grpc {number}": GrpcSender(stage.grpc) for number in range(3)}
        http: Sender = HttpSender(stage.http, "/v1/traces", otlp, PROTOBUF, keep=True)
        with Load({**several, "http": http}, gap=0.3) as load:
            for streams in (100, 101, 102):
                changing.reload({"receivers": {"otlp": {"protocols": {"grpc": {"max_concurrent_streams": streams}}}}})
                time.sleep(0.5)
        stage.drain()
        assert {failure.split(": ")[1] for failure in load.failures} <= {"CANCELLED", "UNAVAILABLE"}
        assert load.failures.total() < 0.1 * len(load.accepted) + 10
        assert not [failure for failure in load.failures if failure.startswith("http")]
        assert_taken_once(load, sink.requests)


def test_a_model_is_replaced_under_load(tmp_path: Path, model: Path) -> None:
    place, other = tmp_path / "model", tmp_path / "other"
    shutil.copytree(model, place)
    artifact = folder.load(model)
    names = (folder.NETWORK, folder.LABELS, folder.CALIBRATION, folder.REPORT)
    contents = {name: (model / name).read_bytes() for name in names}
    folder.save(other, artifact.manifest.model_copy(update={"version": "2"}), contents)
    with GrpcSink() as sink, Stage(tmp_path, otlp_to(sink.target), tracead(place, wait_duration="1500ms")) as stage:
        changing = Changing(stage, tmp_path)
        with Load(senders(stage), gap=0.4) as load:
            time.sleep(2)  # some traces are judged by the first one
            place.rename(tmp_path / "old")
            changing.reload({}, good=False)  # nothing is there
            other.rename(place)
            changing.reload({})
            (place / "labels.json").write_bytes(b"{}")
            changing.reload({}, good=False)  # the one before is in memory
            time.sleep(1)
        stage.drain()
        assert load.failures == {}
        assert_nothing_lost(load, sink.requests)
        judged = Counter(own(span).get("tracead.model.version") for span in spans_of(sink.requests))
        assert judged["1"] > 20
        assert judged["2"] > 20
