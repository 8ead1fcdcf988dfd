"""Nobody reads what the stage writes to its standard output and error: a stuck log shipper, a parent that does not look."""

import os
import select
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.pipeline import names, request
from tests.faults.processes import Senders, arrived, books, idle, otlp_to, tracead, until
from tests.peers.independent import GrpcSink, send_grpc
from tests.peers.stage import Stage

# All that goes by, into the log and past it.
WORDY = {
    "debug/log": {"verbosity": "detailed"},
    "debug/out": {"verbosity": "detailed", "use_internal_logger": False, "output_paths": ["stdout", "stderr"]},
}
LEFT_OUT = "otelcol_process_tracead_lines_left_out"


@pytest.fixture
def unread(tmp_path: Path) -> int:
    """What the stage writes goes into a pipe; its other end, that nobody reads."""
    os.mkfifo(tmp_path / "stage.log")
    return os.open(tmp_path / "stage.log", os.O_RDONLY | os.O_NONBLOCK)


def rest(pipe: int) -> str:
    """Give what a process that has ended left in the pipe."""
    text = b""
    while part := os.read(pipe, 1 << 16):
        text += part
    os.close(pipe)
    return text.decode()


def test_spans_go_on_when_nobody_reads_the_log(tiny_artifact: Path, tmp_path: Path, unread: int) -> None:
    with GrpcSink() as sink, Stage(tmp_path, otlp_to(sink.target) | WORDY, tracead(tiny_artifact)) as stage:
        with Senders(stage.grpc, spans=20, size=10_000) as senders:
            try:
                until(lambda: books(stage).total(LEFT_OUT) > 20)
                taken = senders.taken.total()
                until(lambda: senders.taken.total() > taken + 200)
            except AssertionError:  # it stands still, and so would they
                stage.signal(signal.SIGKILL)
                senders.stop(now=True)
                raise
        until(lambda: idle(stage))
        books(stage).check("otlp_grpc")
        began = time.monotonic()
        stage.signal(signal.SIGTERM)
        assert stage.wait(30) == 0
        assert time.monotonic() - began < 15
    assert arrived(sink) == senders.taken
    assert "everything is ready" in rest(unread)


def test_who_reads_late_is_told_how_much_is_missing(tiny_artifact: Path, tmp_path: Path, unread: int) -> None:
    with GrpcSink() as sink, Stage(tmp_path, otlp_to(sink.target) | WORDY, tracead(tiny_artifact)) as stage:
        sent = 0
        while not (lost := books(stage).total(LEFT_OUT)):
            send_grpc(stage.grpc, [request(trace, 20, 10_000) for trace in range(sent, sent + 20)])
            sent += 20
            assert sent < 2000
        os.set_blocking(unread, True)
        text = b""
        while b"were left out here" not in text:
            text = text[-200_000:] + os.read(unread, 1 << 16)
        with ThreadPoolExecutor(1) as reader:  # or what the end says may have no room either
            after = reader.submit(rest, unread)
            until(lambda: idle(stage))
            stage.signal(signal.SIGTERM)
            assert stage.wait(30) == 0
    assert lost > 0
    assert "shutdown complete" in after.result()
    assert arrived(sink) == names(range(sent), 20)


def test_what_keeps_it_from_starting_is_no_reason_to_hang(tmp_path: Path) -> None:
    """The pipe is full from before: the message is lost, the exit code is not."""
    unread, output = os.pipe()
    os.set_blocking(output, False)
    while select.select([], [output], [], 0)[1]:
        os.write(output, b"x" * 4096)
    os.set_blocking(output, True)
    command = [sys.executable, "-m", "otel_tracead", "run", "--config", str(tmp_path / "none.yaml")]
    try:
        assert subprocess.run(command, stderr=output, stdout=output, timeout=30, check=False).returncode == 1
    finally:
        os.close(unread)
        os.close(output)
