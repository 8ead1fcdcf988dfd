"""The stage's own logs: one line an event, console or JSON, repeats thinned out, no tracebacks; nobody waits for them."""

import json
import logging
import sys
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import structlog

from otel_tracead.errors import StartError
from otel_tracead.line_writer import LineWriter, to_file, to_stream
from otel_tracead.service.telemetry_config import LogSamplingConfig, LogsConfig

_LEVELS: Final = {"debug": 10, "info": 20, "warn": 30, "error": 40}
_MOST_EVENTS: Final = 4096
_GAP: Final = "lines of the log were left out here: they were not read as fast as they came"

EventDict = MutableMapping[str, Any]


def make_logger(config: LogsConfig, base: Path, now: Callable[[], float] = time.monotonic) -> Any:
    """Make the logger that all components' loggers are bound from.

    Lines are written behind its back: `otel_tracead.line_writer.flush` waits for those that are not out.

    Args:
        config: what the user wrote.
        base: the folder that relative output paths start from.
        now: a clock in seconds, for the thinning.

    Raises:
        StartError: an output path that cannot be opened.
    """
    renderer = _json if config.encoding == "json" else _console

    def gap(lines: int) -> str:
        event = {**config.initial_fields, "lines": lines, "level": "warning", "event": _GAP}
        return renderer(None, "warning", _stamp(None, "warning", event))

    processors: list[Any] = [Thinning(config.sampling, now)] if config.sampling.enabled else []
    return structlog.wrap_logger(
        _Output([_writer(path, base) for path in config.output_paths], gap),
        processors=[*processors, structlog.stdlib.add_log_level, _without_traceback, _stamp, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[config.level]),
        cache_logger_on_first_use=False,
        **config.initial_fields,
    )


class Thinning:
    """Lets the first lines of an event through in each tick, then every n-th."""

    def __init__(self, config: LogSamplingConfig, now: Callable[[], float]) -> None:
        self._config = config
        self._now = now
        self._counts: dict[tuple[str, str], int] = {}
        self._until = 0.0

    def __call__(self, _logger: Any, level: str, event: EventDict) -> EventDict:
        """Pass *event* on, or drop it."""
        now = self._now()
        if now >= self._until:
            self._counts.clear()
            self._until = now + self._config.tick
        key = (level, str(event.get("event")))
        if key not in self._counts and len(self._counts) >= _MOST_EVENTS:
            key = (level, "")
        count = self._counts[key] = self._counts.get(key, 0) + 1
        over = count - self._config.initial
        if over > 0 and over % self._config.thereafter:
            raise structlog.DropEvent
        return event


class Relay:
    """Passes what is logged on to the logger of the configuration in force: components keep theirs when that changes.

    Attributes:
        to: that logger.
        logger: what others log to.
    """

    def __init__(self, to: Any) -> None:
        self.to = to
        self.logger: Any = structlog.wrap_logger(
            self,
            processors=[lambda _logger, _level, event: ((event.pop("event"),), event)],
            wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
            cache_logger_on_first_use=False,
        )

    def __getattr__(self, level: str) -> Any:
        """Give the method of `to` that logs at *level*."""
        return getattr(self.to, level)


class LoggingForwarder(logging.Handler):
    """Writes what libraries log with `logging` into our log."""

    def __init__(self, logger: Any) -> None:
        super().__init__(logging.WARNING)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Forward one record, its exception as one line."""
        with suppress(Exception):  # a broken record must not stop who logs it
            fields = {"error": repr(record.exc_info[1])} if record.exc_info and record.exc_info[1] else {}
            write = self._logger.error if record.levelno >= logging.ERROR else self._logger.warning
            write(record.getMessage(), logger=record.name, **fields)


def forward_logging(logger: Any) -> None:
    """Send everything that libraries log into *logger*, from now on."""
    logging.basicConfig(level=logging.WARNING, handlers=[LoggingForwarder(logger)], force=True)
    logging.captureWarnings(capture=True)


class _Output:
    """Where lines go."""

    def __init__(self, writers: list[LineWriter], gap: Callable[[int], str]) -> None:
        self._writers = writers
        self._gap = gap

    def msg(self, line: str) -> None:
        for writer in self._writers:
            writer.put(line, self._gap)

    debug = info = warning = error = critical = msg


def _writer(path: str, base: Path) -> LineWriter:
    if path in {"stderr", "stdout"}:
        return to_stream(sys.stderr if path == "stderr" else sys.stdout)
    try:
        with (base / path).open("a"):
            pass
    except OSError as error:
        raise StartError(f"service::telemetry::logs::output_paths: cannot write to {path}: {error.strerror}") from error
    return to_file(base / path)


def _without_traceback(_logger: Any, _level: str, event: EventDict) -> EventDict:
    exception = event.pop("exc_info", None)
    if exception is True:
        exception = sys.exc_info()[1]
    if isinstance(exception, tuple):
        exception = exception[1]
    if isinstance(exception, BaseException):
        event.setdefault("error", f"{type(exception).__name__}: {exception}")
    return event


def _stamp(_logger: Any, _level: str, event: EventDict) -> EventDict:
    event["ts"] = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return event


def _json(_logger: Any, _level: str, event: EventDict) -> str:
    level, stamp, message = (event.pop(key) for key in ("level", "ts", "event"))
    return json.dumps({"level": _word(level), "ts": stamp, "msg": str(message), **event}, default=str)


def _console(_logger: Any, _level: str, event: EventDict) -> str:
    level, stamp, message = (event.pop(key) for key in ("level", "ts", "event"))
    fields = f"\t{json.dumps(event, default=str)}" if event else ""
    text = json.dumps(str(message))[1:-1].replace('\\"', '"')  # control characters cannot act on the terminal
    return f"{stamp}\t{_word(level)}\t{text}{fields}"


def _word(level: str) -> str:
    return "warn" if level == "warning" else level
