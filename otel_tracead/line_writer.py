"""Lines to standard output, standard error and files, without ever waiting for whoever reads them.

A pipe that nobody reads (a log shipper that is stuck, a parent that does not look) blocks who writes to it. So each
output has a thread of its own that writes, and a bounded queue before it: what does not fit is left out and counted.
"""

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TextIO
from weakref import WeakKeyDictionary, ref

_MOST: Final = 4 << 20
_AT_ONCE: Final = 64 << 10
_IDLE: Final = 10.0


class _Gap:
    """Where lines were left out: how many, and in which words that is said."""

    def __init__(self, said: Callable[[int], str]) -> None:
        self.lines = 0
        self._said = said

    def __str__(self) -> str:
        return self._said(self.lines)


class LineWriter:
    """Writes lines in their order, in a daemon thread that is there while there is something to write.

    Args:
        write: writes text and returns when it is out; what fails is lost, since there is no other place to say it.
        most: characters that may wait; one line more than that may.

    Attributes:
        left_out: lines that found no room so far.
    """

    def __init__(self, write: Callable[[str], object], most: int = _MOST) -> None:
        self.left_out = 0
        self._write = write
        self._most = most
        self._waiting: deque[str | _Gap] = deque()
        self._characters = 0
        self._writing = False
        self._thread: threading.Thread | None = None
        # Re-entrant, as a condition's own lock is: what the collector finalizes meanwhile may log, too.
        self._changed = threading.Condition()

    def put(self, line: str, gap: Callable[[int], str]) -> None:
        """Have *line* written, with its end; never waits.

        Args:
            line: without a line break.
            gap: the line that stands for so many lines, should this one be the first of some that find no room.
        """
        with self._changed:
            if self._characters < self._most:
                self._waiting.append(line)
                self._characters += len(line) + 1
            else:
                self.left_out += 1
                last = self._waiting[-1]
                if not isinstance(last, _Gap):
                    last = _Gap(gap)
                    self._waiting.append(last)
                last.lines += 1
            self._have_written()

    def flush(self, seconds: float) -> bool:
        """Wait until everything is written, *seconds* at most, and say whether it is."""
        with self._changed:
            if self._waiting:
                self._have_written()
            return self._changed.wait_for(lambda: not self._waiting and not self._writing, seconds)

    def _have_written(self) -> None:
        if self._thread is not None:
            self._changed.notify_all()
            return
        thread = threading.Thread(target=self._run, name="lines", daemon=True)
        with suppress(RuntimeError):  # no thread can be made now; the next line tries again
            thread.start()
            self._thread = thread

    def _run(self) -> None:
        while text := self._next():
            with suppress(OSError, ValueError):
                self._write(text)

    def _next(self) -> str:
        """Wait for lines and take some; nothing when none came for a while, and the thread ends."""
        with self._changed:
            self._writing = False
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: self._waiting, _IDLE):
                self._thread = None
                return ""
            taken: list[str] = []
            length = 0
            while self._waiting and length < _AT_ONCE:
                line = self._waiting.popleft()
                if not isinstance(line, _Gap):
                    self._characters -= len(line) + 1
                taken.append(f"{line}\n")
                length += len(taken[-1])
            self._writing = True
            return "".join(taken)


_streams: WeakKeyDictionary[TextIO, LineWriter] = WeakKeyDictionary()
_files: dict[Path, LineWriter] = {}


def to_stream(stream: TextIO) -> LineWriter:
    """Give what writes to *stream*, one for everybody in this process: lines do not cut into each other."""
    return _streams.setdefault(stream, LineWriter(_Stream(stream)))


def to_file(path: Path) -> LineWriter:
    """Give what appends to the file *path*, one for everybody in this process.

    It is opened anew each time, so that others may rotate it.
    """

    def append(text: str) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)

    return _files.setdefault(path, LineWriter(append))


def left_out() -> int:
    """Count the lines that found no room, of all outputs of this process."""
    return sum(writer.left_out for writer in _writers())


def flush(seconds: float) -> bool:
    """Wait until all outputs of this process have everything, *seconds* at most, and say whether they have."""
    deadline = time.monotonic() + seconds
    done = [writer.flush(max(0.0, deadline - time.monotonic())) for writer in _writers()]
    return all(done)


def _writers() -> list[LineWriter]:
    return [*_streams.values(), *_files.values()]


class _Stream:
    """Writes to a stream's file descriptor where it has one.

    Python's own buffer of the stream has a lock: who hangs in it would keep the interpreter from ending.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = ref(stream)

    def __call__(self, text: str) -> None:
        stream = self._stream()
        if stream is None:
            return
        try:
            descriptor = stream.fileno()
        except (OSError, ValueError):  # in memory, or closed
            stream.write(text)
            stream.flush()
            return
        left = memoryview(text.encode(stream.encoding or "utf-8", "backslashreplace"))
        while left:
            try:
                left = left[os.write(descriptor, left) :]
            except BlockingIOError:  # whoever shares it made it so
                select.select([], [descriptor], [], 1.0)
