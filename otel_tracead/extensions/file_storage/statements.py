"""Rows in and out, and room of the file back, in few statements.

Each statement lets the interpreter's lock go, and must wait for a busy loop to get it back.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final, TypeVar

from otel_tracead.extensions.file_storage.database import Row

STEP: Final = 2 << 20
"""Bytes that are given back at a time."""
_MANY: Final = 128

PartT = TypeVar("PartT")


def insert(database: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Store *rows*."""
    for part in _parts(rows):
        values = ", ".join(["(?, ?, ?, ?, ?)"] * len(part))
        statement = f"INSERT INTO records VALUES {values}"  # noqa: S608 (question marks)
        database.execute(statement, list(chain.from_iterable(part)))


def delete(database: sqlite3.Connection, numbers: Sequence[int]) -> int:
    """Remove the records *numbers*; give how many were there."""
    removed = 0
    for part in _parts(numbers):
        places = ", ".join("?" * len(part))
        statement = f"DELETE FROM records WHERE number IN ({places})"  # noqa: S608 (question marks)
        removed += database.execute(statement, part).rowcount
    return removed


def unused(database: sqlite3.Connection) -> int:
    """Give how many bytes of the file hold nothing."""
    pages: int = database.execute("PRAGMA freelist_count").fetchone()[0]
    return pages * _page(database)


def give_back(database: sqlite3.Connection) -> None:
    """Cut `STEP` bytes of unused room off the file."""
    # `execute` would stop at the first page: the statement has rows, but no columns.
    database.executescript(f"PRAGMA incremental_vacuum({STEP // _page(database)})")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _page(database: sqlite3.Connection) -> int:
    size: int = database.execute("PRAGMA page_size").fetchone()[0]
    return size


def _parts(rows: Sequence[PartT]) -> Iterator[Sequence[PartT]]:
    """Cut *rows* into parts of few different lengths, so that there are few different statements."""
    start, size = 0, _MANY
    while start < len(rows):
        while size > len(rows) - start:
            size //= 2
        yield rows[start : start + size]
        start += size
