"""What an operating system does to a process: signals, stops, no files, no disk, the end."""

import resource
import signal
import socket
import threading
import time
from collections import Counter
from copy import deepcopy
from pathlib import Path

import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.faults.line import Line
from tests.faults.pipeline import names, request
from tests.faults.processes import Senders, arrived, books, fewer_files, idle, otlp_to, tracead, until
from tests.peers.independent import GrpcSink, from_json, send_grpc, spans_of
from tests.peers.stage import Stage


@pytest.mark.peers
def test_a_stage_that_is_stopped_for_a_while_goes_on_where_it_was(tiny_artifact: Path, tmp_path: Path) -> None:
    """SIGSTOP, SIGCONT: what the backend answered meanwhile counts, however late it is read; nothing is lost, nothing comes twice."""
    with GrpcSink() as sink, Stage(tmp_path, otlp_to(sink.target), tracead(tiny_artifact)) as stage:
        with Senders(stage.grpc) as senders:
            until(lambda: senders.taken.total() > 100)
            stage.signal(signal.SIGSTOP)
            time.sleep(2.5)  # longer than the exporter's timeout and the traces' wait
            stage.signal(signal.SIGCONT)
            before = senders.taken.total()
            until(lambda: senders.taken.total() > before + 100)
        until(lambda: idle(stage))
        books(stage).check("otlp_grpc")
        stage.drain()
    assert senders.taken == arrived(sink)


def test_spans_that_came_while_it_was_stopped_are_judged_with_their_traces(tiny_artifact: Path, tmp_path: Path) -> None:
    """Though the wait of these traces was over when it went on."""
    whole = [ExportTraceServiceRequest.FromString(request(trace, 6)) for trace in range(20)]
    begin, rest = deepcopy(whole), whole
    for one, other in zip(begin, rest, strict=True):
        del one.resource_spans[0].scope_spans[0].spans[3:]
        del other.resource_spans[0].scope_spans[0].spans[:3]
    with (
        GrpcSink() as sink,
        Stage(tmp_path, otlp_to(sink.target), tracead(tiny_artifact, wait_duration="1500ms")) as stage,
    ):
        send_grpc(stage.grpc, [one.SerializeToString() for one in begin])
        stage.signal(signal.SIGSTOP)
        sender = threading.Thread(target=send_grpc, args=(stage.grpc, [one.SerializeToString() for one in rest]))
        sender.start()
        time.sleep(3.0)
        stage.signal(signal.SIGCONT)
        sender.join()
        until(lambda: arrived(sink) == names(range(20), 6))
        assert books(stage).total("otelcol_processor_tracead_spans_late") == 0
        stage.drain()


def test_killed_without_a_store_it_loses_what_it_held_and_nothing_else(tiny_artifact: Path, tmp_path: Path) -> None:
    with GrpcSink() as sink:
        with Stage(tmp_path, otlp_to(sink.target), tracead(tiny_artifact, wait_duration="2s")) as stage:
            first = [request(trace) for trace in range(30)]
            send_grpc(stage.grpc, first)
            until(lambda: arrived(sink) == names(range(30)))
            send_grpc(stage.grpc, [request(trace) for trace in range(30, 40)])
            found = books(stage)
            assert found.held + found.queued("otlp_grpc") == 30
            stage.signal(signal.SIGKILL)
            assert stage.wait() == -signal.SIGKILL
        time.sleep(0.1)
        assert arrived(sink) == names(range(30))


def test_ended_with_a_backend_away_it_says_what_it_could_not_hand_on(tiny_artifact: Path, tmp_path: Path) -> None:
    with Stage(tmp_path, otlp_to("127.0.0.1:1"), tracead(tiny_artifact)) as stage:
        send_grpc(stage.grpc, [request(trace) for trace in range(10)])
        stage.signal(signal.SIGTERM)
        until(lambda: "draining and stopping" in stage.log.read_text())
        stage.signal(signal.SIGTERM)  # who cannot wait for the 25 s of the drain
        assert stage.wait() == 1
        assert "spans may be lost" in stage.log.read_text()


@pytest.mark.peers
def test_without_files_it_keeps_what_it_has_and_takes_more_when_there_are_some(
    tiny_artifact: Path, tmp_path: Path
) -> None:
    with GrpcSink() as sink, Stage(tmp_path, otlp_to(sink.target), tracead(tiny_artifact)) as stage:
        send_grpc(stage.grpc, [request(0)])
        until(lambda: arrived(sink) == names(range(1)))
        open_now = len(list(Path(f"/proc/{stage.pid}/fd").iterdir()))
        with Senders(stage.grpc, threads=1, first=100) as senders:
            until(lambda: senders.taken.total() > 10)
            before = fewer_files(stage.pid, open_now + 12)
            host, port = stage.grpc.split(":")
            strangers = [socket.create_connection((host, int(port)), timeout=5) for _ in range(40)]
            until(lambda: "connections are turned away" in stage.log.read_text())
            taken = senders.taken.total()
            until(lambda: senders.taken.total() > taken + 100)  # who is connected is served
            time.sleep(2.2)
            for one in strangers:
                one.close()
            resource.prlimit(stage.pid, resource.RLIMIT_NOFILE, before)
        until(lambda: books(stage).held == 0)
        send_grpc(stage.grpc, [request(1)])
        until(lambda: arrived(sink) == senders.taken + names(range(2)))
        assert stage.log.read_text().count("connections are turned away") <= 2
        books(stage).check("otlp_grpc")
        stage.drain()


def test_a_full_disk_delays_the_file_and_nobody_else(tiny_artifact: Path, tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands for the disk: a write beyond it fails, in the middle of a message, too."""
    copy, record = tmp_path / "copy.jsonl", tmp_path / "record"
    file = {"file": {"path": str(copy), "retry_on_failure": {"initial_interval": "50ms", "max_interval": "200ms"}}}
    file["file"]["sending_queue"] = {"queue_size": 100_000, "sizer": "items"}
    with GrpcSink() as sink:
        processors = tracead(tiny_artifact, record=str(record))
        with Stage(tmp_path, otlp_to(sink.target) | file, processors) as stage:
            send_grpc(stage.grpc, [request(trace) for trace in range(5)])
            until(lambda: books(stage).sent("file") == 15)
            limit = (copy.stat().st_size + 700, resource.RLIM_INFINITY)
            resource.prlimit(stage.pid, resource.RLIMIT_FSIZE, limit)
            # The log is a file, too; what it cannot say is not what this is about.
            send_grpc(stage.grpc, [request(trace) for trace in range(5, 40)])
            until(lambda: sink_has(sink, 40))
            until(
                lambda: books(stage).queued("file") > 0 and books(stage).total("otelcol_exporter_tracead_retries") > 2
            )
            assert all(from_json(line) for line in copy.read_bytes().splitlines())
            books(stage).check("otlp_grpc", "file")
            resource.prlimit(stage.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            until(lambda: books(stage).sent("file") == 120)
            stage.drain()
    lines = copy.read_bytes().splitlines()
    assert Counter(span.name for span in spans_of(map(from_json, lines))) == names(range(40))
    assert arrived(sink) == names(range(40))


def sink_has(sink: GrpcSink, traces: int) -> bool:
    return arrived(sink) == names(range(traces))


@pytest.mark.peers
def test_a_reload_while_the_backend_is_cut_off_loses_nothing(tiny_artifact: Path, tmp_path: Path) -> None:
    """SIGHUP with another exporter's configuration: what waits goes over to its successor."""
    with (
        GrpcSink() as sink,
        Line(sink.target) as line,
        Stage(tmp_path, otlp_to(line.endpoint), tracead(tiny_artifact)) as stage,
    ):
        with Senders(stage.grpc) as senders:
            until(lambda: senders.taken.total() > 100)
            line.refuses = True
            line.cut()
            until(lambda: books(stage).queued("otlp_grpc") > 100)
            path = tmp_path / "stage.yaml"
            written = yaml.safe_load(path.read_text())
            written["exporters"]["otlp_grpc"]["timeout"] = "2s"
            path.write_text(yaml.safe_dump(written, sort_keys=False))
            stage.signal(signal.SIGHUP)
            until(lambda: stage.log.read_text().count("everything is ready") == 2)
            line.restore()
            taken = senders.taken.total()
            until(lambda: senders.taken.total() > taken + 100)
        until(lambda: idle(stage))
        stage.drain()
    assert not senders.taken - arrived(sink)
    assert set(arrived(sink)) == set(senders.taken)


pytestmark = pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process: Linux only")
