"""Room that is kept in reserve beside a file: when the disk is full, removing records needs some, too."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

SIZE: Final = 16 << 20
"""In bytes."""


class Spare:
    """The reserve of one file.

    Args:
        path: of the file whose reserve it is.

    Attributes:
        there: whether it is.
    """

    def __init__(self, path: Path) -> None:
        self.there = False
        self._path = path.with_name(path.name + ".spare")

    def make(self) -> None:
        """Make it, if it is not there.

        Raises:
            OSError: there is no room for it.
        """
        try:
            descriptor = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, SIZE)
            finally:
                os.close(descriptor)
        except OSError:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            raise
        self.there = True

    def give_up(self) -> None:
        """Let its room be used."""
        self._path.unlink(missing_ok=True)
        self.there = False
