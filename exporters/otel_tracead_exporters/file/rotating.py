"""A file that messages are appended to whole or not at all, and that is put aside when it has grown large."""

import os
import stat
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from otel_tracead_exporters.file.config import RotationConfig

_MEGABYTE: Final = 1024 * 1024
_STAMP: Final = "%Y-%m-%dT%H-%M-%S"
_STAMP_LENGTH: Final = len("2026-01-31T23-59-59.000")
_MODE: Final = 0o600  # spans may hold what is not for everybody
# How many have a file open in this process: at a reload a changed exporter opens what the one before still writes to.
_writers: Counter[Path] = Counter()


class RotatingFile:
    """Appends messages; blocking, for one thread.

    A file that another one of this process has open is never cut off, whatever *append* says.
    """

    def __init__(
        self,
        path: Path,
        *,
        append: bool,
        rotation: RotationConfig | None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._path = path
        self._append = append or rotation is not None
        self._rotation = rotation
        self._now = now
        self._file = -1
        self._size = 0
        self._regular = True

    def open(self) -> None:
        """Open the file, making it if need be.

        Raises:
            OSError: that is not possible.
        """
        self._open(append=self._append)
        if self._rotation is not None:
            self._delete_old(self._rotation)

    def write(self, message: bytes) -> None:
        """Append *message*; on an error the file is as it was before.

        Raises:
            OSError: the disk is full, or whatever the system says.
        """
        if self._file < 0:
            self._open(append=True)
        if self._regular and _writers[self._path.absolute()] > 1:
            self._size = os.fstat(self._file).st_size
        if self._rotation is not None and 0 < self._size > self._rotation.megabytes * _MEGABYTE - len(message):
            self._rotate(self._rotation)
        written = 0
        try:
            while written < len(message):
                written += os.write(self._file, memoryview(message)[written:])
        except OSError:
            if self._regular and written:
                os.ftruncate(self._file, self._size)
            raise
        self._size += written

    def close(self) -> None:
        """Close the file; the next write opens it again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            _writers[self._path.absolute()] -= 1

    def _open(self, *, append: bool) -> None:
        path = self._path.absolute()
        cut = 0 if append or _writers[path] else os.O_TRUNC
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | cut, _MODE)
        _writers[path] += 1
        found = os.fstat(self._file)
        self._regular = stat.S_ISREG(found.st_mode)
        self._size = found.st_size

    def _rotate(self, rotation: RotationConfig) -> None:
        now = self._now() if not rotation.localtime else self._now().astimezone()
        while (aside := self._path.with_name(self._name(now))).exists():
            now += timedelta(milliseconds=1)
        self._path.rename(aside)
        self.close()
        self._open(append=True)
        self._delete_old(rotation)

    def _name(self, time: datetime) -> str:
        stamp = f"{time.strftime(_STAMP)}.{time.microsecond // 1000:03d}"
        return f"{self._path.stem}-{stamp}{self._path.suffix}"

    def _delete_old(self, rotation: RotationConfig) -> None:
        aside = sorted(self._backups(), reverse=True)
        if rotation.max_backups:
            for _, path in aside[rotation.max_backups :]:
                path.unlink(missing_ok=True)
            del aside[rotation.max_backups :]
        if rotation.max_days:
            now = self._now() if not rotation.localtime else self._now().astimezone()
            oldest = now.replace(tzinfo=None) - timedelta(days=rotation.max_days)
            for time, path in aside:
                if time < oldest:
                    path.unlink(missing_ok=True)

    def _backups(self) -> list[tuple[datetime, Path]]:
        found = []
        before, after = f"{self._path.stem}-", self._path.suffix
        for path in self._path.parent.iterdir():
            name = path.name
            if len(name) != len(before) + _STAMP_LENGTH + len(after):
                continue
            if name.startswith(before) and name.endswith(after):
                stamp = name[len(before) : len(before) + _STAMP_LENGTH]
                try:
                    found.append((datetime.strptime(stamp, f"{_STAMP}.%f"), path))  # noqa: DTZ007 (as the name has it)
                except ValueError:
                    continue
        return found
