"""Files opened for reading, decompressed as they are read, in bounded memory."""

import gzip
import io
import zlib
from collections.abc import Iterator
from typing import IO, Protocol, cast

import zstandard

DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError)
"""What reading a damaged compressed file raises."""

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
LIMIT = 256 << 20
"""Bytes that one line, element or message may have."""

_GZIP_MAGIC = b"\x1f\x8b"
_LARGEST_RATIO = 1000
_SMALL = 16 << 20
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
    packed = _Measured(file)
    if magic.startswith(_GZIP_MAGIC):
        chunks = _gunzip(packed)
    elif magic.startswith(ZSTD_MAGIC):
        chunks = unzstd(packed)
    else:
        return file
    return io.BufferedReader(_Chunks(_no_bomb(chunks, packed), file), _CHUNK)


def largest_unpacked(packed: int) -> int:
    """Say how many bytes may come out of so many: much more than of traces, much less than of what only takes memory."""
    return max(_SMALL, _LARGEST_RATIO * packed)


class Readable(Protocol):
    """What compressed bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """Give up to *size* bytes, none at the end."""


class _Measured:
    """Counts the bytes that are read; a pipe cannot say where it is."""

    def __init__(self, file: Readable) -> None:
        self.size = 0
        self._file = file

    def read(self, size: int, /) -> bytes:
        data = self._file.read(size)
        self.size += len(data)
        return data


def _no_bomb(chunks: Iterator[bytes], packed: _Measured) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > largest_unpacked(packed.size):
            raise FileProblem(
                f"unpacks to more than {_LARGEST_RATIO} times its size; if that is right, unpack it first"
            )
        yield chunk


def _gunzip(file: Readable) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=cast("IO[bytes]", file)) as unzipped:  # it only reads
        while chunk := unzipped.read1(_CHUNK):  # not `read`, which forgets what came before an error
            yield chunk


def unzstd(file: Readable) -> Iterator[bytes]:
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
            except (OSError, FileProblem, *DAMAGE) as error:
                self._error = error
        return b""

    def close(self) -> None:
        self._file.close()
        super().close()
