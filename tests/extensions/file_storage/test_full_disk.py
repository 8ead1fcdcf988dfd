"""The disk takes nothing: senders are told to come back, removals go on, and it works again by itself when the disk does."""

import asyncio
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from otel_tracead.errors import StartError
from otel_tracead.extensions.file_storage import spare, store
from otel_tracead.health import Status
from otel_tracead.metrics import STORAGE_DAMAGED, STORAGE_FAILURES
from otel_tracead.storage import Log, StorageUnavailable
from tests.extensions.file_storage.disk import NAME, Disk, running


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MiB."""
    path = tmp_path / "small"
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", path], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("only root mounts file systems")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


async def fill(log: Log) -> list[int]:
    """Append until the disk is really full: a first refusal may give room of the log of changes back."""
    numbers: list[int] = []
    refusals = 0
    while refusals < 3:
        try:
            numbers.append(await log.append(os.urandom(300_000)))
            refusals = 0
        except StorageUnavailable:
            refusals += 1
        assert len(numbers) < 200
    return numbers


async def test_a_full_disk_refuses_and_what_is_removed_makes_room(small: Path) -> None:
    """The disk is full of our own records: only their removal makes room, and needs some itself."""
    async with running(small) as disk:
        log = disk.store.log("queue")
        numbers = await fill(log)
        assert len(numbers) > 10
        assert disk.settings.health.event.status is Status.RECOVERABLE_ERROR
        assert disk.value(STORAGE_FAILURES) >= 1
        assert [entry.number for entry in await log.entries()] == numbers
        assert all([await log.read(number) for number in numbers])
        log.remove(numbers)
        number = await _again(log)
        assert [entry.number for entry in await log.entries()] == [number]
        await _well(disk)
        assert disk.value(STORAGE_DAMAGED) == 0
    async with running(small) as disk:
        assert len(await disk.contents()) == 1


async def test_a_disk_that_others_filled_works_again_by_itself(small: Path) -> None:
    async with running(small) as disk:
        log = disk.store.log("queue")
        first = await log.append(b"first")
        full = small / "others"
        with pytest.raises(OSError, match="space"):
            full.write_bytes(bytes(32 << 20))
        await fill(log)
        log.remove([first])
        full.unlink()
        number = await _again(log)
        assert [entry.number for entry in await log.entries()] == [number]
        await _well(disk)


async def test_a_process_that_was_killed_on_a_full_disk_starts_and_sends_what_is_there(small: Path) -> None:
    disk = Disk(small)
    await disk.extension.start()
    numbers = await fill(disk.store.log("queue"))
    disk.store.file.close()  # as the end of a process closes it
    async with running(small) as again:
        assert [entry.number for entry in await again.store.entries("queue")] == numbers
        again.store.remove(numbers)
        await _again(again.store.log("queue"))


async def test_on_a_disk_without_a_single_byte_it_starts_and_gives_what_is_there(small: Path) -> None:
    async with running(small) as disk:
        number = await disk.store.log("queue").append(b"x" * 50_000)
    with pytest.raises(OSError, match="space"):
        (small / "others").write_bytes(bytes(32 << 20))
    async with running(small) as disk:
        log = disk.store.log("queue")
        assert await disk.contents() == [b"x" * 50_000]
        await fill(log)
        assert await log.read(number) == b"x" * 50_000


async def test_it_works_again_when_nobody_asks(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_LOOK_AGAIN", 0.01)
    async with running(small) as disk:
        numbers = await fill(disk.store.log("queue"))
        disk.store.remove(numbers)
        await _well(disk)


async def _again(log: Log) -> int:
    """Append as a sender does that was told to come back."""
    for _ in range(400):
        try:
            return await log.append(b"again" * 1000)
        except StorageUnavailable:
            await asyncio.sleep(0.01)
    raise AssertionError("it never works again")


async def _well(disk: Disk) -> None:
    for _ in range(500):
        if disk.settings.health.event.status is Status.OK:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(disk.settings.health.event)


async def test_a_limit_on_the_size_of_files_is_like_a_full_disk(tmp_path: Path) -> None:
    async with running(tmp_path) as disk:
        log = disk.store.log("queue")
        before = await log.append(b"before")
        with _file_size(5 << 20):
            numbers = await fill(log)
            log.remove(numbers[:-1])
            await asyncio.sleep(0)
        number = await _again(log)
        assert [entry.number for entry in await log.entries()] == [before, numbers[-1], number]


@contextmanager
def _file_size(limit: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def _read_only(path: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", path], check=True)


async def test_what_is_on_a_read_only_disk_cannot_be_opened_and_that_is_said(small: Path) -> None:
    async with running(small) as disk:
        await disk.store.log("queue").append(b"x")
    with _read_only(small):
        async with running(small) as disk:
            with pytest.raises(StartError, match=r"exporter_out_\.db cannot be opened"):
                _ = disk.store
    async with running(small) as disk:
        assert await disk.contents() == [b"x"]


async def test_an_error_of_the_disk_is_tried_again_with_the_file_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as disk:
        log = disk.store.log("queue")
        await log.append(b"one")
        broken = tmp_path / "away"
        disk.store.file._file.drop()
        (tmp_path / NAME).rename(broken)
        (tmp_path / NAME).mkdir()  # what stands there cannot be opened
        with pytest.raises(StorageUnavailable):
            await log.append(b"two")
        with pytest.raises(StorageUnavailable):
            await log.entries()
        (tmp_path / NAME).rmdir()
        broken.rename(tmp_path / NAME)
        await log.append(b"three")
        assert await disk.contents() == [b"one", b"three"]


async def test_a_disk_that_hangs_holds_up_neither_the_loop_nor_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    monkeypatch.setattr(store, "_LAST_WORK", 0.05)
    let_go = threading.Event()
    async with running(tmp_path) as disk:
        log = disk.store.log("queue")
        monkeypatch.setattr(disk.store.file, "commit", lambda *_: let_go.wait(30))
        waiting = asyncio.create_task(log.append(b"x"))
        await asyncio.sleep(0.02)
        assert not waiting.done()
    let_go.set()
    await waiting


async def test_without_room_for_the_reserve_nothing_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as disk:
        log = disk.store.log("queue")
        await log.append(b"one")
        disk.store.file._spare.give_up()
        monkeypatch.setattr(spare, "SIZE", shutil.disk_usage(tmp_path).total * 2)
        with pytest.raises(StorageUnavailable, match="no room for a reserve"):
            await log.append(b"two")
        monkeypatch.setattr(spare, "SIZE", 1 << 20)
        await log.append(b"three")
        assert await disk.contents() == [b"one", b"three"]
