"""Batches written to a trace file in the format that its name says."""

import gzip
import os
import re
import stat
import struct
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast

import zstandard

from otel_tracead.errors import InputError
from otel_tracead.wire import otlp, otlp_json
from otel_tracead.wire.batch import SpanBatch

_NAME = re.compile(r".+(\.jsonl|\.ndjson|\.json|\.pb|\.binpb)(\.gz|\.zst)?")
_JSON_LINES, _PROTOBUF = ".jsonl", ".pb"
_MODE = 0o600  # spans may hold what is not for everybody


def compression_and_format(name: str) -> tuple[str, str] | None:
    """Split the end of a trace file's name into ("", ".gz" or ".zst") and (".jsonl", ".pb", ...); None of other names."""
    match = _NAME.fullmatch(name)
    return (match[2] or "", match[1]) if match else None


class TraceFileWriter:
    """Writes batches as OTLP JSON lines (`.jsonl`) or length-framed OTLP protobuf (`.pb`), each also `.gz` or `.zst`.

    What it writes stands under the file's name only after `close`, and whole; until then it is `NAME.part`.
    As a context manager it closes, or aborts after an exception.

    Args:
        path: the file; an older one is replaced on `close`.

    Raises:
        InputError: the name says no format that can be written, or the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        found = compression_and_format(path.name)
        if found is None or found[1] not in (_JSON_LINES, _PROTOBUF):
            raise InputError(f"{path}: unknown format; name it *.jsonl or *.pb, or these with .gz or .zst")
        compression, self._format = found
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        try:
            self._file = _create(self._part, compression)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error

    def write(self, batch: SpanBatch) -> None:
        """Add a batch: one line, or one message; nothing for an empty one.

        Raises:
            InputError: the disk says no.
        """
        if not batch.groups:
            return
        if self._format == _PROTOBUF:
            message = otlp.encode_request(batch)
            record = struct.pack(">I", len(message)) + message
        else:
            record = otlp_json.encode_request(batch) + b"\n"
        self._do(lambda: self._file.write(record))

    def close(self) -> None:
        """Finish the file. Idempotent. Raises `InputError` if the disk says no."""
        if not self._file.closed:
            self._do(self._file.close)
            self._do(lambda: os.replace(self._part, self._path))  # noqa: PTH105 (atomic, as its name says)

    def abort(self) -> None:
        """Leave no file behind."""
        with suppress(OSError):
            self._file.close()
        self._part.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _do(self, action: object) -> None:
        try:
            action()  # type: ignore[operator]
        except OSError as error:
            self.abort()
            raise InputError(f"{self._path}: cannot be written: {error.strerror or error}") from error


def _create(path: Path, compression: str) -> IO[bytes]:
    _make_private(path)
    if compression == ".gz":
        return cast("IO[bytes]", gzip.GzipFile(path, "wb", mtime=0))
    file = path.open("wb")
    if compression == ".zst":
        return cast("IO[bytes]", zstandard.ZstdCompressor().stream_writer(file))
    return file


def _make_private(path: Path) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, _MODE)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fchmod(descriptor, _MODE)  # one that was left behind
    finally:
        os.close(descriptor)
