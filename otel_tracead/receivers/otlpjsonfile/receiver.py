"""Follows files of OTLP JSON lines; a full pipeline makes it stop reading, and the lines wait where they are."""

import asyncio
import glob
import os
import stat
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

from otel_tracead.component import Consumer, Settings
from otel_tracead.errors import InvalidRequest, RetryableError, TooLarge
from otel_tracead.log_limit import LogLimiter
from otel_tracead.receivers.intake import Intake
from otel_tracead.receivers.otlpjsonfile.config import OtlpJsonFileConfig
from otel_tracead.receivers.otlpjsonfile.following import Damaged, FollowedFile
from otel_tracead.receivers.otlpjsonfile.lines import Line, LineSplitter
from otel_tracead.wire import otlp_json
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.otlp import Envelopes

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_GONE_POLLS: Final = 5  # a writer may go on for a moment in a file that was renamed

_Identity = tuple[int, int]


class OtlpJsonFileReceiver:
    """Reads every line that is written to the files of a glob, once.

    Attributes:
        drain_timeout: seconds that `shutdown` gives the line that is being handed on.
    """

    drain_timeout = 10.0

    def __init__(self, config: OtlpJsonFileConfig, settings: Settings, consumer: Consumer) -> None:
        self._config = config
        self._logger = settings.logger
        self._logs = LogLimiter(settings.logger)
        self._intake = Intake(settings, consumer, "file")
        self._envelopes = Envelopes()
        self._files: dict[_Identity, _Reading] = {}
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look where the files are now, and begin to follow them."""
        await asyncio.to_thread(self._look, at_end=self._config.start_at == "end")
        self._logger.info("receiver follows files", files=len(self._files), include=list(self._config.include))
        self._task = asyncio.create_task(self._follow())

    async def shutdown(self) -> None:
        """Stop reading; a line that the pipeline has begun to take is finished, one that waits for it is left."""
        self._stopping.set()
        task, self._task = self._task, None
        if task is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.drain_timeout):
                    await task
        await self._intake.finish(self.drain_timeout)
        for reading in self._files.values():
            reading.file.park()
        self._files.clear()

    async def _follow(self) -> None:
        while not self._stopping.is_set():
            for reading in list(self._files.values()):
                await self._read(reading)
                if self._crowded and not reading.gone:  # what was renamed could not be found again
                    reading.file.park()
            await self._pause(self._config.poll_interval)
            await asyncio.to_thread(self._look, at_end=False)

    async def _read(self, reading: "_Reading") -> None:
        """Take all that is new in one file."""
        while not self._stopping.is_set():
            try:
                data = await asyncio.to_thread(reading.file.read)
            except (OSError, Damaged) as error:
                reading.usable = False
                if not reading.gone:
                    self._logs.warning("file cannot be read", file=str(reading.file.path), error=str(error))
                return
            if not data:
                break
            reading.usable = True
            reading.grew = time.monotonic()
            for line in reading.splitter.feed(data):
                if not await self._take(reading, line):
                    return
        await self._take_rest(reading)

    async def _take(self, reading: "_Reading", line: Line) -> bool:
        """Hand *line* on, waiting as long as there is no room; says no if it was not to be before the end."""
        place = f"{reading.file.path}:{line.number}" + (" (from where reading began)" if reading.from_end else "")
        if line.text is None:
            error: Exception = TooLarge(f"a line of more than max_log_size ({self._config.max_log_size} bytes)")
            self._intake.refuse(error)
            self._logs.warning("line skipped", place=place, error=str(error))
            return True
        pause = _FIRST_PAUSE
        decode = cache(self._decode)  # once, however often the pipeline has no room
        while True:
            try:
                await self._intake.take(line.text, decode)
            except RetryableError as error:
                if self._stopping.is_set():
                    return False
                self._logs.warning("the pipeline is full, files wait", place=place, error=str(error))
                await self._pause(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            except InvalidRequest as error:
                self._logs.warning("line skipped", place=place, error=str(error))
                return True
            except Exception:  # noqa: BLE001 (counted and said by the intake: trying again cannot be known to be safe)
                return True
            else:
                return True

    async def _take_rest(self, reading: "_Reading") -> None:
        """Take a last line without its end, if nobody seems to be writing it and it is whole."""
        rest, grew = reading.splitter.rest, reading.grew
        if not rest.strip() or reading.tried == grew or time.monotonic() - grew < self._config.force_flush_period:
            return
        reading.tried = grew  # once, until it grows
        try:
            await asyncio.to_thread(self._decode, rest)
        except InvalidRequest:
            return
        await self._take(reading, reading.splitter.take_rest())

    def _decode(self, line: bytes) -> SpanBatch:
        return otlp_json.decode_request(line, self._envelopes)

    def _look(self, *, at_end: bool) -> None:
        """Find files that came, were renamed or went away."""
        seen: set[_Identity] = set()
        for path, identity in self._found():
            seen.add(identity)
            reading = self._files.get(identity)
            if reading is not None:
                reading.file.path = path
            else:
                self._open(path, at_end=at_end)
        for identity, reading in list(self._files.items()):
            reading.gone = 0 if identity in seen else reading.gone + 1
            if reading.gone > (_GONE_POLLS if reading.usable else 0):
                reading.file.park()
                del self._files[identity]

    def _found(self) -> list[tuple[Path, _Identity]]:
        excluded = {path for pattern in self._config.exclude for path in glob.iglob(pattern, recursive=True)}  # noqa: PTH207 (may be absolute)
        found: dict[_Identity, tuple[int, Path]] = {}
        for pattern in self._config.include:
            for path in glob.iglob(pattern, recursive=True):  # noqa: PTH207
                if path in excluded:
                    continue
                with suppress(OSError):
                    status = os.stat(path)  # noqa: PTH116 (a path object for each file and poll would be thrown away)
                    if stat.S_ISREG(status.st_mode):
                        found.setdefault((status.st_dev, status.st_ino), (status.st_mtime_ns, Path(path)))
        by_age = sorted((changed, path, identity) for identity, (changed, path) in found.items())
        return [(path, identity) for _, path, identity in by_age]

    def _open(self, path: Path, *, at_end: bool) -> None:
        compressed = self._config.compression == "gzip" or (self._config.compression == "auto" and path.suffix == ".gz")
        try:
            reading = _Reading(path, self._config.max_log_size, at_end=at_end, compressed=compressed)
        except OSError as error:
            self._logs.warning("file cannot be read", file=str(path), error=error.strerror or str(error))
            return
        self._files[reading.file.identity] = reading
        if self._crowded:
            reading.file.park()

    @property
    def _crowded(self) -> bool:
        return len(self._files) > self._config.max_concurrent_files

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


class _Reading:
    """A file that is followed, and the line that has begun in it.

    Attributes:
        file: where the bytes come from.
        splitter: makes lines of them.
        from_end: whether lines are counted from the place where reading began, not from the first.
        grew: when it last had something new (monotonic seconds).
        tried: the value of `grew` at which its last line was last looked at.
        gone: for how many polls it was not seen.
        usable: whether it could be read the last time.
    """

    def __init__(self, path: Path, limit: int, *, at_end: bool, compressed: bool) -> None:
        self._limit = limit
        self.file = FollowedFile(path, at_end=at_end, compressed=compressed, restarted=self._restart)
        self.splitter = LineSplitter(limit, whole=self.file.at_line_start)
        self.from_end = at_end
        self.grew = time.monotonic()
        self.tried = -1.0
        self.gone = 0
        self.usable = True

    def _restart(self) -> None:
        self.splitter = LineSplitter(self._limit)
        self.from_end = False
