"""A store in a folder for tests, and a child process that uses one until it is killed."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from otel_tracead.component import Kind, Settings
from otel_tracead.extensions.file_storage import FileStorage, FileStorageConfig
from otel_tracead.extensions.file_storage.store import FileStore
from otel_tracead.telemetry import Telemetry

NAME = "exporter_out_.db"


class Disk:
    """An extension that is running, and its one store.

    Attributes:
        settings: where its health and its metrics are.
    """

    def __init__(self, path: Path, **written: object) -> None:
        self.settings = Settings(id="disk", kind=Kind.EXTENSION, telemetry=Telemetry())
        self.extension = FileStorage(FileStorageConfig(directory=path, **written), self.settings)

    @property
    def store(self) -> FileStore:
        return self.extension.store(Kind.EXPORTER, "out")

    def value(self, metric: object) -> float:
        return self.settings.telemetry.value(metric, "disk", "exporter_out_")  # type: ignore[arg-type]

    async def contents(self, log: str = "queue") -> list[bytes | None]:
        return [await self.store.read(entry.number) for entry in await self.store.entries(log)]


@asynccontextmanager
async def running(path: Path, **written: object) -> AsyncIterator[Disk]:
    disk = Disk(path, **written)
    await disk.extension.start()
    try:
        yield disk
    finally:
        await disk.extension.shutdown()


def files(path: Path) -> list[str]:
    """Names of what lies in a folder, sorted."""
    return sorted(found.name for found in path.iterdir())


def body(number: int, size: int = 3000) -> bytes:
    """What the child stores: some are small, some go over many pages."""
    return number.to_bytes(4) * (size * (1 + 9 * (number % 7 == 0)) // 4)


async def _child(path: Path, fsync: str) -> None:
    """Append and remove for ever; write a line to standard output for what was acknowledged, and before a removal."""
    async with running(path, fsync=fsync == "fsync") as disk:
        log = disk.store.log("queue")
        first = max((entry.note for entry in await log.entries()), default=0) + 1

        async def work(offset: int) -> None:
            kept: list[tuple[int, int]] = []
            for name in range(first + offset, 1 << 31, 8):
                number = await log.append(body(name), name)
                os.write(1, f"+{name} {number}\n".encode())
                kept.append((name, number))
                if len(kept) > 4:
                    gone, number = kept.pop(0)
                    os.write(1, f"-{gone} {number}\n".encode())
                    log.remove((number,))

        await asyncio.gather(*(work(offset) for offset in range(8)))


if __name__ == "__main__":
    asyncio.run(_child(Path(sys.argv[1]), sys.argv[2]))
