"""What the stage writes is for its own user: spans and labels are not for everybody on the machine."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from otel_tracead_exporters.file.rotating import RotatingFile

from otel_tracead.wire.file_writer import TraceFileWriter
from tests.contract.exporter_contract import batch


@pytest.fixture(autouse=True)
def generous() -> Iterator[None]:
    """Let the process's umask forbid nothing, so that it is the program that does."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.pb", "a.pb.gz", "a.pb.zst"])
def test_files_of_spans_are_private(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    (tmp_path / f"{name}.part").touch(0o666)  # left behind, and open to everybody
    with TraceFileWriter(path) as writer:
        writer.write(batch("a"))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_size > 0


def test_the_file_exporters_files_are_private(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "a.jsonl", append=False, rotation=None, now=lambda: datetime.now(UTC))
    file.open()
    file.write(b"x")
    file.close()
    assert (tmp_path / "a.jsonl").stat().st_mode & 0o777 == 0o600
