"""Files that are not what had been written: found, moved aside, told of, and everything that can be read is kept."""

import asyncio
import os
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from otel_tracead.errors import StartError
from otel_tracead.extensions.file_storage import database
from otel_tracead.health import Status
from otel_tracead.metrics import STORAGE_DAMAGED
from tests.extensions.file_storage.disk import NAME, body, files, running

RECORDS = 120


async def filled(path: Path) -> None:
    async with running(path) as disk:
        log = disk.store.log("queue")
        await asyncio.gather(*(log.append(body(number), number) for number in range(1, RECORDS + 1)))


def flip(path: Path, *places: int) -> None:
    with path.open("r+b") as file:
        for place in places:
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ 0xFF]))


def aside(path: Path) -> list[str]:
    return [name for name in files(path) if ".damaged-" in name]


def garbage(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(100_000))


def foreign(path: Path) -> None:
    path.unlink()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE records (number INTEGER PRIMARY KEY)")
    other.commit()
    other.close()


WHOLE_FILES: dict[str, tuple[Callable[[Path], object], int]] = {
    "garbage": (garbage, 0),
    "foreign": (foreign, 0),
    "empty": (lambda path: os.truncate(path, 0), 0),
    "no header": (lambda path: flip(path, *range(16)), 0),
    "one page": (lambda path: os.truncate(path, 4096), 0),
    "half": (lambda path: os.truncate(path, path.stat().st_size // 2), 5),
    "a page in the middle": (lambda path: flip(path, *range(100 * 4096, 101 * 4096)), RECORDS - 30),
}


@pytest.mark.parametrize("kind", WHOLE_FILES)
async def test_a_damaged_file_is_moved_aside_and_what_can_be_read_is_kept(tmp_path: Path, kind: str) -> None:
    await filled(tmp_path)
    spoil, least = WHOLE_FILES[kind]
    spoil(tmp_path / NAME)
    with capture_logs() as logs:
        async with running(tmp_path) as disk:
            kept = await disk.store.entries("queue")
            assert [body(entry.note) for entry in kept] == await disk.contents()
            assert least <= len(kept) < RECORDS
            assert len({entry.number for entry in kept}) == len(kept)
            assert aside(tmp_path)
            assert disk.value(STORAGE_DAMAGED) >= 1
            assert disk.settings.health.event.status is Status.RECOVERABLE_ERROR
            assert any(line["log_level"] == "error" and "damaged" in line["problem"] for line in logs)
            number = await disk.store.log("queue").append(b"new")
            assert number not in {entry.number for entry in kept}
            assert number > max((entry.number for entry in kept), default=0)
    async with running(tmp_path) as disk:  # and it is said once
        assert (await disk.contents())[-1] == b"new"
        assert disk.value(STORAGE_DAMAGED) == 0


async def test_one_flipped_bit_costs_no_more_than_one_record_or_is_told(tmp_path: Path) -> None:
    """Wherever it is: what comes back is what was written, and what does not come back is counted."""
    await filled(tmp_path)
    whole = (tmp_path / NAME).read_bytes()
    chance = random.Random(2)
    for _ in range(15):
        for name in files(tmp_path):
            (tmp_path / name).unlink()
        spoilt = bytearray(whole)
        spoilt[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        (tmp_path / NAME).write_bytes(spoilt)
        async with running(tmp_path) as disk:
            found = {entry.note: await disk.store.read(entry.number) for entry in await disk.store.entries("queue")}
            assert all(record == body(note) for note, record in found.items())
            lost = RECORDS - len(found)
            assert lost == 0 or disk.value(STORAGE_DAMAGED) >= 1
            assert lost <= 60


async def test_a_record_that_rots_while_the_process_runs_is_put_aside(tmp_path: Path) -> None:
    async with running(tmp_path) as disk:
        log = disk.store.log("queue")
        good, bad = await log.append(b"good", 1), await log.append(b"bad", 2)
        inner = disk.store.file._file._database
        assert inner is not None
        inner.execute("UPDATE records SET body = ? WHERE number = ?", (b"worse", bad))
        assert await log.read(bad) is None
        assert disk.value(STORAGE_DAMAGED) == 1
        assert [(tmp_path / name).read_bytes() for name in aside(tmp_path)] == [b"worse"]
        assert [entry.number for entry in await log.entries()] == [good]
        assert await log.read(good) == b"good"


async def test_a_file_that_rots_while_the_process_runs_is_rescued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(tmp_path)
    monkeypatch.setattr(database, "_SMALL", 0)  # as for large files: nothing is checked when it is opened
    async with running(tmp_path) as disk:
        log = disk.store.log("queue")
        disk.store.file._file.drop()
        flip(tmp_path / NAME, *range(4096 * 20, 4096 * 40))
        number = 0
        for entry in await log.entries():
            record = await log.read(entry.number)
            assert record in (None, body(entry.note))
        for _ in range(50):
            number = await log.append(b"x" * 5000)
        kept = await log.entries()
        assert await log.read(number) == b"x" * 5000
        assert disk.value(STORAGE_DAMAGED) >= 1
        assert aside(tmp_path)
        assert RECORDS // 2 < len(kept) < RECORDS + 50
        assert len({entry.number for entry in kept}) == len(kept)


async def test_a_file_that_is_taken_away_is_made_again_with_all_that_was_in_it(tmp_path: Path) -> None:
    await filled(tmp_path)
    async with running(tmp_path) as disk:
        log = disk.store.log("queue")
        await log.append(b"before")
        (tmp_path / NAME).unlink()
        await log.append(b"after")
        for _ in range(500):
            if disk.value(STORAGE_DAMAGED):
                break
            await asyncio.sleep(0.01)
        await log.append(b"later")
    async with running(tmp_path) as disk:
        assert len(await disk.store.entries("queue")) == RECORDS + 3
        assert (await disk.contents())[-3:] == [b"before", b"after", b"later"]


async def _killed(tmp_path: Path) -> None:
    """What the disk shows of a process that is killed now: its files as they are, not closed."""
    async with running(tmp_path) as disk:
        log = disk.store.log("queue")
        for number in range(1, 41):
            await log.append(body(number), number)
        _copy(tmp_path, tmp_path / "copy")


def _copy(path: Path, into: Path) -> None:
    into.mkdir()
    for name in (NAME, f"{NAME}-wal"):
        (into / name).write_bytes((path / name).read_bytes())


async def test_a_half_written_log_of_changes_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    await _killed(tmp_path)
    wal = tmp_path / "copy" / f"{NAME}-wal"
    with wal.open("ab") as file:
        file.write(os.urandom(30_000))
    async with running(tmp_path / "copy") as disk:
        assert await disk.contents() == [body(number) for number in range(1, 41)]
        assert disk.value(STORAGE_DAMAGED) == 0


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.95])
async def test_a_damaged_log_of_changes_is_told_of_and_kept(tmp_path: Path, share: float) -> None:
    await _killed(tmp_path)
    wal = tmp_path / "copy" / f"{NAME}-wal"
    flip(wal, 10 + int(share * wal.stat().st_size))
    async with running(tmp_path / "copy") as disk:
        found = await disk.contents()
        assert found == [body(number) for number in range(1, len(found) + 1)]
        assert len(found) < 40
        assert disk.value(STORAGE_DAMAGED) >= 1
        assert aside(tmp_path / "copy")
        await disk.store.log("queue").append(b"on it goes")


async def test_a_log_of_changes_that_was_cut_off_keeps_what_is_before(tmp_path: Path) -> None:
    await _killed(tmp_path)
    wal = tmp_path / "copy" / f"{NAME}-wal"
    os.truncate(wal, wal.stat().st_size // 2)
    async with running(tmp_path / "copy") as disk:
        found = await disk.contents()
        assert 5 < len(found) < 40
        assert found == [body(number) for number in range(1, len(found) + 1)]


async def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    await filled(tmp_path)
    other = sqlite3.connect(tmp_path / NAME)
    other.execute("PRAGMA user_version = 9")
    other.close()
    before = (tmp_path / NAME).read_bytes()
    async with running(tmp_path) as disk:
        with pytest.raises(StartError, match="newer version"):
            _ = disk.store
    assert (tmp_path / NAME).read_bytes() == before


@pytest.mark.parametrize("moved", [False, True])
async def test_a_rescue_that_was_cut_short_is_begun_anew_or_finished(tmp_path: Path, moved: bool) -> None:
    await filled(tmp_path)
    if moved:
        (tmp_path / NAME).rename(tmp_path / f"{NAME}.new")
    else:
        (tmp_path / f"{NAME}.new").write_bytes(b"half")
    async with running(tmp_path) as disk:
        assert len(await disk.contents()) == RECORDS
        assert not (tmp_path / f"{NAME}.new").exists()
