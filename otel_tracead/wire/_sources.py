"""Files opened for reading, decompressed as they are read, in bounded memory."""

import gzip
import io
import zlib
from collections.abc import Iterator
from typing import IO

import zstandard

DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError)
"""What reading a damaged compressed file raises."""

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
LIMIT = 256 << 20
"""Bytes that one line, element or message may have."""

_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20
_ZSTD_BITE = 256  # of these bytes at most 8 MiB can come, whatever they say


class FileProblem(Exception):  # noqa: N818 (becomes an InputError with the file's name)
    """What is wrong with a file's content, and where.

    Attributes:
        line: from 1, of text.
        byte: from 0, of binary files.
    """

    def __init__(self, what: str, *, line: int | None = None, byte: int | None = None) -> None:
        super().__init__(what)
        self.line = line
        self.byte = byte


class NoTraces(FileProblem):
    """Valid, but no trace file that we know."""


def decompressed(file: io.BufferedReader) -> io.BufferedReader:
    """Give *file* as it is, or, where it starts like gzip or Zstandard, what comes out of it. Closing that closes *file*.

    Reading raises OSError and what `DAMAGE` lists.
    """
    magic = file.peek(4)
    if magic.startswith(_GZIP_MAGIC):
        chunks = _gunzip(file)
    elif magic.startswith(ZSTD_MAGIC):
        chunks = unzstd(file)
    else:
        return file
    return io.BufferedReader(_Chunks(chunks, file), _CHUNK)


def _gunzip(file: IO[bytes]) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=file) as unzipped:
        while chunk := unzipped.read1(_CHUNK):  # not `read`, which forgets what came before an error
            yield chunk


def unzstd(file: IO[bytes]) -> Iterator[bytes]:
    """Decompress Zstandard frames; each chunk is at most a few MiB. Raises EOFError if the last one is cut."""
    frame = None
    while data := file.read(_ZSTD_BITE):
        while data:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            chunk = frame.decompress(data)
            data = frame.unused_data if frame.eof else b""
            frame = None if frame.eof else frame
            if chunk:
                yield chunk
    if frame is not None:
        raise EOFError("Compressed file ended before the end-of-frame marker was reached")


class _Chunks(io.RawIOBase):
    """A stream of the chunks; what was read before an error comes before the error."""

    def __init__(self, chunks: Iterator[bytes], file: IO[bytes]) -> None:
        self._chunks = chunks
        self._file = file
        self._rest = memoryview(b"")
        self._error: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, target: bytearray | memoryview) -> int:  # type: ignore[override]
        filled = 0
        while filled < len(target):
            if not self._rest:
                self._rest = memoryview(self._next())
            if not self._rest:
                break
            taken = min(len(target) - filled, len(self._rest))
            target[filled : filled + taken] = self._rest[:taken]
            self._rest = self._rest[taken:]
            filled += taken
        if not filled and self._error is not None:
            raise self._error
        return filled

    def _next(self) -> bytes:
        if self._error is None:
            try:
                return next(self._chunks, b"")
            except (OSError, *DAMAGE) as error:
                self._error = error
        return b""

    def close(self) -> None:
        self._file.close()
        super().close()
