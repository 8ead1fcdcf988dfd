"""One file that is followed while somebody writes it: what is new in it, and whether it is still the same file.

Blocking, for one thread at a time. A file is known by its inode, so that it may be renamed while it is read. That it was
cut or written anew (copytruncate) shows in its size, or in the bytes before the place that was reached.
"""

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

_CHUNK: Final = 256 * 1024
_TAIL: Final = 1024  # where lines end alike, their last ids and times still differ
_GZIP: Final = 31  # zlib's word for: with a gzip header


class Damaged(Exception):  # noqa: N818 (what it is)
    """A compressed file that is none."""


class FollowedFile:
    """Reads on where it stopped.

    Args:
        path: where it was found.
        at_end: begin at its end.
        compressed: it is gzip, of one or more members.
        restarted: called when the file turns out to have been written anew, before it is read from its beginning.

    Attributes:
        path: where it was last seen.
        identity: device and inode.
        at_line_start: whether the place where reading began is the beginning of a line.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path, *, at_end: bool, compressed: bool, restarted: Callable[[], None]) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        found = os.fstat(self._file)
        self.identity = (found.st_dev, found.st_ino)
        self._restarted = restarted
        self._position = found.st_size if at_end else 0
        self._tail = os.pread(self._file, _TAIL, max(self._position - _TAIL, 0))[: self._position]
        self.at_line_start = compressed or not self._tail or self._tail.endswith(b"\n")
        self._unzip = _Unzip() if compressed else None

    def read(self) -> bytes:
        """Give the next part of what is new; nothing at the end.

        Raises:
            OSError: it cannot be read, or is no longer there.
            Damaged: it is no gzip file, or one with an error inside.
        """
        while True:
            if self._unzip is not None and (more := self._unzip.more()):
                return more
            data = self._read_raw()
            if self._unzip is None or not data:
                return data
            self._unzip.feed(data)

    def _read_raw(self) -> bytes:
        file = self._open()
        size = os.fstat(file).st_size
        before = max(self._position - len(self._tail), 0)
        if size < self._position or os.pread(file, len(self._tail), before) != self._tail:
            self._position, self._tail = 0, b""
            self._unzip = None if self._unzip is None else _Unzip()
            self._restarted()
        data = os.pread(file, _CHUNK, self._position)
        self._position += len(data)
        self._tail = (self._tail + data)[-_TAIL:]
        return data

    def park(self) -> None:
        """Close the file until it is read again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> int:
        if self._file < 0:
            file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            found = os.fstat(file)
            if (found.st_dev, found.st_ino) != self.identity:
                os.close(file)
                raise FileNotFoundError(f"{self.path} is another file now")
            self._file = file
        return self._file


class _Unzip:
    """Decompresses gzip members, a bounded part at a time."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)
        self._waiting = b""
        self._full = False

    def feed(self, data: bytes) -> None:
        """Take compressed bytes; `more` gives what comes of them."""
        self._waiting += data

    def more(self) -> bytes:
        """Give the next decompressed part; nothing when all that was fed is used up."""
        while self._waiting or self._full:
            try:
                out = self._member.decompress(self._waiting, _CHUNK)
            except zlib.error as error:
                raise Damaged(str(error)) from error
            self._full = len(out) == _CHUNK  # then zlib may hold more
            self._waiting = self._member.unconsumed_tail
            if self._member.eof:
                self._waiting = self._member.unused_data
                self._member = zlib.decompressobj(_GZIP)
            if out:
                return out
        return b""
