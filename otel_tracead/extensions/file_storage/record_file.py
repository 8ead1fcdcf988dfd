"""One file of records: stored, removed and read, also when the disk is full or fails.

Nothing here knows of the event loop: a `RecordFile` is called by one thread, one call after the other.
"""

import sqlite3
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from otel_tracead.errors import StartError
from otel_tracead.extensions.file_storage.database import NO_ROOM, Row, error_code, reserve, sound
from otel_tracead.extensions.file_storage.database_file import Damage, DatabaseFile, Unavailable
from otel_tracead.extensions.file_storage.spare import SIZE, Spare
from otel_tracead.extensions.file_storage.statements import STEP, delete, give_back, insert, unused
from otel_tracead.storage import Entry

_FREE: Final = 16 << 20
"""Bytes of a file that may be unused before some of them are given back to the file system."""
_STEPS: Final = 32
"""How many times some are given back one after the other, while senders wait."""
_RESERVED: Final = 1 << 20
"""Numbers that are taken from the file at a time, so that none is used twice."""


class RecordFile:
    """Rows of records in the order of their numbers.

    Args:
        path: of the file; others beside it begin with its name.
        fsync: have each commit on the disk itself.
        timeout: seconds to wait for a file that somebody else has.

    Attributes:
        path: of the file.
        size: bytes on disk, as last measured.
    """

    def __init__(self, path: Path, *, fsync: bool, timeout: float) -> None:
        self.path = path
        self.size = 0
        self._file = DatabaseFile(path, fsync=fsync, timeout=timeout)
        self._spare = Spare(path)

    @property
    def damages(self) -> deque[Damage]:
        """What was found since somebody took them out."""
        return self._file.damages

    @property
    def first(self) -> int:
        """The first number that was never used."""
        return self._file.first

    @property
    def records(self) -> int:
        """How many are stored."""
        return self._file.records

    def open(self) -> None:
        """Lock the file, and open, rescue or make it.

        Raises:
            StartError: somebody else has it, it was written by a newer version, or the disk does not let us.
        """
        try:
            self._file.lock()
            with suppress(Unavailable):  # what is stored is there all the same
                self._make_spare()
            self._file.opened()
            self._measure()
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
            with self._file.faults(damage_passes=attempt == 0):
                database = self._file.opened()
                if rows and not self._spare.there:
                    self._relieve(database, removals[:ahead])
                    removals, ahead = removals[ahead:], 0
                try:
                    self._write(database, rows, removals)
                except sqlite3.Error as error:
                    if error_code(error) not in NO_ROOM:
                        raise
                    self._spare.give_up()
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
            with self._file.faults(damage_passes=attempt == 0):
                query = "SELECT number, note, length(body) FROM records WHERE log = ? ORDER BY number"
                rows = self._file.opened().execute(query, (log,)).fetchall()
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
            with self._file.faults(damage_passes=attempt == 0):
                query = "SELECT number, log, note, sum, body FROM records WHERE number = ?"
                row = self._file.opened().execute(query, (number,)).fetchone()
                if row is None or sound(row):
                    return None if row is None else bytes(row[4])
                self._file.put_aside(row)
                return None
        return None

    def upkeep(self) -> bool:
        """Measure, make the reserve anew, and give unused room back to the file system; say whether there is more.

        Raises:
            Unavailable: the disk does not do it now.
        """
        more = False
        with self._file.faults(damage_passes=True):
            database = self._file.opened()
            if self._file.was_replaced():
                self._file.rescue("somebody took it away or put another in its place", database)
                database = self._file.opened()
            if not self._spare.there:
                self._relieve(database, ())
            free = unused(database)
            if free > _FREE:
                give_back(database)
                more = free - STEP > _FREE
        self._measure()
        return more

    def set_fsync(self, *, fsync: bool) -> None:
        """Have commits on the disk itself from now on, or no longer."""
        self._file.fsync = fsync
        self._file.drop()  # the next call opens it so

    def close(self) -> None:
        """Close everything. Idempotent."""
        self._file.close()

    def _write(self, database: sqlite3.Connection, rows: Sequence[Row], removals: Sequence[int]) -> None:
        database.execute("BEGIN IMMEDIATE")
        try:
            insert(database, rows)
            if rows and rows[-1][0] >= self._file.reserved:
                self._file.reserved = reserve(database, rows[-1][0] + _RESERVED)
            removed = delete(database, removals)
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:  # some errors have rolled it back already
                database.execute("ROLLBACK")
            self._file.reserved = 0
            raise
        self._file.records += len(rows) - removed

    def _relieve_as_can_be(self, removals: Sequence[int]) -> int:
        """Remove with the help of the reserve; give how many."""
        try:
            self._relieve(self._file.opened(), removals, refill=False)
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
            give_back(database)
            if not unused(database):
                break
        if refill:
            self._make_spare()

    def _make_spare(self) -> None:
        """Make the reserve.

        Raises:
            Unavailable: there is no room for it.
        """
        try:
            self._spare.make()
        except OSError as error:
            raise Unavailable(f"no room for a reserve of {SIZE >> 20} MiB: {error.strerror}") from error

    def _measure(self) -> None:
        ends = ("", "-wal", ".spare")
        self.size = sum(_size(Path(f"{self.path}{end}")) for end in ends)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
