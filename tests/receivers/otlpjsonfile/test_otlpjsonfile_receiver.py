"""Every line that is written is taken once, wherever its file goes meanwhile."""

import asyncio
import gzip
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from otel_tracead_exporters.file import FACTORY as FILE
from pydantic import ValidationError

from otel_tracead.component import Kind, Settings
from otel_tracead.config_types import Endpoint
from otel_tracead.delivery import Consignment
from otel_tracead.errors import Backpressure, PermanentError, RetryableError
from otel_tracead.metrics import RECEIVER_ACCEPTED, RECEIVER_FAILED, RECEIVER_REFUSED
from otel_tracead.receivers.otlpjsonfile import FACTORY, OtlpJsonFileConfig
from tests.contract import receiver_contract as contract
from tests.contract.exporter_contract import batch
from tests.contract.receiver_contract import ReceiverContract, Reply, until
from tests.receivers.samples import otlp_json

POLL = "10ms"


@dataclass
class Running(contract.Running):
    path: Path = Path()

    @property
    def port(self) -> Any:
        return self.path

    @property
    def names(self) -> list[str]:
        return [Span.FromString(span).name for span in self.consumer.spans]

    def warnings(self, event: str) -> list[dict[str, Any]]:
        return [entry for entry in self.logs if entry["event"] == event]


def line(name: str, spans: int = 1) -> bytes:
    return otlp_json(spans, name) + b"\n"


def append(path: Path, text: bytes) -> None:
    with path.open("ab") as file:
        file.write(text)


class TestOtlpJsonFileReceiver(ReceiverContract):
    """A file has nobody to answer: what a request is told elsewhere is what is counted here."""

    factory = FACTORY
    transport = "file"
    limit = 20_000
    encodings = ("gzip",)
    ok = "success"
    invalid = too_large = "invalid"
    permanent = "failure"

    @pytest.fixture(autouse=True)
    def in_a_folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.number = 0

    def config(self, endpoint: str) -> dict[str, Any]:
        include = [str(self.folder / "*.jsonl"), str(self.folder / "*.gz")]
        return {"include": include, "poll_interval": POLL, "max_log_size": self.limit, "compression": "auto"}

    def make(self, endpoint: str) -> Running:
        made = super().make(endpoint)
        return Running(made.receiver, made.consumer, made.telemetry, made.logs, self.folder / "traces.jsonl")

    @pytest.fixture
    async def running(self):
        self.made = running = self.make("")
        await running.receiver.start()
        yield running
        await running.receiver.shutdown()

    def body(self, spans: int, name: str = "operation") -> bytes:
        return otlp_json(spans, name)

    def outcomes(self) -> dict[str, float]:
        return {one: self.requests(self.made, one) for one in ("success", "invalid", "failure", "refused")}

    async def send(self, port: Any, body: bytes, encoding: str = "", compressed: bytes | None = None) -> Reply:
        before = self.outcomes()
        if encoding:
            self.number += 1
            (self.folder / f"{self.number}.gz").write_bytes(compressed or gzip.compress(body + b"\n"))
        else:
            append(port, body + b"\n")
        await until(lambda: self.outcomes() != before)
        after = self.outcomes()
        return Reply(next(one for one in after if after[one] != before[one]))

    async def test_a_body_that_is_not_in_its_encoding_is_refused(self, running: Running) -> None:
        (self.folder / "broken.gz").write_bytes(b"no " + gzip.compress(self.body(2)))
        await until(lambda: bool(running.warnings("file cannot be read")))
        await self.assert_serves(running)
        assert len(running.consumer.spans) == 2

    async def test_a_compressed_file_that_is_not_finished_gives_what_it_has(self, running: Running) -> None:
        whole = gzip.compress(line("a") + line("b"))
        path = self.folder / "growing.gz"
        path.write_bytes(whole[:-8])
        await until(lambda: running.names == ["a", "b"])
        append(path, whole[-8:] + gzip.compress(line("c")))
        await until(lambda: running.names == ["a", "b", "c"])

    test_an_unknown_encoding_is_refused = None
    test_a_request_that_was_refused_leaves_nothing_for_the_garbage_collector = None  # it waits, with a line at a time
    test_a_port_in_use_says_which = None
    test_warns_when_everybody_can_reach_it = None
    test_listens_on_loopback_by_default = None

    def default_endpoint(self) -> Endpoint:
        raise NotImplementedError

    async def test_a_full_pipeline_answers_with_a_hint_when_to_come_back(self, running: Running) -> None:
        """It waits; nothing is lost, and nothing more is read."""
        running.consumer.refusal = Backpressure("full", retry_after=7.0)
        append(running.path, line("a", 4) + line("b"))
        await until(lambda: running.telemetry.value(RECEIVER_REFUSED, "in/1", "file") >= 8)
        running.consumer.refusal = None
        running.consumer.failures.append(Backpressure("full"))
        await until(lambda: running.names == ["a"] * 4 + ["b"])
        assert running.warnings("the pipeline is full, files wait")

    async def test_errors_downstream(self, running: Running) -> None:
        running.consumer.failures += [PermanentError("never"), RetryableError("later"), None, RuntimeError("oops")]
        append(running.path, line("a", 2) + line("b", 2) + line("c", 2) + line("d", 2))
        await until(lambda: running.names == ["b", "b", "d", "d"])
        assert running.telemetry.value(RECEIVER_FAILED, "in/1", "file") == 4
        await self.assert_serves(running)

    async def test_shutdown_answers_what_is_under_way_and_takes_no_more(self, running: Running) -> None:
        running.consumer.gate.clear()
        append(running.path, line("a") + line("b"))
        await until(lambda: self.under_way() == 1)
        stopping = asyncio.create_task(running.receiver.shutdown())
        await asyncio.sleep(0.05)
        running.consumer.gate.set()
        await stopping
        append(running.path, line("c"))
        await asyncio.sleep(0.05)
        assert running.names[0] == "a"
        assert "c" not in running.names
        await running.receiver.shutdown()

    async def test_shutdown_does_not_wait_for_room(self, running: Running) -> None:
        running.consumer.refusal = Backpressure("full")
        append(running.path, line("a"))
        await until(lambda: running.telemetry.value(RECEIVER_REFUSED, "in/1", "file") >= 1)
        async with asyncio.timeout(2):
            await running.receiver.shutdown()
        assert running.names == []


@pytest.fixture
async def start(tmp_path: Path):
    started = []

    async def begin(**changes: Any) -> Running:
        test = TestOtlpJsonFileReceiver()
        test.folder = tmp_path
        test.config = lambda _: {"include": [str(tmp_path / "*.jsonl")], "poll_interval": POLL, **changes}  # type: ignore[method-assign]
        running = test.make("")
        await running.receiver.start()
        started.append(running)
        return running

    yield begin
    for running in started:
        await running.receiver.shutdown()


async def test_starts_at_the_end_or_at_the_beginning(start, tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    path.write_bytes(line("old") + line("cut")[:20])
    end, beginning = await start(), await start(start_at="beginning")
    append(path, line("cut")[20:] + line("new"))
    (tmp_path / "later.jsonl").write_bytes(line("later"))
    await until(lambda: sorted(end.names) == ["later", "new"])
    await until(lambda: sorted(beginning.names) == ["cut", "later", "new", "old"])


async def test_a_line_that_is_written_in_pieces(start, tmp_path: Path) -> None:
    running = await start(force_flush_period="10s")
    path = tmp_path / "traces.jsonl"
    for byte in (piece := line("ä-whole"))[:-1]:
        if byte % 7 == 0:
            await asyncio.sleep(0.002)
        append(path, bytes([byte]))
    await asyncio.sleep(0.05)
    assert running.names == []
    append(path, piece[-1:])
    await until(lambda: running.names == ["ä-whole"])


async def test_a_last_line_without_its_end_is_taken_when_it_is_whole(start, tmp_path: Path) -> None:
    running = await start(force_flush_period="50ms")
    path = tmp_path / "traces.jsonl"
    append(path, line("a") + line("b")[:30])
    await until(lambda: running.names == ["a"])
    await asyncio.sleep(0.15)  # half a line is nobody's mistake yet
    append(path, line("b")[30:-1])
    await until(lambda: running.names == ["a", "b"])
    append(path, b"\n" + line("c"))
    await until(lambda: running.names == ["a", "b", "c"])
    assert running.warnings("line skipped") == []


async def test_bad_lines_are_skipped_with_their_place(start, tmp_path: Path) -> None:
    running = await start(max_log_size="2kB")
    path = tmp_path / "traces.jsonl"
    text = line("a") + b"\r\n\n" + b"{broken\n" + line("b") + line("x" * 3000) + b'{"resourceLogs":[]}\n' + line("c")
    append(path, text)
    await until(lambda: running.names == ["a", "b", "c"])
    (said,) = running.warnings("line skipped")  # of two: one log line a tick
    assert said["place"] == f"{path}:4"
    assert TestOtlpJsonFileReceiver().requests(running, "invalid") == 2
    assert running.telemetry.value(RECEIVER_ACCEPTED, "in/1", "file") == 3


async def test_renamed_while_it_is_written(start, tmp_path: Path) -> None:
    """As our file exporter and logrotate do it; the renamed one matches the glob, or does not."""
    running = await start()
    path = tmp_path / "traces.jsonl"
    expected = []
    for number, aside in enumerate(("traces-1.jsonl", "traces.jsonl.2", "traces-3.jsonl")):
        with path.open("ab", buffering=0) as file:
            for part in range(3):
                expected.append(f"{number}-{part}")
                file.write(line(expected[-1]))
            await until(lambda first=f"{number}-0": first in running.names)  # what nobody saw cannot be followed
            path.rename(tmp_path / aside)
            await asyncio.sleep(0.02)
            expected.append(f"{number}-after")
            file.write(line(expected[-1]))  # the writer has not noticed yet
    await until(lambda: len(running.names) == len(expected))
    await asyncio.sleep(0.1)
    assert sorted(running.names) == sorted(expected)


async def test_copied_and_truncated(start, tmp_path: Path) -> None:
    running = await start()
    path = tmp_path / "traces.jsonl"
    for number in range(3):
        append(path, line(f"{number}") + line(f"{number}-half")[:25])
        await until(lambda number=number: f"{number}" in running.names)
        shutil.copy(path, tmp_path / f"traces.jsonl.{number}")
        os.truncate(path, 0)
        append(path, line(f"{number}-new") * (number + 1))  # shorter than before, as long, longer
        await until(lambda number=number: running.names.count(f"{number}-new") == number + 1)
    assert len(running.names) == 3 + 1 + 2 + 3
    assert running.warnings("line skipped") == []


async def test_written_anew_and_longer_than_it_was(start, tmp_path: Path) -> None:
    running = await start()
    path = tmp_path / "traces.jsonl"
    append(path, line("a"))
    await until(lambda: running.names == ["a"])
    with path.open("r+b") as file:
        file.write(line("b") * 5)
    await until(lambda: running.names == ["a", *"bbbbb"])


async def test_deleted_and_made_again(start, tmp_path: Path) -> None:
    running = await start()
    path = tmp_path / "traces.jsonl"
    for number in range(3):
        append(path, line(f"{number}"))
        await until(lambda number=number: len(running.names) == number + 1)
        path.unlink()
        await asyncio.sleep(0.1 * (number % 2))
    await until(lambda: not running.receiver._files)
    assert running.names == ["0", "1", "2"]


async def test_more_files_than_may_be_open(start, tmp_path: Path) -> None:
    running = await start(max_concurrent_files=2)
    paths = [tmp_path / f"{number}.jsonl" for number in range(6)]
    for round_ in range(3):
        for path in paths:
            append(path, line(f"{path.stem}-{round_}"))
    await until(lambda: len(running.names) == 18)
    await asyncio.sleep(0.05)
    assert sorted(running.names) == sorted(f"{path.stem}-{round_}" for path in paths for round_ in range(3))
    opened = [entry.path for entry in psutil.Process().open_files()]
    assert sum(name.startswith(str(tmp_path)) for name in opened) <= 1


async def test_excluded_files_folders_and_links(start, tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "no.jsonl").write_bytes(line("excluded"))
    (tmp_path / "yes.jsonl").write_bytes(line("yes"))
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "yes.jsonl")
    (tmp_path / "lost.jsonl").symlink_to(tmp_path / "nowhere")
    running = await start(exclude=[str(tmp_path / "n*.jsonl")], start_at="beginning")
    await until(lambda: running.names == ["yes"])
    await asyncio.sleep(0.05)
    assert running.names == ["yes"]


async def test_reads_what_our_file_exporter_writes_while_it_rotates(start, tmp_path: Path) -> None:
    running = await start()
    config = {"path": str(tmp_path / "traces.jsonl"), "rotation": {"max_megabytes": 1}}
    exporter = FILE.build(FILE.config.model_validate(config), Settings(id="out", kind=Kind.EXPORTER), None)
    await exporter.start()
    names = [f"{number:03}" + "x" * 1000 for number in range(1000)]
    for start_ in range(0, 1000, 50):
        await exporter.consume(Consignment(batch(*names[start_ : start_ + 50] * 2)))
        await asyncio.sleep(0.005)
    await exporter.shutdown()
    assert len(running.receiver._files) >= 2
    await until(lambda: len(running.names) >= 2000)
    await asyncio.sleep(0.1)
    assert sorted(running.names) == sorted(names * 2)


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"include": []},
        {"include": ["a"], "start_at": "middle"},
        {"include": ["a"], "max_log_size": "much"},
        {"include": ["a"], "max_log_size": 0},
        {"include": ["a"], "max_concurrent_files": 1},
        {"include": ["a"], "storage": "file_storage"},
        {"include": ["a"], "delete_after_read": True},
        {"include": ["a"], "encoding": "utf-16"},
    ],
)
def test_what_is_wrong_is_refused(written: dict) -> None:
    with pytest.raises(ValidationError):
        OtlpJsonFileConfig.model_validate(written)


def test_sizes_and_what_has_no_effect() -> None:
    def size(written: object) -> int:
        return OtlpJsonFileConfig.model_validate({"include": ["a"], "max_log_size": written}).max_log_size

    assert [size(one) for one in (5, "5", "1MiB", "1mb", "2 KiB", "3k")] == [5, 5, 1 << 20, 10**6, 2048, 3000]
    config = OtlpJsonFileConfig.model_validate({"include": ["a"], "fingerprint_size": "1kb", "replay_file": False})
    assert config.fingerprint_size == 1000
    assert json.loads(config.model_dump_json())["poll_interval"] == "200ms"
