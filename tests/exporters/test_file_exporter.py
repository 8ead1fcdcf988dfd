import asyncio
import errno
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import zstandard
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otel_tracead_exporters.file import FACTORY, FileConfig
from otel_tracead_exporters.file.config import RotationConfig
from otel_tracead_exporters.file.rotating import RotatingFile
from otel_tracead_exporters.file.sender import FileSender
from pydantic import ValidationError

from otel_tracead.component import Kind, Settings
from otel_tracead.delivery import Consignment
from otel_tracead.metrics import EXPORTER_RETRIES, EXPORTER_SENT
from otel_tracead.wire.files import read_file
from otel_tracead.wire.otlp import encode_request
from tests.contract.exporter_contract import batch
from tests.exporters.backends import names_of


async def export(path: Path, *batches, **written) -> Settings:
    settings = Settings(id="file", kind=Kind.EXPORTER)
    config = FileConfig.model_validate({"path": str(path), "sending_queue": {"num_consumers": 1}, **written})
    exporter = FACTORY.build(config, settings, None)
    await exporter.start()
    for one in batches:
        await exporter.consume(Consignment(one))
    await exporter.shutdown()
    assert exporter.undelivered == 0
    return settings


def messages(content: bytes) -> list[bytes]:
    found = []
    while content:
        length = int.from_bytes(content[:4], "big")
        found.append(content[4 : 4 + length])
        content = content[4 + length :]
    return found


async def test_json_is_one_request_a_line(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    settings = await export(path, batch("a", "b"), batch("c"))
    lines = path.read_bytes().splitlines()
    names = [
        [span["name"] for span in json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]] for line in lines
    ]
    assert names == [["a", "b"], ["c"]]
    assert settings.telemetry.value(EXPORTER_SENT, "file") == 3
    assert path.stat().st_mode & 0o777 == 0o600


async def test_protobuf_has_its_length_before_it(tmp_path: Path) -> None:
    path = tmp_path / "traces.pb"
    await export(path, batch("a", "b"), batch("c"), format="proto")
    assert messages(path.read_bytes()) == [encode_request(batch("a", "b")), encode_request(batch("c"))]


@pytest.mark.parametrize("form", ["json", "proto"])
async def test_compressed_requests_have_their_length_before_them(tmp_path: Path, form: str) -> None:
    path = tmp_path / "traces"
    await export(path, batch("a"), batch("b"), format=form, compression="zstd")
    plain = [zstandard.decompress(message) for message in messages(path.read_bytes())]
    if form == "proto":
        assert [names_of(ExportTraceServiceRequest.FromString(request)) for request in plain] == [["a"], ["b"]]
    else:
        assert all(json.loads(request)["resourceSpans"] for request in plain)


@pytest.mark.parametrize(("form", "name"), [("json", "traces.jsonl"), ("proto", "traces.pb")])
async def test_what_is_written_can_be_read(tmp_path: Path, form: str, name: str) -> None:
    path = tmp_path / name
    await export(path, batch("a", "b"), batch("c"), format=form)
    assert sum(len(read) for _, read in read_file(path)) == 3


async def test_begins_anew_unless_told_to_append(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    for append, lines in ((False, 1), (False, 1), (True, 2)):
        await export(path, batch("a"), append=append)
        assert len(path.read_bytes().splitlines()) == lines
    await export(path, batch("a"), rotation=None)
    assert len(path.read_bytes().splitlines()) == 3


async def test_a_path_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "traces.jsonl"
    with pytest.raises(OSError, match=r"cannot write to .*missing/traces.jsonl: No such file"):
        await export(path)


async def test_a_full_disk_is_waited_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "traces.jsonl"
    real, failures = os.write, [1, 2]

    def write(file: int, content: memoryview) -> int:
        if failures and len(content) > 10:
            if failures.pop() == 2:
                return real(file, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, content)

    monkeypatch.setattr(os, "write", write)
    settings = await export(path, batch("a"), retry_on_failure={"initial_interval": "1ms"})
    assert settings.telemetry.value(EXPORTER_RETRIES, "file") == 1
    assert len(path.read_bytes().splitlines()) == 1
    assert json.loads(path.read_bytes())


def test_rotation_keeps_everything_and_forgets_the_oldest(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    (tmp_path / "traces-notes.jsonl").write_text("mine")
    (tmp_path / "traces-xxxx-xx-xxTxx-xx-xx.xxx.jsonl").write_text("mine too")
    now = datetime(2026, 1, 31, 23, 59, 59, 1000, tzinfo=UTC)
    file = RotatingFile(path, append=False, rotation=RotationConfig(max_megabytes=1, max_backups=2), now=lambda: now)
    file.open()
    message = b"x" * 600_000
    for _ in range(5):
        file.write(message)
    file.close()
    aside = sorted(found.name for found in tmp_path.glob("traces-2026*"))
    assert aside == ["traces-2026-01-31T23-59-59.003.jsonl", "traces-2026-01-31T23-59-59.004.jsonl"] or len(aside) == 2
    assert path.stat().st_size == 600_000
    assert len(list(tmp_path.iterdir())) == 5


def test_rotation_by_age_and_a_message_larger_than_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "traces"
    time = [datetime(2026, 1, 1, tzinfo=UTC)]
    file = RotatingFile(path, append=False, rotation=RotationConfig(max_megabytes=1, max_days=2), now=lambda: time[0])
    file.open()
    for _ in range(5):
        file.write(b"x" * 2_000_000)
        time[0] += timedelta(days=1)
    file.close()
    file.open()
    file.close()
    assert sorted(found.name for found in tmp_path.iterdir()) == [
        "traces",
        "traces-2026-01-04T00-00-00.000",
        "traces-2026-01-05T00-00-00.000",
    ]


async def test_a_pipe_works_too(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reading = asyncio.create_task(asyncio.to_thread(path.read_bytes))
    await export(path, batch("a"))
    assert json.loads(await reading)


async def test_a_file_that_hangs_does_not_keep_the_process_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe that nobody reads takes 64 KiB, and then waits for ever."""
    monkeypatch.setattr("otel_tracead_exporters.file.sender._CLOSING", 0.1)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    opening = asyncio.create_task(asyncio.to_thread(os.open, path, os.O_RDONLY))
    exporter = FACTORY.build(
        FileConfig.model_validate({"path": str(path)}), Settings(id="file", kind=Kind.EXPORTER), None
    )
    await exporter.start()
    reader = await opening
    exporter.drain_timeout = 0.2
    for _ in range(3):
        await exporter.consume(Consignment(batch("x" * 100_000)))
    async with asyncio.timeout(5):
        await exporter.shutdown()
    assert exporter.undelivered == 3
    os.close(reader)


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"path": ""},
        {"path": "a", "timeout": "1s"},
        {"path": "a", "group_by": {"enabled": True}},
        {"path": "a", "append": True, "rotation": {}},
        {"path": "a", "format": "xml"},
        {"path": "a", "rotation": {"max_megabytes": -1}},
    ],
)
def test_what_is_wrong_is_refused(written: dict) -> None:
    with pytest.raises(ValidationError):
        FileConfig.model_validate(written)


async def test_folders_are_made_where_that_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "traces.jsonl"
    with pytest.raises(OSError, match="cannot write to"):
        await FileSender(FileConfig(path=path)).start()
    sender = FileSender(FileConfig(path=path, create_directory=True, directory_permissions="0700"))
    await sender.start()
    await sender.shutdown()
    assert path.exists()
    assert [folder.stat().st_mode & 0o777 for folder in path.parents][:2] == [0o700, 0o700]


def test_two_that_write_to_one_file_at_a_reload_keep_what_the_other_wrote(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    path.write_text("of the last run\n")
    old = RotatingFile(path, append=False, rotation=None)
    old.open()
    old.write(b"old 1\n")
    new = RotatingFile(path, append=False, rotation=None)
    new.open()
    new.write(b"new 1\n")
    old.write(b"old 2\n")
    old.close()
    new.write(b"new 2\n")
    new.close()
    assert path.read_text().split("\n")[:-1] == ["old 1", "new 1", "old 2", "new 2"]
    again = RotatingFile(path, append=False, rotation=None)
    again.open()
    again.close()
    assert path.read_text() == ""
