"""Unused room of a file goes back to the file system while the file is in use, and nothing else is left at the end."""

import asyncio
from pathlib import Path

import pytest

from otel_tracead.extensions.file_storage import record_file, statements, store
from tests.extensions.file_storage.disk import NAME, files, running


async def test_a_file_shrinks_while_records_come_and_go_without_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_UPKEEP", 0.001)
    monkeypatch.setattr(store, "_UPKEEP_MORE", 0.001)
    monkeypatch.setattr(record_file, "_FREE", 1 << 20)
    monkeypatch.setattr(statements, "STEP", 1 << 20)

    def size() -> int:
        return sum(found.stat().st_size for found in tmp_path.glob(f"{NAME}*") if found.suffix != ".spare")

    async with running(tmp_path) as disk:
        log = disk.store.log("queue")
        under_way: set[asyncio.Task[None]] = set()

        async def come_and_go() -> None:
            log.remove([await log.append(b"x")])

        async def load() -> None:
            while True:  # more than goes into a commit: there is no moment at which nothing waits
                while len(under_way) < 2000:
                    task = asyncio.create_task(come_and_go())
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                await asyncio.sleep(0)

        loading = asyncio.create_task(load())
        numbers = await asyncio.gather(*(log.append(b"x" * 500_000) for _ in range(30)))
        assert size() > 12 << 20
        log.remove(numbers)
        try:
            async with asyncio.timeout(10):
                while size() > 4 << 20:  # noqa: ASYNC110 (a file has no event)
                    await asyncio.sleep(0.01)
            assert not loading.done()
        finally:
            loading.cancel()
            await asyncio.wait([loading, *under_way])
        assert await log.entries() == []
    assert files(tmp_path) == [NAME, f"{NAME}.lock", f"{NAME}.spare"]


async def test_what_is_removed_in_the_moment_in_which_the_store_closes_is_gone(tmp_path: Path) -> None:
    async with running(tmp_path) as disk:
        log = disk.store.log("queue")

        async def come_and_go() -> None:
            log.remove([await log.append(b"x")])

        last = asyncio.create_task(come_and_go())
        await asyncio.sleep(0)
        await disk.store.close()
        await last
    assert files(tmp_path) == [NAME, f"{NAME}.lock", f"{NAME}.spare"]
    async with running(tmp_path) as disk:
        assert await disk.contents() == []
