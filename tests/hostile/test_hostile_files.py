"""Trace files that would unpack to more than there is room for, or nest without end."""

import gzip
import os
import resource
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import zstandard

from otel_tracead.errors import InputError
from otel_tracead.wire.files import read_file

MIB = 1 << 20


def packed(head: bytes, fill: bytes, mebibytes: int = 300) -> bytes:
    compressor = zstandard.ZstdCompressor().compressobj()
    parts = [compressor.compress(head), *(compressor.compress(fill * (MIB // len(fill))) for _ in range(mebibytes))]
    return b"".join((*parts, compressor.flush()))


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(4, "big") + message


BOMBS: dict[str, Callable[[], bytes]] = {
    "a string": lambda: packed(b'{"resourceSpans":[{"x":"', b"a"),
    "spaces": lambda: packed(b"{", b" "),
    "brackets": lambda: packed(b"[", b"["),
    "a message": lambda: packed((250 * MIB).to_bytes(4, "big") + b"\n", b"\0"),
    "resource spans": lambda: packed(b"\n\xff\xff\xff\x7f\n", b"\0"),
    "a message in a message": lambda: framed(packed(b"\n", b"\0")),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_is_large(name: str, tmp_path: Path) -> None:
    path = tmp_path / "traces"
    path.write_bytes(BOMBS[name]())
    assert path.stat().st_size < MIB // 8
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(InputError, match=r"1000 times its size|more than 16 MiB after|nested deeper than 1024"):
        list(read_file(path))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 * 1024
    assert time.process_time() - begun < 15


def test_what_is_like_itself_is_read(tmp_path: Path) -> None:
    """Twenty MiB of one line, again and again."""
    line = (Path(__file__).parents[1] / "wire" / "testdata" / "otlp.jsonl").read_bytes()
    path = tmp_path / "traces.jsonl.gz"
    path.write_bytes(gzip.compress(line * (20 * MIB // len(line))))
    assert 50 * path.stat().st_size < 20 * MIB
    assert next(read_file(path))


def test_a_pipe_is_measured_too(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    bomb = packed(b"{", b" ")

    def write() -> None:
        with suppress(BrokenPipeError):
            path.write_bytes(bomb)

    writer = threading.Thread(target=write)
    writer.start()
    with pytest.raises(InputError, match="1000 times its size"):
        list(read_file(path))
    writer.join()
