"""Writes batches to a file in a thread of its own: disks stall, the event loop must not."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import zstandard

from otel_tracead.daemon import DaemonThread
from otel_tracead.errors import RetryableError
from otel_tracead.wire import otlp, otlp_json
from otel_tracead.wire.batch import SpanBatch
from otel_tracead_exporters.file.config import FileConfig
from otel_tracead_exporters.file.rotating import RotatingFile

_LENGTH_BYTES: Final = 4
_CLOSING: Final = 5.0


class FileSender:
    """A `Sender` whose backend is a file."""

    def __init__(self, config: FileConfig) -> None:
        self._path = config.path
        self._folder_mode = int(config.directory_permissions, 8) if config.create_directory else None
        self._file = RotatingFile(config.path, append=config.append, rotation=config.rotation)
        self._message = _encoder(config)
        self._thread: DaemonThread | None = None

    async def start(self) -> None:
        """Open the file.

        Raises:
            OSError: it cannot be opened; says which.
        """
        thread = DaemonThread("file-exporter")
        try:
            await asyncio.wrap_future(thread.submit(self._open))
        except OSError as error:
            thread.close()
            raise OSError(error.errno, f"cannot write to {self._path}: {error.strerror}") from error
        self._thread = thread

    async def send(self, batch: SpanBatch) -> None:
        """Write *batch* (see `otel_tracead.exporting.Sender`).

        Raises:
            RetryableError: the disk is full or fails; the file is as it was before.
        """
        if self._thread is None:
            raise RetryableError("not started")
        await asyncio.wrap_future(self._thread.submit(lambda: self._write(batch)))

    async def shutdown(self) -> None:
        """Finish what is being written and close the file; a disk that hangs is left behind after a moment."""
        thread, self._thread = self._thread, None
        if thread is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSING):
                    await asyncio.wrap_future(thread.submit(self._file.close))
            thread.close()

    def _open(self) -> None:
        if self._folder_mode is not None:
            missing = [folder for folder in self._path.parents if not folder.exists()]
            for folder in reversed(missing):
                folder.mkdir(self._folder_mode, exist_ok=True)
        self._file.open()

    def _write(self, batch: SpanBatch) -> None:
        message = self._message(batch)
        try:
            self._file.write(message)
        except OSError as error:
            raise RetryableError(f"cannot write to {self._path}: {error.strerror}") from error


def _encoder(config: FileConfig) -> Callable[[SpanBatch], bytes]:
    encode = otlp_json.encode_request if config.format == "json" else otlp.encode_request
    if config.compression == "zstd":
        compress = zstandard.ZstdCompressor(level=config.compression_params.level or 3).compress
        return lambda batch: _with_length(compress(encode(batch)))
    if config.format == "proto":
        return lambda batch: _with_length(encode(batch))
    return lambda batch: encode(batch) + b"\n"


def _with_length(message: bytes) -> bytes:
    return len(message).to_bytes(_LENGTH_BYTES, "big") + message
