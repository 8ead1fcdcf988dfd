"""Bytes become lines, in bounded memory; pure."""

from collections.abc import Iterator
from typing import NamedTuple


class Line(NamedTuple):
    """One line.

    Attributes:
        number: from 1, counted from where reading began.
        text: without its line end; None if it was longer than allowed.
    """

    number: int
    text: bytes | None


class LineSplitter:
    """Cuts what it is fed into lines.

    Args:
        limit: bytes of a line; of a longer one nothing is kept.
        whole: whether the first byte begins a line; else all up to the first line end is left out.

    Attributes:
        number: of the line that has begun.
    """

    def __init__(self, limit: int, *, whole: bool = True) -> None:
        self.number = 1
        self._limit = limit
        self._rest = bytearray()
        self._too_long = False
        self._skipping = not whole

    @property
    def rest(self) -> bytes:
        """What of a line has come so far; nothing if it will not be taken."""
        return b"" if self._too_long or self._skipping else bytes(self._rest)

    def feed(self, data: bytes) -> Iterator[Line]:
        """Take *data*, and give the lines that end in it; blank ones are counted and left out."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            line = self._end(data[start:end])
            if line is not None:
                yield line
            start = end + 1
        self._keep(data[start:])

    def take_rest(self) -> Line:
        """Give what of a line has come so far as if it had ended."""
        line = Line(self.number, bytes(self._rest))
        self._rest.clear()
        return line

    def _end(self, last: bytes) -> Line | None:
        self._keep(last)
        line = Line(self.number, None if self._too_long else bytes(self._rest))
        blank = self._skipping or (not self._too_long and not self._rest.strip())
        self._rest.clear()
        self._too_long = self._skipping = False
        self.number += 1
        return None if blank else line

    def _keep(self, data: bytes) -> None:
        if self._too_long or self._skipping:
            return
        if len(self._rest) + len(data) > self._limit:
            self._too_long = True
            self._rest.clear()
        else:
            self._rest += data
