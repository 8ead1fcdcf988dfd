"""The database of one file: opened when it is needed, mended where it is damaged, opened anew after it failed."""

import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from otel_tracead.extensions.file_storage.database import (
    NO_ROOM,
    Row,
    connect,
    create,
    error_code,
    first_unused,
    is_damaged,
    is_small,
    sound,
)
from otel_tracead.extensions.file_storage.lock import locked
from otel_tracead.extensions.file_storage.salvage import move_aside, put_aside, rescue
from otel_tracead.extensions.file_storage.statements import delete
from otel_tracead.extensions.file_storage.wal import lost_commits


class Unavailable(Exception):  # noqa: N818 (what the disk is)
    """The disk does not do it now.

    Attributes:
        removed: how many of the removals were done all the same.
    """

    def __init__(self, reason: str, removed: int = 0) -> None:
        super().__init__(reason)
        self.removed = removed


class Damage(NamedTuple):
    """Something that was not what had been written.

    Attributes:
        what: happened, and where the rest is, for the log.
        records: that are lost, as far as can be told; 1 where that cannot be told.
    """

    what: str
    records: int


class DatabaseFile:
    """What is in a file, whatever becomes of the file.

    Args:
        path: of the file; others beside it begin with its name.
        fsync: have each commit on the disk itself.
        timeout: seconds to wait for a file that somebody else has.

    Attributes:
        path: of the file.
        fsync: as given; holds from the next opening on.
        damages: what was found since somebody took them out.
        first: the first number that was never used.
        reserved: numbers below this one are noted in the file as used.
        records: how many are stored.
    """

    def __init__(self, path: Path, *, fsync: bool, timeout: float) -> None:
        self.path = path
        self.fsync = fsync
        self.damages: deque[Damage] = deque()
        self.first = 1
        self.reserved = 0
        self.records = 0
        self._fresh = path.with_name(path.name + ".new")
        self._timeout = timeout
        self._identity: tuple[int, int] | None = None
        self._lock: sqlite3.Connection | None = None
        self._database: sqlite3.Connection | None = None

    def lock(self) -> None:
        """Take the file for this component.

        Raises:
            StartError: somebody else has it.
            OSError, sqlite3.Error: the disk does not let us.
        """
        self._lock = locked(self.path.with_name(self.path.name + ".lock"), self._timeout)

    def opened(self) -> sqlite3.Connection:
        """Give the database, open; without the lock nobody opens it.

        Raises:
            Unavailable: it is closed.
            OSError, sqlite3.Error: it cannot be opened.
        """
        if self._database is not None:
            return self._database
        if self._lock is None:
            raise Unavailable("it is closed")
        path = self.path
        self._find()
        commits = lost_commits(path)
        try:
            database = connect(path, fsync=self.fsync)
        except sqlite3.Error as error:
            if not is_damaged(error):
                raise
            self.rescue(str(error))
            database = connect(path, fsync=self.fsync)
            commits = None
        if commits is not None and (lost := commits(database)):
            aside = move_aside(path, "-wal", copy=True)
            self.damages.append(Damage(f"the newest {lost} commits of {path} are damaged; a copy is at {aside}", lost))
        self._database = database
        self.first = self.reserved = first_unused(database)
        self.records = database.execute("SELECT count(*) FROM records").fetchone()[0]
        self._identity = _identity(path)
        if is_small(path):
            for row in database.execute("SELECT number, log, note, sum, body FROM records ORDER BY number"):
                if not sound(row):
                    self.put_aside(row)
        return database

    def _find(self) -> None:
        """See to it that there is a file, with something in it."""
        if self._fresh.exists():  # a rescue was cut short: before the old file was moved aside, or right after
            if self.path.exists():
                for end in ("-wal", "-journal", ""):
                    Path(f"{self._fresh}{end}").unlink(missing_ok=True)
            else:
                self._fresh.rename(self.path)
        if not self.path.exists():
            create(self.path)
        elif self.path.stat().st_size == 0:
            self.rescue("it is empty")

    def put_aside(self, row: Row) -> None:
        """Take a damaged record out, and keep beside the file what is left of it."""
        aside = put_aside(self.path, row)
        self.damages.append(Damage(f"record {row[0]} of {self.path} is damaged; {aside}", 1))
        with suppress(sqlite3.Error):
            self.records -= delete(self.opened(), (row[0],))

    def rescue(self, why: str, source: sqlite3.Connection | None = None) -> None:
        """Carry what can be read, of *source* or of the file, over into a fresh file, and move the old one aside."""
        path = self.path
        if source is None:
            self.drop()
        saved, lost = rescue(source or path, self._fresh)
        self.drop()
        aside = move_aside(path)
        move_aside(path, "-wal")
        self._fresh.rename(path)
        self.damages.append(
            Damage(f"{path} is damaged ({why}); {saved} records were kept, the file is now {aside}", max(lost, 1))
        )

    def was_replaced(self) -> bool:
        """Say whether somebody took the file away, or put another in its place."""
        return self._identity != _identity(self.path)

    def drop(self) -> None:
        """Close the database; the next call opens it anew."""
        database, self._database = self._database, None
        if database is not None:
            with suppress(sqlite3.Error):
                database.close()

    def close(self) -> None:
        """Close everything, and let others have the file. Idempotent."""
        self.drop()
        lock, self._lock = self._lock, None
        if lock is not None:
            with suppress(sqlite3.Error):
                lock.close()

    @contextmanager
    def faults(self, *, damage_passes: bool) -> Iterator[None]:
        """Turn what SQLite and the system raise into `Unavailable`, or mend the file and let the caller try again.

        Raises:
            Unavailable: the disk does not do it now.
        """
        try:
            yield
        except sqlite3.Error as error:
            if is_damaged(error) and damage_passes:
                try:
                    self.rescue(str(error))
                except (sqlite3.Error, OSError) as failed:
                    raise Unavailable(f"{error}; it cannot be rescued: {failed}") from failed
                return
            if error_code(error) not in NO_ROOM:
                self.drop()  # what failed once is opened anew
            raise Unavailable(str(error)) from error
        except OSError as error:
            self.drop()
            raise Unavailable(str(error)) from error


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
