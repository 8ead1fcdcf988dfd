"""A process with its processor and its queue on disk: stopped while the backend is away, reloaded, its disk taken away."""

import json
import resource
import signal
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.faults.pipeline import names, request
from tests.faults.processes import Senders, arrived, books, otlp_to, tracead, until
from tests.peers.independent import GrpcSink, send_grpc
from tests.peers.stage import Stage
from tools.peers import free_port
from tools.peers.process import HOST

pytestmark = pytest.mark.peers

AWAY = "127.0.0.1:1"


def stage(folder: Path, model: Path, sink: str, name: str, queue: int = 200_000, **extensions: Any) -> Stage:
    (folder / "store").mkdir(exist_ok=True)
    extensions = {"file_storage": {"directory": str(folder / "store")}, **extensions}
    processors = tracead(model, storage="file_storage", shutdown_timeout="1s")
    sending_queue = {"storage": "file_storage", "queue_size": queue, "sizer": "items"}
    return Stage(folder, otlp_to(sink, sending_queue=sending_queue), processors, name, extensions)


def logs_of_changes(folder: Path) -> list[str]:
    return [found.name for found in (folder / "store").glob("*-wal")]


def test_stopped_while_the_backend_is_away_it_ends_well_and_the_next_one_sends_everything_once(
    tiny_artifact: Path, tmp_path: Path
) -> None:
    """The queue has room for a part only: the rest stays with the processor, judged and not handed on, or not judged."""
    with stage(tmp_path, tiny_artifact, AWAY, "first", queue=9) as first:
        send_grpc(first.grpc, [request(trace) for trace in range(10)])
        until(lambda: books(first).queued("otlp_grpc") > 0)
        send_grpc(first.grpc, [request(trace) for trace in range(10, 20)])
        until(lambda: books(first).held > 0)
        first.drain()
        said = first.log.read_text()
    assert "spans could not be handed on before shutdown_timeout and stay in the storage" in said
    assert "spans stay in the storage" in said
    assert "shutdown incomplete" not in said
    assert logs_of_changes(tmp_path) == []
    with GrpcSink() as sink, stage(tmp_path, tiny_artifact, sink.target, "second") as second:
        until(lambda: set(arrived(sink)) == set(names(range(20))))
        second.drain()
        assert arrived(sink) == names(range(20))
    assert logs_of_changes(tmp_path) == []
    with GrpcSink() as sink:
        with stage(tmp_path, tiny_artifact, sink.target, "third") as third:
            third.drain()
        assert arrived(sink) == Counter()


def test_a_reload_that_changes_the_storage_is_refused_with_its_reason(tiny_artifact: Path, tmp_path: Path) -> None:
    other = {"file_storage/2": {"directory": str(tmp_path)}}
    with GrpcSink() as sink, stage(tmp_path, tiny_artifact, sink.target, "stage", **other) as running:
        config = tmp_path / "stage.yaml"
        before = yaml.safe_load(config.read_text())
        for number, storage in enumerate(["file_storage/2", None]):
            changed = json.loads(json.dumps(before))
            changed["processors"]["tracead"]["storage"] = storage
            config.write_text(yaml.safe_dump(changed))
            refusals = running.log.read_text().count("a reload cannot change")
            running.signal(signal.SIGHUP)
            until(lambda refusals=refusals: running.log.read_text().count("a reload cannot change") > refusals)
            send_grpc(running.grpc, [request(number)])
            until(lambda number=number: set(arrived(sink)) == set(names(range(number + 1))))
        assert running.log.read_text().count("storage: a reload cannot change it") == 2
        running.drain()
        assert arrived(sink) == names(range(2))


@contextmanager
def files_no_larger(pid: int, size: int) -> Iterator[None]:
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def test_a_disk_that_takes_nothing_for_a_while_refuses_and_works_again_by_itself(
    tiny_artifact: Path, tmp_path: Path
) -> None:
    port = free_port()
    health = {"health_check": {"use_v2": True, "http": {"endpoint": f"{HOST}:{port}"}}}

    def status() -> str:
        with urllib.request.urlopen(f"http://{HOST}:{port}/status?verbose", timeout=5) as answer:
            found = json.loads(answer.read())
        return str(found["components"]["extensions"]["components"]["extension:file_storage"]["status"])

    with GrpcSink() as sink:
        with stage(tmp_path, tiny_artifact, sink.target, "stage", **health) as running:
            with Senders(running.grpc, size=2000) as senders:
                until(lambda: senders.taken.total() > 100)
                assert status() == "StatusOK"
                with files_no_larger(running.pid, 100_000):
                    until(lambda: senders.refused["UNAVAILABLE"] > 20)
                    assert status() == "StatusRecoverableError"
                    assert books(running).total("otelcol_extension_tracead_storage_failures") > 0
                taken = senders.taken.total()
                until(lambda: senders.taken.total() > taken + 100)
                until(lambda: status() == "StatusOK")
            assert set(senders.refused) == {"UNAVAILABLE"}
            running.drain()
        assert set(arrived(sink)) >= set(senders.taken)
        assert running.log.read_text().count("is damaged") == 0
    assert logs_of_changes(tmp_path) == []
