"""One file of records: SQLite, and what becomes of the file when the disk is full, fails, or gave back something else.

Nothing here knows of the event loop: a `RecordFile` is called by one thread, one call after the other.
"""

import os
import sqlite3
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

from otel_tracead.errors import StartError
from otel_tracead.extensions.file_storage.database import (
    NO_ROOM,
    Row,
    connect,
    create,
    first_unused,
    is_damaged,
    is_small,
    reserve,
    sound,
)
from otel_tracead.extensions.file_storage.salvage import move_aside, put_aside, rescue
from otel_tracead.extensions.file_storage.wal import lost_commits
from otel_tracead.storage import Entry

_SPARE: Final = 16 << 20
"""Bytes that a file keeps in reserve: when the disk is full, removing records needs room, too."""
_FREE: Final = 16 << 20
"""Bytes of a file that may be unused before some of them are given back to the file system."""
_STEP: Final = 2 << 20
"""Bytes that are given back at a time."""
_STEPS: Final = 32
"""How many times one after the other, while senders wait."""
_RESERVED: Final = 1 << 20
"""Numbers that are taken from the file at a time, so that none is used twice."""
_MANY: Final = 128


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


class RecordFile:
    """Rows of records in the order of their numbers.

    Args:
        path: of the file; others beside it begin with its name.
        fsync: have each commit on the disk itself.
        timeout: seconds to wait for a file that somebody else has.

    Attributes:
        path: of the file.
        damages: what was found since somebody took them out.
        first: the first number that was never used.
        records: how many are stored.
        size: bytes on disk, as last measured.
    """

    def __init__(self, path: Path, *, fsync: bool, timeout: float) -> None:
        self.damages: deque[Damage] = deque()
        self.first = 1
        self.records = 0
        self.size = 0
        self.path = path
        self._spare = path.with_name(path.name + ".spare")
        self._fresh = path.with_name(path.name + ".new")
        self._fsync = fsync
        self._timeout = timeout
        self._spared = False
        self._identity: tuple[int, int] | None = None
        self._lock: sqlite3.Connection | None = None
        self._database: sqlite3.Connection | None = None
        self._reserved = 0

    def open(self) -> None:
        """Lock the file, and open, rescue or make it.

        Raises:
            StartError: somebody else has it, it was written by a newer version, or the disk does not let us.
        """
        try:
            self._lock = _locked(self.path.with_name(self.path.name + ".lock"), self._timeout)
            with suppress(Unavailable):  # what is stored is there all the same
                self._make_room_beside()
            self._opened()
        except (OSError, sqlite3.Error, Unavailable) as error:
            self.close()
            raise StartError(f"{self.path} cannot be opened: {error}") from error
        except StartError:
            self.close()
            raise

    def commit(self, rows: Sequence[Row], removals: Sequence[int], ahead: int) -> None:
        """Store *rows* and remove *removals*, all or nothing.

        Args:
            rows: with rising numbers.
            removals: numbers; those that are not there do not matter.
            ahead: how many of *removals* may be done even if *rows* cannot be stored.

        Raises:
            Unavailable: nothing was stored.
        """
        for attempt in range(2):
            with self._faults(damage_passes=attempt == 0):
                database = self._opened()
                if rows and not self._spared:
                    self._relieve(database, removals[:ahead])
                    removals, ahead = removals[ahead:], 0
                try:
                    self._write(database, rows, removals)
                except sqlite3.Error as error:
                    if _code(error) not in NO_ROOM:
                        raise
                    self._spare.unlink(missing_ok=True)
                    self._spared = False
                    removed = self._relieve_as_can_be(removals[:ahead])
                    raise Unavailable(str(error), removed) from error
                return

    def entries(self, log: str) -> list[Entry]:
        """List the records of *log*, in order.

        Raises:
            Unavailable: the disk does not answer.
        """
        found: list[Entry] = []
        for attempt in range(2):
            with self._faults(damage_passes=attempt == 0):
                query = "SELECT number, note, length(body) FROM records WHERE log = ? ORDER BY number"
                rows = self._opened().execute(query, (log,)).fetchall()
                found = [Entry(*row) for row in rows if all(isinstance(value, int) for value in row)]
                for row in rows if len(found) < len(rows) else ():
                    if not isinstance(row[1], int):
                        self.read(row[0])
                break
        return found

    def read(self, number: int) -> bytes | None:
        """Give a record; None if it is not there, or not what was written: then it is put aside.

        Raises:
            Unavailable: the disk does not answer.
        """
        for attempt in range(2):
            with self._faults(damage_passes=attempt == 0):
                query = "SELECT number, log, note, sum, body FROM records WHERE number = ?"
                row = self._opened().execute(query, (number,)).fetchone()
                if row is None or sound(row):
                    return None if row is None else bytes(row[4])
                self._put_aside(row)
                return None
        return None

    def upkeep(self) -> bool:
        """Measure, make the reserve anew, and give unused room back to the file system; say whether there is more.

        Raises:
            Unavailable: the disk does not do it now.
        """
        more = False
        with self._faults(damage_passes=True):
            database = self._opened()
            if self._identity != _identity(self.path):
                self._rescue("somebody took it away or put another in its place", database)
                database = self._opened()
            if not self._spared:
                self._relieve(database, ())
            page = _page(database)
            free = database.execute("PRAGMA freelist_count").fetchone()[0] * page
            if free > _FREE:
                _give_back(database)
                more = free - _STEP > _FREE
        self._measure()
        return more

    def set_fsync(self, *, fsync: bool) -> None:
        """Have commits on the disk itself from now on, or no longer."""
        self._fsync = fsync
        self._drop()  # the next call opens it so

    def close(self) -> None:
        """Close everything. Idempotent."""
        self._drop()
        lock, self._lock = self._lock, None
        if lock is not None:
            with suppress(sqlite3.Error):
                lock.close()

    def _opened(self) -> sqlite3.Connection:
        """Give the database, open; without the lock, which the first call of all takes, nobody opens it."""
        if self._database is not None:
            return self._database
        if self._lock is None:
            raise Unavailable("it is closed")
        path = self.path
        self._find()
        commits = lost_commits(path)
        try:
            database = connect(path, fsync=self._fsync)
        except sqlite3.Error as error:
            if not is_damaged(error):
                raise
            self._rescue(str(error))
            database = connect(path, fsync=self._fsync)
            commits = None
        if commits is not None and (lost := commits(database)):
            aside = move_aside(path, "-wal", copy=True)
            self.damages.append(Damage(f"the newest {lost} commits of {path} are damaged; a copy is at {aside}", lost))
        self._database = database
        self.first = self._reserved = first_unused(database)
        self.records = database.execute("SELECT count(*) FROM records").fetchone()[0]
        self._identity = _identity(path)
        if is_small(path):
            for row in database.execute("SELECT number, log, note, sum, body FROM records ORDER BY number"):
                if not sound(row):
                    self._put_aside(row)
        self._measure()
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
            self._rescue("it is empty")

    def _put_aside(self, row: Row) -> None:
        aside = put_aside(self.path, row)
        self.damages.append(Damage(f"record {row[0]} of {self.path} is damaged; {aside}", 1))
        with suppress(sqlite3.Error):
            self.records -= _delete(self._opened(), (row[0],))

    def _write(self, database: sqlite3.Connection, rows: Sequence[Row], removals: Sequence[int]) -> None:
        database.execute("BEGIN IMMEDIATE")
        try:
            # One statement for many: each lets the interpreter's lock go, and must wait for a busy loop to get it back.
            for part in _parts(rows):
                values = ", ".join(["(?, ?, ?, ?, ?)"] * len(part))
                statement = f"INSERT INTO records VALUES {values}"  # noqa: S608 (question marks)
                database.execute(statement, list(chain.from_iterable(part)))
            if rows and rows[-1][0] >= self._reserved:
                self._reserved = reserve(database, rows[-1][0] + _RESERVED)
            removed = _delete(database, removals)
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:  # some errors have rolled it back already
                database.execute("ROLLBACK")
            self._reserved = 0
            raise
        self.records += len(rows) - removed

    def _relieve_as_can_be(self, removals: Sequence[int]) -> int:
        """Remove with the help of the reserve; give how many."""
        try:
            self._relieve(self._opened(), removals, refill=False)
        except (sqlite3.Error, OSError, Unavailable):
            return 0
        return len(removals)

    def _relieve(self, database: sqlite3.Connection, removals: Sequence[int], *, refill: bool = True) -> None:
        """Remove *removals*, give all unused room back, and make the reserve anew.

        Raises:
            Unavailable: *refill*, and there is no room for the reserve.
        """
        if removals:
            self._write(database, (), removals)
        for _ in range(_STEPS):
            _give_back(database)
            if not database.execute("PRAGMA freelist_count").fetchone()[0]:
                break
        if refill:
            self._make_room_beside()

    def _make_room_beside(self) -> None:
        """Make the reserve, if it is not there.

        Raises:
            Unavailable: there is no room for it.
        """
        try:
            descriptor = os.open(self._spare, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, _SPARE)
            finally:
                os.close(descriptor)
        except OSError as error:
            with suppress(OSError):
                self._spare.unlink(missing_ok=True)
            raise Unavailable(f"no room for a reserve of {_SPARE >> 20} MiB: {error.strerror}") from error
        self._spared = True

    def _rescue(self, why: str, source: sqlite3.Connection | None = None) -> None:
        """Carry what can be read, of *source* or of the file, over into a fresh file, and move the old one aside."""
        path = self.path
        if source is None:
            self._drop()
        saved, lost = rescue(source or path, self._fresh)
        self._drop()
        aside = move_aside(path)
        move_aside(path, "-wal")
        self._fresh.rename(path)
        self.damages.append(
            Damage(f"{path} is damaged ({why}); {saved} records were kept, the file is now {aside}", max(lost, 1))
        )

    def _drop(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            with suppress(sqlite3.Error):
                database.close()

    def _measure(self) -> None:
        ends = ("", "-wal", ".spare")
        self.size = sum(_size(Path(f"{self.path}{end}")) for end in ends)

    @contextmanager
    def _faults(self, *, damage_passes: bool) -> Iterator[None]:
        """Turn what SQLite and the system raise into `Unavailable`, or mend the file and let the caller try again.

        Raises:
            Unavailable: the disk does not do it now.
        """
        try:
            yield
        except sqlite3.Error as error:
            if is_damaged(error) and damage_passes:
                try:
                    self._rescue(str(error))
                except (sqlite3.Error, OSError) as failed:
                    raise Unavailable(f"{error}; it cannot be rescued: {failed}") from failed
                return
            if _code(error) not in NO_ROOM:
                self._drop()  # what failed once is opened anew
            raise Unavailable(str(error)) from error
        except OSError as error:
            self._drop()
            raise Unavailable(str(error)) from error


def _locked(path: Path, timeout: float) -> sqlite3.Connection:
    """Take *path* for ourselves until the connection is closed or the process ends.

    SQLite's own locks hold between processes and within one, and a forked child does not inherit them.
    """
    # Closing a descriptor of a file that is there would end the locks that this process has on it.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    lock = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
    try:
        lock.execute("PRAGMA journal_mode = MEMORY")  # nothing is written: that works on a full disk, too
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        lock.close()
        if _code(error) == sqlite3.SQLITE_BUSY:
            raise StartError(
                f"{path.with_suffix('')} is in use: another process, or another extension, has it"
            ) from None
        raise
    return lock


def _parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Cut *rows* into parts of few different lengths, so that there are few different statements."""
    start, size = 0, _MANY
    while start < len(rows):
        while size > len(rows) - start:
            size //= 2
        yield rows[start : start + size]
        start += size


def _delete(database: sqlite3.Connection, numbers: Sequence[int]) -> int:
    removed, start, size = 0, 0, _MANY
    while start < len(numbers):
        while size > len(numbers) - start:
            size //= 2
        places = ", ".join("?" * size)
        cursor = database.execute(
            f"DELETE FROM records WHERE number IN ({places})",  # noqa: S608 (question marks)
            numbers[start : start + size],
        )
        removed += cursor.rowcount
        start += size
    return removed


def _give_back(database: sqlite3.Connection) -> None:
    """Cut `_STEP` bytes of unused room off the file."""
    # `execute` would stop at the first page: the statement has rows, but no columns.
    database.executescript(f"PRAGMA incremental_vacuum({_STEP // _page(database)})")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _page(database: sqlite3.Connection) -> int:
    size: int = database.execute("PRAGMA page_size").fetchone()[0]
    return size


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _code(error: BaseException) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
