"""A real process on a real disk, killed while spans go through it: nothing that it said yes to is missing."""

import signal
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.faults.pipeline import request
from tests.faults.processes import Senders, arrived, books, otlp_to, tracead, until
from tests.peers.independent import GrpcSink, send_grpc, spans_of
from tests.peers.stage import Stage


def own_attributes(sink: GrpcSink) -> dict[str, set[tuple[str, ...]]]:
    """What the copies of each span that came say of it."""
    found = defaultdict(set)
    for body in list(sink.bodies):
        for span in spans_of([ExportTraceServiceRequest.FromString(body)]):
            own = (str(one) for one in span.attributes if one.key.startswith("tracead."))
            found[span.name].add(tuple(own))
    return found


def stages(folder: Path, model: Path, sink: str) -> Callable[[str], Stage]:
    """Give what starts one process after another on the same store."""
    (folder / "store").mkdir(exist_ok=True)
    extensions = {"file_storage": {"directory": str(folder / "store")}}
    processors = tracead(model, storage="file_storage", shutdown_timeout="1s")
    return lambda name: Stage(folder, otlp_to(sink), processors, name, extensions)


def test_killed_under_load_it_loses_nothing(tiny_artifact: Path, tmp_path: Path) -> None:
    with GrpcSink() as sink:
        start = stages(tmp_path, tiny_artifact, sink.target)
        with start("first") as stage, Senders(stage.grpc) as senders:
            until(lambda: senders.taken.total() > 300)
            stage.signal(signal.SIGKILL)
            assert stage.wait() == -signal.SIGKILL
            senders.stop(now=True)
        taken = set(senders.taken)
        with start("second") as stage:
            until(lambda: taken <= set(arrived(sink)))
            until(lambda: books(stage).total("otelcol_processor_tracead_journal_requests") == 0)
            stage.drain()
    twice = {name: own for name, own in own_attributes(sink).items() if len(own) > 1}
    assert twice == {}, "a span came with two verdicts"


@pytest.mark.peers
def test_stopped_in_a_hurry_it_leaves_everything_to_the_next_start(tiny_artifact: Path, tmp_path: Path) -> None:
    """A second signal does not wait for the drain; the exporter has no storage, and nowhere to send to."""
    with stages(tmp_path, tiny_artifact, "127.0.0.1:1")("away") as stage:
        send_grpc(stage.grpc, [request(trace) for trace in range(10)])
        until(lambda: books(stage).queued("otlp_grpc") == 30)
        stage.signal(signal.SIGTERM)
        until(lambda: "draining and stopping" in stage.log.read_text())
        stage.signal(signal.SIGTERM)
        assert stage.wait() == 1
    with GrpcSink() as sink, stages(tmp_path, tiny_artifact, sink.target)("back") as stage:
        until(lambda: arrived(sink).total() == 30)
        assert "spans come back from the storage" in stage.log.read_text()
        stage.drain()
    assert set(arrived(sink).values()) == {1}
