"""One process at a time has a file, and within it one component."""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from otel_tracead.errors import StartError


def locked(path: Path, timeout: float) -> sqlite3.Connection:
    """Take *path* for ourselves until the connection is closed or the process ends.

    SQLite's own locks hold between processes and within one, and a forked child does not inherit them.

    Raises:
        StartError: somebody else has it.
        OSError, sqlite3.Error: it cannot be made.
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
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
            raise StartError(
                f"{path.with_suffix('')} is in use: another process, or another extension, has it"
            ) from None
        raise
    return lock
