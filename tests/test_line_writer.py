"""Lines go out in order, nobody waits for their reader, and what found no room is counted."""

import gc
import io
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_tracead import line_writer
from otel_tracead.line_writer import LineWriter, to_file, to_stream


class Pipe:
    """A pipe as a stream, and its other end."""

    def __init__(self) -> None:
        end, descriptor = os.pipe()
        self._reader = os.fdopen(end)
        self.stream = os.fdopen(descriptor, "w", encoding="ascii")

    def read(self, lines: int) -> list[str]:
        return [self._reader.readline().removesuffix("\n") for _ in range(lines)]

    def close(self) -> None:
        self._reader.close()
        self.stream.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def gap(lines: int) -> str:
    return f"-{lines}"


def test_lines_go_out_in_their_order(pipe: Pipe) -> None:
    writer = to_stream(pipe.stream)
    for number in range(5000):
        writer.put(str(number), gap)
    assert pipe.read(5000) == [str(number) for number in range(5000)]
    assert writer.flush(5.0)
    assert writer.left_out == 0


def test_who_writes_into_a_pipe_that_nobody_reads_does_not_wait(pipe: Pipe) -> None:
    writer = to_stream(pipe.stream)
    before = line_writer.left_out()
    began = time.monotonic()
    for number in range(1000):
        writer.put(str(number).zfill(10_000), gap)
    assert time.monotonic() - began < 1.0
    assert not writer.flush(0.05)
    assert not line_writer.flush(0.05)
    assert 450 < writer.left_out < 600  # 4 MiB wait, and what is in the pipe and on its way
    assert line_writer.left_out() - before == writer.left_out
    number = 0
    while number < 1000:
        (line,) = pipe.read(1)
        assert line == str(number).zfill(10_000) or line.startswith("-")
        number += int(line[1:]) if line.startswith("-") else 1
    writer.put("after", gap)
    assert pipe.read(1) == ["after"]


def test_each_gap_stands_where_it_was() -> None:
    written: list[str] = []
    begun, may_go_on = threading.Semaphore(0), threading.Semaphore(0)

    def write(text: str) -> None:
        begun.release()
        assert may_go_on.acquire(timeout=10)
        written.append(text)

    writer = LineWriter(write, most=10)
    for dropped in (3, 1):
        writer.put("first", gap)
        assert begun.acquire(timeout=10)
        for _ in range(2 + dropped):
            writer.put("more", gap)
        may_go_on.release(2)
        assert writer.flush(5.0)
        assert begun.acquire(timeout=10)
    assert written == ["first\n", "more\nmore\n-3\n", "first\n", "more\nmore\n-1\n"]
    assert writer.left_out == 4


def test_it_goes_on_in_a_new_thread_when_it_was_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_writer, "_IDLE", 0.01)
    written: list[str] = []
    writer = LineWriter(written.append)
    for number in range(3):
        writer.put(str(number), gap)
        assert writer.flush(5.0)
        deadline = time.monotonic() + 5
        while writer._thread is not None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    assert written == ["0\n", "1\n", "2\n"]


def test_without_threads_lines_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    writer = LineWriter(written.append)
    with monkeypatch.context() as none_left:
        none_left.setattr(threading.Thread, "start", lambda _self: (_ for _ in ()).throw(RuntimeError("no thread")))
        writer.put("1", gap)
        assert not writer.flush(0.0)
    writer.put("2", gap)
    assert writer.flush(5.0)
    assert "".join(written) == "1\n2\n"


def test_an_output_that_fails_is_silent(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    writer = to_file(folder / "log")
    writer.put("1", gap)
    assert writer.flush(5.0)
    (folder / "log").rename(tmp_path / "rotated")
    folder.rmdir()
    writer.put("2", gap)
    assert writer.flush(5.0)
    folder.mkdir()
    writer.put("3", gap)
    assert writer.flush(5.0)
    assert ((tmp_path / "rotated").read_text(), (folder / "log").read_text()) == ("1\n", "3\n")


def test_who_shares_the_pipe_may_have_made_it_nonblocking(pipe: Pipe) -> None:
    os.set_blocking(pipe.stream.fileno(), False)
    writer = to_stream(pipe.stream)
    for number in range(100):
        writer.put(str(number).zfill(5_000), gap)
    assert pipe.read(100) == [str(number).zfill(5_000) for number in range(100)]


def test_one_writer_for_everybody(tmp_path: Path) -> None:
    assert to_stream(sys.__stderr__) is to_stream(sys.__stderr__)  # type: ignore[arg-type]
    assert to_file(tmp_path / "a") is to_file(tmp_path / "a") is not to_file(tmp_path / "b")
    before = len(line_writer._streams)
    stream = io.StringIO()
    to_stream(stream)
    assert len(line_writer._streams) == before + 1
    del stream
    gc.collect()
    assert len(line_writer._streams) <= before
