"""Looks whether the write-ahead log lost commits to damage: SQLite stops reading at the first frame that is wrong, and says nothing.

Source: https://www.sqlite.org/fileformat2.html, "The Write-Ahead Log".
"""

import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

_HEADER: Final = struct.Struct(">8I")  # magic, version, page size, checkpoint, salts, checksums
_FRAME: Final = struct.Struct(">6I")  # page, size of the database after a commit or 0, salts, checksums
_MAGIC: Final = (0x377F0682, 0x377F0683)


def lost_commits(path: Path) -> Callable[[sqlite3.Connection], int] | None:
    """Read which commits the log of the file *path* has; ask it before the file is opened.

    Returns:
        says how many of them are missing, once the file is open; None where there is no log.
    """
    commits: list[int] = []  # the numbers of their last frames
    try:
        with Path(f"{path}-wal").open("rb") as log:
            head = log.read(_HEADER.size)
            if len(head) < _HEADER.size:
                return None
            magic, _, page, _, *salts, first, second = _HEADER.unpack(head)
            if magic not in _MAGIC or _checksums(head, magic) != (first, second):
                return lambda _database: int(any(head))
            frame = 0
            while len(head := log.read(_FRAME.size)) == _FRAME.size:
                frame += 1
                _, size, *found = _FRAME.unpack(head)
                if found[:2] != salts:
                    break  # of an earlier round
                if size:
                    commits.append(frame)
                log.seek(page, 1)
    except FileNotFoundError:
        return None

    def missing(database: sqlite3.Connection) -> int:
        _, last, _ = database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return sum(frame > last for frame in commits)

    return missing


def _checksums(head: bytes, magic: int) -> tuple[int, int]:
    numbers = struct.unpack(f"{'>' if magic & 1 else '<'}6I", head[:24])
    first = second = 0
    for one, two in zip(numbers[::2], numbers[1::2], strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + two + first) & 0xFFFFFFFF
    return first, second
