import io
import json
import logging
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from otel_tracead import line_writer
from otel_tracead.errors import StartError
from otel_tracead.redaction import Secret
from otel_tracead.service.logs import LoggingForwarder, make_logger
from otel_tracead.service.telemetry_config import LogsConfig


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Stderr:
    """All that was written to stderr so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    def getvalue(self) -> str:
        assert line_writer.flush(5.0)
        self._text += self._capsys.readouterr().err
        return self._text


class Slow(io.StringIO):
    """Takes nothing until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.goes_on = threading.Event()

    def write(self, text: str) -> int:
        assert self.goes_on.wait(10)
        return super().write(text)


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Stderr:
    return Stderr(capsys)


def logger(tmp_path: Path, clock: Clock | None = None, **config: Any) -> Any:
    return make_logger(LogsConfig.model_validate(config), tmp_path, clock or Clock())


def test_console_lines_hold_time_level_message_and_fields(stderr: Stderr, tmp_path: Path) -> None:
    logger(tmp_path).bind(**{"otelcol.component.id": "otlp"}).info("listening", port=4317)
    stamp, level, message, fields = stderr.getvalue().rstrip("\n").split("\t")
    assert stamp.endswith("Z")
    assert (level, message) == ("info", "listening")
    assert json.loads(fields) == {"otelcol.component.id": "otlp", "port": 4317}


def test_json_lines_have_the_collectors_keys(stderr: Stderr, tmp_path: Path) -> None:
    logger(tmp_path, encoding="json", initial_fields={"zone": "a"}).warning("odd", what=Path("/x"))
    line = json.loads(stderr.getvalue())
    assert line.pop("ts").endswith("Z")
    assert line == {"level": "warn", "msg": "odd", "zone": "a", "what": "/x"}


@pytest.mark.parametrize(("level", "lines"), [("debug", 4), ("info", 3), ("warn", 2), ("error", 1)])
def test_the_level_decides(stderr: Stderr, tmp_path: Path, level: str, lines: int) -> None:
    log = logger(tmp_path, level=level)
    for write in (log.debug, log.info, log.warning, log.error):
        write("x")
    assert len(stderr.getvalue().splitlines()) == lines


def test_hostile_text_cannot_forge_lines_or_move_the_cursor(stderr: Stderr, tmp_path: Path) -> None:
    logger(tmp_path).error("a\nb\x1b[2J\x9b", name="x\ny\x9b\ud800")
    line = stderr.getvalue()
    assert line.count("\n") == 1
    assert line.isascii()
    assert not set(line) & {"\x1b", "\x9b"}


def test_secrets_stay_out(stderr: Stderr, tmp_path: Path) -> None:
    logger(tmp_path).error("sent", token=Secret("hunter2"))
    assert "hunter2" not in stderr.getvalue()
    assert "[REDACTED]" in stderr.getvalue()


def test_repeats_are_thinned_out_tick_by_tick(stderr: Stderr, tmp_path: Path) -> None:
    clock = Clock()
    log = logger(tmp_path, clock)
    for number in range(310):
        log.warning("queue is full", number=number)
    log.warning("something else")
    numbers = [json.loads(line.split("\t")[3])["number"] for line in stderr.getvalue().splitlines()[:-1]]
    assert numbers == [*range(10), 109, 209, 309]
    clock.now = 10.0
    log.warning("queue is full", number=0)
    assert len(stderr.getvalue().splitlines()) == 15


def test_thinning_may_be_switched_off(stderr: Stderr, tmp_path: Path) -> None:
    log = logger(tmp_path, sampling={"enabled": False})
    for _ in range(50):
        log.info("x")
    assert len(stderr.getvalue().splitlines()) == 50


def test_many_different_messages_take_bounded_memory(stderr: Stderr, tmp_path: Path) -> None:
    log = logger(tmp_path)
    for number in range(5000):
        log.info(str(number))
    assert 4096 <= len(stderr.getvalue().splitlines()) < 4130


def test_an_exception_is_one_line(stderr: Stderr, tmp_path: Path) -> None:
    try:
        int("broken")
    except ValueError:
        logger(tmp_path).exception("it failed")
    assert "ValueError: invalid literal" in stderr.getvalue()
    assert "Traceback" not in stderr.getvalue()


def test_libraries_write_into_the_same_log(stderr: Stderr, tmp_path: Path) -> None:
    forwarder = LoggingForwarder(logger(tmp_path))
    try:
        int("broken")
    except ValueError:
        record = logging.LogRecord("aiohttp.server", logging.ERROR, "f", 1, "Error in %s", ("x",), sys.exc_info())
    forwarder.handle(record)
    forwarder.handle(logging.LogRecord("asyncio", logging.WARNING, "f", 1, "bad %d", ("x",), None))
    assert len(stderr.getvalue().splitlines()) == 1
    assert "\terror\tError in x\t" in stderr.getvalue()
    assert "ValueError(" in stderr.getvalue()


def test_lines_may_go_to_files(stderr: Stderr, tmp_path: Path) -> None:
    logger(tmp_path, output_paths=["stderr", "own.log"]).info("x")
    assert stderr.getvalue() == (tmp_path / "own.log").read_text() != ""
    with pytest.raises(StartError, match=r"cannot write to missing/own.log"):
        logger(tmp_path, output_paths=["missing/own.log"])


def test_a_closed_terminal_is_no_reason_to_die(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    log = logger(tmp_path)
    stream.close()
    log.error("nobody reads this")
    assert line_writer.flush(5.0)


@pytest.mark.parametrize("encoding", ["console", "json"])
def test_lines_that_find_no_room_are_one_that_says_so(
    encoding: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stream = Slow()
    monkeypatch.setattr(sys, "stderr", stream)
    log = logger(tmp_path, encoding=encoding, initial_fields={"zone": "a"}, sampling={"enabled": False})
    for number in range(60):
        log.info(str(number).ljust(100_000, "x"))
    stream.goes_on.set()
    assert line_writer.flush(5.0)
    *before, gap = stream.getvalue().splitlines()
    assert 30 < len(before) < 60
    log.info("after")
    assert line_writer.flush(5.0)
    fields = json.loads(gap if encoding == "json" else gap.split("\t")[3])
    assert fields["lines"] == 60 - len(before)
    assert fields["zone"] == "a"
    assert "warn" in gap
    assert "lines of the log were left out here" in gap
    assert "after" in stream.getvalue().splitlines()[-1]
