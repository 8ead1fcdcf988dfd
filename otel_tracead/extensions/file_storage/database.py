"""How records lie in SQLite: the schema, how a database is opened, and which errors mean what."""

import os
import sqlite3
import zlib
from pathlib import Path
from typing import Final

from otel_tracead.errors import StartError

Row = tuple[int, str, int, int, bytes]
"""number, log, note, checksum, body"""

_APPLICATION: Final = 0x6F747472  # "ottr"
_VERSION: Final = 1
_PAGE: Final = 4096
_CHECKPOINT_PAGES: Final = (8 << 20) // _PAGE
_LARGEST_WAL: Final = 16 << 20
_CACHE_KIB: Final = 4096
_SMALL: Final = 256 << 20
_FAR: Final = 1 << 40

NO_ROOM: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
"""Codes of a disk that takes nothing: a quota or a limit on the size of a file is an I/O error to SQLite."""

# SQLITE_IOERR_SHORT_READ: the file ends before the page.
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Foreign(sqlite3.DatabaseError):
    """A file that is none of ours, or was damaged beyond knowing."""


def error_code(error: BaseException) -> int:
    """Give SQLite's code of *error*, without what only tells more of it."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_damaged(error: BaseException) -> bool:
    """Say whether the file is at fault, not the disk."""
    code = getattr(error, "sqlite_errorcode", 0)
    return isinstance(error, Foreign) or code & 0xFF in _DAMAGED or code == sqlite3.SQLITE_IOERR_SHORT_READ


def checksum(number: int, log: str, note: int, body: bytes) -> int:
    """Give what a record must say of itself."""
    return zlib.crc32(body, zlib.crc32(f"{number} {note} {log}".encode()))


def sound(row: Row) -> bool:
    """Say whether a row is what was written."""
    number, log, note, found, body = row
    return isinstance(log, str) and isinstance(body, bytes) and checksum(number, log, note, body) == found


def create(path: Path) -> None:
    """Make a file without records.

    Raises:
        OSError, sqlite3.Error: it cannot be made.
    """
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute(f"PRAGMA page_size = {_PAGE}")
        database.execute("PRAGMA auto_vacuum = INCREMENTAL")
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("BEGIN IMMEDIATE")
        database.execute(f"PRAGMA application_id = {_APPLICATION}")
        database.execute(f"PRAGMA user_version = {_VERSION}")
        database.execute(
            "CREATE TABLE records"
            " (number INTEGER PRIMARY KEY, log TEXT NOT NULL, note INTEGER NOT NULL, sum INTEGER NOT NULL, body BLOB NOT NULL)"
        )
        database.execute("CREATE TABLE numbers (unused INTEGER NOT NULL)")
        database.execute("INSERT INTO numbers VALUES (1)")
        database.execute("COMMIT")
    finally:
        database.close()


def connect(path: Path, *, fsync: bool) -> sqlite3.Connection:
    """Open a file that is there.

    Raises:
        StartError: a newer version of this program wrote it.
        sqlite3.Error: it cannot be opened; see `is_damaged`.
    """
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        _set_up(database, path, fsync=fsync)
    except BaseException:
        database.close()
        raise
    return database


def _set_up(database: sqlite3.Connection, path: Path, *, fsync: bool) -> None:
    database.execute("PRAGMA trusted_schema = OFF")
    database.execute("PRAGMA cell_size_check = ON")
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    if database.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
        raise Foreign("it is not a file of this program")
    if (version := database.execute("PRAGMA user_version").fetchone()[0]) > _VERSION:
        raise StartError(f"{path} was written by a newer version (its format is {version}); it is left as it is")
    if database.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise sqlite3.OperationalError("its file system takes no write-ahead log")
    database.execute("PRAGMA secure_delete = OFF")  # some builds would write zeros over every record that is removed
    database.execute(f"PRAGMA synchronous = {'FULL' if fsync else 'NORMAL'}")
    database.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    database.execute(f"PRAGMA journal_size_limit = {_LARGEST_WAL}")
    if is_small(path) and (found := _problem(database)) != "ok":
        raise Foreign(found)


def is_small(path: Path) -> bool:
    """Say whether the file is read and checked whole when it is opened; of a larger one damage is found where it is read."""
    return path.stat().st_size <= _SMALL


def first_unused(database: sqlite3.Connection) -> int:
    """Give the first number that was never given to a record."""
    row = database.execute("SELECT unused FROM numbers").fetchone()
    highest = database.execute("SELECT max(number) FROM records").fetchone()[0] or 0
    return max(row[0] if row is not None else _FAR, highest + 1)


def reserve(database: sqlite3.Connection, unused: int) -> int:
    """Note that all numbers below *unused* may be used, and give it."""
    database.execute("UPDATE numbers SET unused = ?", (unused,))
    return unused


def _problem(database: sqlite3.Connection) -> str:
    lines = database.execute("PRAGMA quick_check(1)").fetchall()
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not {"records", "numbers"} <= tables:
        return "its tables are missing"
    return str(lines[0][0])
