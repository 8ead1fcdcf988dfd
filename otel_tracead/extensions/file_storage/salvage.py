"""What can be read of a damaged file is carried over; the file itself is moved aside, and nothing of it is deleted."""

import os
import shutil
import sqlite3
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from otel_tracead.extensions.file_storage.database import Row, create, first_unused, reserve, sound

_FAR: Final = 1 << 40
"""How far behind the numbers that were found new ones begin where the file no longer says which were used."""
_MOST_QUESTIONS: Final = 20_000
"""A damaged file is asked no more often; each question goes around some of the damage."""
_UPWARDS: Final = "SELECT number, log, note, sum, body FROM records WHERE number BETWEEN ? AND ? ORDER BY number"
_DOWNWARDS: Final = f"{_UPWARDS} DESC"


def rescue(source: Path | sqlite3.Connection, fresh: Path) -> tuple[int, int]:
    """Make *fresh* of all records of *source* that can be read and are what was written.

    Returns:
        how many there were, and how many more were found damaged (what is not found is not counted).

    Raises:
        OSError, sqlite3.Error: *fresh* cannot be written.
    """
    for end in ("-wal", "-journal", ""):
        Path(f"{fresh}{end}").unlink(missing_ok=True)
    create(fresh)
    target = sqlite3.connect(fresh, isolation_level=None)
    target.execute("PRAGMA locking_mode = EXCLUSIVE")
    target.execute("BEGIN IMMEDIATE")
    database = source if isinstance(source, sqlite3.Connection) else _open(source)
    saved = lost = highest = 0
    unused = 0
    try:
        if database is not None:
            with suppress(sqlite3.Error):
                unused = first_unused(database)
            for row in _readable(database):
                if sound(row):
                    target.execute("INSERT INTO records VALUES (?, ?, ?, ?, ?)", row)
                    saved, highest = saved + 1, max(highest, row[0])
                else:
                    lost += 1
        if not 0 < unused < 1 << 62:
            unused = _FAR
        reserve(target, max(unused, highest + 1))
        target.execute("COMMIT")
    finally:
        if database is not None and database is not source:
            with suppress(sqlite3.Error):
                database.close()
        target.close()
    return saved, lost


def move_aside(path: Path, end: str = "", *, copy: bool = False) -> Path:
    """Give *path* (with *end*, its write-ahead log) a name under which nobody looks for it; nothing if it is not there."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    number = 1
    while Path(f"{aside}{end}").exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    with suppress(FileNotFoundError):
        if copy:
            shutil.copyfile(f"{path}{end}", f"{aside}{end}")
        else:
            Path(f"{path}{end}").rename(f"{aside}{end}")
    return Path(f"{aside}{end}")


def put_aside(path: Path, row: Row) -> str:
    """Write the body of a damaged record beside *path*; say where it is."""
    aside = path.with_name(f"{path.name}.damaged-record-{row[0]}")
    body = row[4] if isinstance(row[4], bytes) else str(row[4]).encode()
    try:
        descriptor = os.open(aside, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
    except OSError as error:
        return f"what is left of it cannot be kept: {error.strerror}"
    return f"what is left of it is {aside}"


def _open(path: Path) -> sqlite3.Connection | None:
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute("PRAGMA trusted_schema = OFF")
        database.execute("PRAGMA writable_schema = ON")  # else SQLite reads nothing of a file that was cut off
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("SELECT 1 FROM records LIMIT 1").fetchone()
    except sqlite3.Error:
        # Of a damaged beginning of the table the rest may still be found; of no database, nothing.
        with suppress(sqlite3.Error):
            database.execute("SELECT name FROM sqlite_schema").fetchall()
            return database
        database.close()
        return None
    return database


def _readable(database: sqlite3.Connection) -> Iterator[Row]:
    """Give all rows that can be read: up to the first that cannot, down to the last, and likewise in halves of the rest."""
    ranges = deque([(-(1 << 63), (1 << 63) - 1)])
    for _ in range(_MOST_QUESTIONS):
        if not ranges:
            return
        start, end = ranges.popleft()  # the widest first
        for question in (_UPWARDS, _DOWNWARDS):
            try:
                for row in database.execute(question, (start, end)):
                    yield row
                    start, end = (row[0] + 1, end) if question is _UPWARDS else (start, row[0] - 1)
                break
            except sqlite3.Error:
                continue
        else:
            if start < end:
                middle = (start + end) // 2
                ranges += [(start, middle), (middle + 1, end)]
