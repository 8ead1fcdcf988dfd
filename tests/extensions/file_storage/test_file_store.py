"""The storage as components see it: order, numbers, removal, claim, several files, its configuration."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from otel_tracead.component import Component, Kind, Revisable, Settings
from otel_tracead.errors import StartError, TooLarge
from otel_tracead.extensions.file_storage import FACTORY, FileStorage, FileStorageConfig, store
from otel_tracead.extensions.file_storage.database_file import Unavailable
from otel_tracead.extensions.file_storage.extension import file_name
from otel_tracead.metrics import STORAGE_BYTES, STORAGE_COMMITS, STORAGE_RECORDS, STORAGE_SIZE, STORAGE_STORED
from otel_tracead.storage import Entry, Log, Storage, StorageUnavailable, Store
from tests.extensions.file_storage.disk import NAME, Disk, files, running


async def test_it_is_what_components_ask_for(tmp_path: Path) -> None:
    async with running(tmp_path) as disk:
        assert isinstance(disk.extension, Storage)
        assert isinstance(disk.extension, Component)
        assert isinstance(disk.extension, Revisable)
        one: Store = disk.store
        log: Log = one.log("queue")
        assert one is disk.store
        assert log is one.log("queue")


async def test_records_come_back_in_order_and_by_log(tmp_path: Path) -> None:
    async with running(tmp_path) as disk:
        queue, other = disk.store.log("queue"), disk.store.log("other")
        numbers = [await queue.append(b"a", 7), await other.append(b"b" * 100_000), await queue.append(b"", -1)]
        assert numbers == sorted(numbers)
        assert await queue.entries() == [Entry(numbers[0], 7, 1), Entry(numbers[2], -1, 0)]
        queue.remove([numbers[0]])
        assert await queue.entries() == [Entry(numbers[2], -1, 0)]
        assert await queue.read(numbers[0]) is None
    async with running(tmp_path) as disk:
        assert await disk.contents() == [b""]
        assert await disk.contents("other") == [b"b" * 100_000]
        assert await disk.store.log("queue").append(b"c") > numbers[2]


async def test_numbers_are_never_used_twice_even_if_the_last_ones_are_gone(tmp_path: Path) -> None:
    seen: set[int] = set()
    for _ in range(4):
        async with running(tmp_path) as disk:
            log = disk.store.log("queue")
            numbers = [await log.append(b"x") for _ in range(3)]
            log.remove(numbers)
        assert not seen & set(numbers)
        assert min(numbers) > max(seen, default=0)
        seen |= set(numbers)


async def test_calls_are_stored_numbered_and_woken_in_their_order(tmp_path: Path) -> None:
    async with running(tmp_path) as disk:
        woken: list[int] = []

        async def append(name: int) -> None:
            number = await disk.store.log("queue" if name % 2 else "other").append(b"%d" % name, name)
            woken.append(name)
            assert number == name + 1

        await asyncio.gather(*(append(name) for name in range(300)))
        assert woken == list(range(300))
        assert disk.value(STORAGE_STORED) == 300
        assert disk.value(STORAGE_COMMITS) < 30  # what waits makes one transaction


async def test_a_removal_is_never_on_disk_before_what_came_earlier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Groups are cut anywhere; each state that a crash can leave must keep the order."""
    monkeypatch.setattr(store, "_GROUP", 2)
    async with running(tmp_path) as disk:
        log = disk.store.log("queue")
        first = await log.append(b"request")
        states: list[set[bytes | None]] = []
        commit = disk.store.file.commit

        def watched(*arguments: object) -> None:
            commit(*arguments)  # type: ignore[arg-type]
            states.append({disk.store.file.read(entry.number) for entry in disk.store.file.entries("queue")})

        disk.store.file.commit = watched  # type: ignore[method-assign]
        marks = [asyncio.create_task(log.append(b"mark %d" % number)) for number in range(5)]
        await asyncio.sleep(0)
        log.remove([first])
        await asyncio.gather(*marks)
        await log.append(b"end")
        assert all(b"request" in state or {b"mark %d" % number for number in range(5)} <= state for state in states)
        assert b"request" not in states[-1]


async def test_a_cancelled_append_leaves_no_record(tmp_path: Path) -> None:
    async with running(tmp_path) as disk:
        log = disk.store.log("queue")
        for wait in range(4):
            task = asyncio.create_task(log.append(b"gone"))
            for _ in range(wait):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await log.append(b"here")
    async with running(tmp_path) as disk:
        assert await disk.contents() == [b"here"]


async def test_one_owns_what_is_stored_and_the_next_waits(tmp_path: Path) -> None:
    async with running(tmp_path) as disk:
        order: list[str] = []

        async def own(name: str, until: asyncio.Event) -> None:
            async with disk.store.claim():
                order.append(name)
                await until.wait()

        gone = asyncio.Event()
        first = asyncio.create_task(own("first", gone))
        second = asyncio.create_task(own("second", gone))
        await asyncio.sleep(0.01)
        assert order == ["first"]
        gone.set()
        await asyncio.gather(first, second)
        assert order == ["first", "second"]


@given(st.lists(st.tuples(st.sampled_from(["append", "remove", "restart"]), st.integers(0, 5)), max_size=25))
@settings(max_examples=10, deadline=None)
def test_it_holds_what_a_dictionary_would(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    path = tmp_path_factory.mktemp("store")

    async def run() -> None:
        model: dict[int, bytes] = {}
        disk = Disk(path)
        await disk.extension.start()
        for step, value in steps:
            log = disk.store.log("queue")
            if step == "append":
                record = bytes([value]) * (value * 3000)
                model[await log.append(record, value)] = record
            elif step == "remove" and model:
                gone = list(model)[: value + 1]
                log.remove(gone)
                for number in gone:
                    del model[number]
            elif step == "restart":
                await disk.extension.shutdown()
                disk = Disk(path)
                await disk.extension.start()
        assert {entry.number: entry.size for entry in await disk.store.entries("queue")} == {
            number: len(record) for number, record in model.items()
        }
        assert await disk.contents() == list(model.values())
        await disk.extension.shutdown()

    asyncio.run(run())


async def test_metrics_and_files(tmp_path: Path) -> None:
    async with running(tmp_path) as disk:
        log = disk.store.log("queue")
        await log.append(b"x" * 1000)
        log.remove([await log.append(b"y" * 2000)])
        await log.append(b"z")
        assert (disk.value(STORAGE_STORED), disk.value(STORAGE_BYTES), disk.value(STORAGE_RECORDS)) == (3, 3001, 2)
        assert disk.value(STORAGE_SIZE) > 8 << 20
        assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    assert files(tmp_path) == [NAME, f"{NAME}.lock", f"{NAME}.spare"]


async def test_files_shrink_when_what_they_held_is_gone(tmp_path: Path) -> None:
    async with running(tmp_path) as disk:
        log = disk.store.log("queue")
        numbers = [await log.append(bytes(1 << 20)) for _ in range(40)]
        size = await _size_of(disk, tmp_path, lambda size: size > 40 << 20)
        log.remove(numbers)
        assert await _size_of(disk, tmp_path, lambda size: size < 20 << 20) < size / 2


async def _size_of(disk: Disk, path: Path, enough: Callable[[int], bool]) -> int:
    for _ in range(1000):
        size = (path / NAME).stat().st_size + (path / f"{NAME}-wal").stat().st_size
        if enough(size):
            return size
        await asyncio.sleep(0.01)
    raise AssertionError(f"{size} bytes, {disk.store.file.records} records")


async def test_what_is_too_large_or_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_RECORD", 1000)
    monkeypatch.setattr(store, "_MOST_WAITING", 1500)
    async with running(tmp_path) as disk:
        log = disk.store.log("queue")
        with pytest.raises(TooLarge):
            await log.append(bytes(1001))
        waiting = asyncio.create_task(log.append(bytes(1000)))
        await asyncio.sleep(0)
        with pytest.raises(StorageUnavailable, match="keep up"):
            await log.append(bytes(1000))
        await waiting
        await log.append(bytes(1000))
    with pytest.raises(StorageUnavailable, match="closed"):
        await log.append(b"late")
    log.remove([1])


async def test_a_reload_may_change_fsync_but_not_the_directory(tmp_path: Path) -> None:
    async with running(tmp_path) as disk:
        log = disk.store.log("queue")
        await log.append(b"before")
        async with disk.extension.revision(FileStorageConfig(directory=tmp_path, fsync=True), disk.settings):
            pass
        await log.append(b"after")
        database = disk.store.file._file._database
        assert database is not None
        assert database.execute("PRAGMA synchronous").fetchone() == (2,)
        with pytest.raises(StartError, match="cannot be moved"):
            async with disk.extension.revision(FileStorageConfig(directory=tmp_path / "other"), disk.settings):
                pass
        assert await disk.contents() == [b"before", b"after"]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("exporter_otlp_grpc_", "exporter_otlp_grpc_.db"),
        ("exporter_otlp_grpc_a/b~c d_traces", "exporter_otlp_grpc_a~002Fb~007Ec~0020d_traces.db"),
        ("processor_tracead_../../etc", "processor_tracead_..~002F..~002Fetc.db"),
    ],
)
def test_names_of_files_are_the_collectors_with_an_ending(key: str, name: str) -> None:
    assert file_name(key) == name


async def test_two_components_never_share_a_file(tmp_path: Path) -> None:
    async with running(tmp_path) as disk:
        store = disk.extension.store
        first = store(Kind.PROCESSOR, "tracead/a", "traces/b_traces")
        assert store(Kind.PROCESSOR, "tracead/a", "traces/b_traces") is first
        with pytest.raises(StartError, match='would share the file of "tracead/a"'):
            store(Kind.PROCESSOR, "tracead/a_traces/b", "traces")
        others = [
            store(Kind.PROCESSOR, "tracead/a", "traces"),
            store(Kind.PROCESSOR, "tracead", "traces"),
            store(Kind.EXPORTER, "tracead/a", "traces"),
        ]
        assert len({id(one) for one in (first, *others)}) == len({one.file.path for one in (first, *others)}) == 4


def test_a_long_name_is_a_digest() -> None:
    assert len(file_name("x" * 500)) == 64 + 3


async def test_the_directory_is_made_only_where_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    config = FileStorageConfig(directory=path)
    given_ = Settings(id="disk", kind=Kind.EXTENSION)
    assert FACTORY.check(config, given_) == [f"directory: {path} must exist; make it, or set create_directory"]
    with pytest.raises(StartError, match="must exist"):
        await FileStorage(config, given_).start()
    making = FileStorageConfig(directory=path, create_directory=True, directory_permissions="0700")
    assert FACTORY.check(making, given_) == []
    await FileStorage(making, given_).start()
    assert path.stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="not a directory"):
        await FileStorage(FileStorageConfig(directory=tmp_path / "file"), given_).start()


@pytest.mark.parametrize(
    "written", [{"directory_permissions": 750}, {"directory_permissions": "999"}, {"timeout": 0}, {"fsync": "yes"}]
)
def test_what_is_wrong_is_refused(written: dict) -> None:
    with pytest.raises(ValidationError):
        FileStorageConfig.model_validate(written)


async def test_once_it_is_closed_nothing_opens_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_UPKEEP", 0.0)
    for _ in range(20):
        async with running(tmp_path) as disk:
            await disk.store.log("queue").append(b"x")
        with pytest.raises(Unavailable, match="closed"):
            disk.store.file.upkeep()
        assert f"{NAME}-wal" not in files(tmp_path)


async def test_a_second_one_on_the_same_file_is_told_so(tmp_path: Path) -> None:
    async with running(tmp_path) as disk:
        await disk.store.log("queue").append(b"mine")
        async with running(tmp_path, timeout="10ms") as other:
            with pytest.raises(StartError, match="is in use: another process, or another extension, has it"):
                _ = other.store
            assert other.extension.store(Kind.EXPORTER, "another") is not None
        assert await disk.contents() == [b"mine"]
