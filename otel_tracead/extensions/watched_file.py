"""A file with secrets in it that others renew: read within bounds, and again when it has changed."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from otel_tracead.fingerprint import stamp

_LARGEST: Final = 1 << 20
_LOOK_EVERY: Final = 1.0
"""Seconds between two looks at the file, however many requests come."""


def faults(read: Callable[[], object]) -> list[str]:
    """Say what keeps *read* from reading secrets, for who checks a configuration; nothing if it can."""
    try:
        read()
    except OSError as error:
        return [str(error.strerror)]
    except ValueError as error:
        return [str(error)]
    return []


class WatchedFile:
    """One such file; it is not read before it is asked for.

    Args:
        path: where it lies.
        key: of the configuration, for messages, which say nothing of the content.
        now: a clock in seconds, for the looks at the file.

    Attributes:
        path: as above.
        key: likewise.
    """

    def __init__(self, path: Path, key: str, now: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self.key = key
        self._now = now
        self._look_at = 0.0
        self._stamp: tuple[int, int, int] | None = None

    def read(self) -> str:
        """Give the content.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no UTF-8, or too large.
        """
        self._look_at = self._now() + _LOOK_EVERY
        try:
            found = stamp(self.path)  # before: what is written meanwhile is read again
            with self.path.open("rb") as file:
                content = file.read(_LARGEST + 1)
        except OSError as error:
            raise OSError(error.errno, f"{self.key}: {self.path} cannot be read: {error.strerror}") from error
        if len(content) > _LARGEST:
            raise ValueError(f"{self.key}: {self.path} is larger than {_LARGEST} bytes")
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ValueError(f"{self.key}: {self.path} is not UTF-8") from None  # the cause would quote the content
        self._stamp = found
        return text

    def changed(self) -> bool:
        """Say whether it is time to read it again; asks the file system once a second at most.

        A file that cannot be looked at has changed: reading it says why.
        """
        now = self._now()
        if now < self._look_at:
            return False
        self._look_at = now + _LOOK_EVERY
        return stamp(self.path) != self._stamp
