"""Any trace file as a stream of batches, in memory that does not grow with the file.

Read are OTLP JSON lines and documents, OTLP protobuf (plain, or messages with a 4-byte big-endian length before
each, which may be compressed one by one, as the Collector's file exporter writes them), Zipkin v2 JSON and
Jaeger JSON; gzip and Zstandard around any of them. What a file holds decides, not its name.
"""

import glob
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from otel_tracead.errors import InputError
from otel_tracead.wire import _binary_files as binary
from otel_tracead.wire import _json_files as json_files
from otel_tracead.wire._sources import DAMAGE, FileProblem, NoTraces, decompressed
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.file_writer import TraceFileWriter, compression_and_format
from otel_tracead.wire.otlp import Envelopes

__all__ = ["Position", "TraceFileWriter", "expand", "read_file"]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"
_CUT = "get the whole file again"


@dataclass(frozen=True, slots=True)
class Position:
    """Where in a file a batch starts.

    Attributes:
        path: the file.
        line: from 1, of text; None of binary files, and where there is no place.
        byte: from 0, of binary files (after decompression); None of text.
    """

    path: Path
    line: int | None = None
    byte: int | None = None

    def __str__(self) -> str:
        if self.byte is not None:
            return f"{self.path}:byte {self.byte}"
        return f"{self.path}" if self.line is None else f"{self.path}:{self.line}"


def read_file(
    path: Path, envelopes: Envelopes | None = None, progress: Callable[[float], None] | None = None
) -> Iterator[tuple[Position, SpanBatch]]:
    """Read a trace file piece by piece.

    Args:
        path: whatever its name, its first bytes say what it is.
        envelopes: to share envelopes between files.
        progress: told after each batch the share of the file's bytes that was read.

    Yields:
        The place and its spans; never an empty batch.

    Raises:
        InputError: the file cannot be read, is empty, damaged, cut or no trace file; the message starts with
            file:line (or file:byte N), and what was whole before that place was given.
    """
    position = Position(path)
    try:
        with path.open("rb") as file, decompressed(file) as stream:
            size = path.stat().st_size
            for position, batch in _read(stream, path, envelopes or Envelopes()):
                if batch.groups:
                    yield position, batch
                if progress is not None and size:  # a pipe has none
                    progress(file.raw.tell() / size)
    except FileProblem as problem:
        raise InputError(f"{Position(path, problem.line, problem.byte)}: {problem}") from problem
    except DAMAGE as error:
        raise InputError(f"{position}: damaged or cut after here: {error}; {_CUT}") from error
    except OSError as error:
        raise InputError(f"{position}: cannot be read: {error.strerror or error}") from error


def expand(paths: Iterable[str]) -> list[Path]:
    """Find the files that *paths* mean: each a file, a folder (searched all the way down) or a glob.

    In a folder, files with the name of a trace file count; JSON that holds no traces (say, a list of faults that
    lies beside them) does not. What is named by itself counts in any case.

    Raises:
        InputError: a path means no file.
    """
    found: dict[Path, None] = {}
    for path in paths:
        files = _files(path)
        if not files:
            what = (
                "holds no trace file" if Path(path).is_dir() else "no such file or folder, and no glob that finds one"
            )
            raise InputError(f"{path}: {what}; name files like *.jsonl, *.json or *.pb, or these with .gz or .zst")
        found.update(dict.fromkeys(files))
    return list(found)


def _files(path: str) -> list[Path]:
    named = Path(path)
    if named.is_dir():
        inside = sorted(file for file in named.rglob("*") if file.is_file() and not file.name.startswith("."))
        return [file for file in inside if compression_and_format(file.name) and not _is_other_json(file)]
    if named.exists():
        return [named]
    matches = [Path(match) for match in sorted(glob.glob(path, recursive=True))]  # noqa: PTH207 (may be absolute)
    return [file for match in matches for file in (_files(str(match)) if match.is_dir() else [match])]


def _is_other_json(path: Path) -> bool:
    """Tell JSON that holds no traces; what is broken is left for `read_file` to complain about."""
    try:
        next(read_file(path), None)
    except InputError as error:
        return isinstance(error.__cause__, NoTraces)
    return False


def _read(stream: BufferedReader, path: Path, envelopes: Envelopes) -> Iterator[tuple[Position, SpanBatch]]:
    head = stream.peek(32)[:32]
    if not head:
        raise FileProblem("the file is empty; was it written to its end?", line=1)
    if _is_json(head, path):
        if head.startswith(_BYTE_ORDER_MARK):
            stream.read(len(_BYTE_ORDER_MARK))
        for line, batch in json_files.read(stream, envelopes):
            yield Position(path, line=line), batch
        return
    if binary.is_framed(head):
        batches = binary.read_framed(stream, envelopes)
    elif binary.is_plain(head):
        batches = binary.read_plain(stream, envelopes)
    else:
        raise NoTraces(f"starts with {head[:8]!r}: neither OTLP (JSON or protobuf), Zipkin nor Jaeger", byte=0)
    for byte, batch in batches:
        yield Position(path, byte=byte), batch


def _is_json(head: bytes, path: Path) -> bool:
    text = head.removeprefix(_BYTE_ORDER_MARK).lstrip(_SPACE)
    if not text:
        return True  # blank lines: the reader looks further
    if text[:1] not in (b"{", b"["):
        return False
    # A line end before a brace also is how a protobuf message with 123 bytes of resource spans starts.
    ambiguous = head[:2] == b"\n{" and head[2:3] in (b"\n", b"\x12")
    return not ambiguous or ".json" in path.name
