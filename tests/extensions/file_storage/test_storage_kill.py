"""A process that stores is killed with SIGKILL at random moments: everything that it was told is stored is there."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otel_tracead.metrics import STORAGE_DAMAGED
from tests.extensions.file_storage.disk import body, running
from tools.peers import guarded

ROOT = Path(__file__).parents[3]


def run_and_kill(path: Path, seconds: float, fsync: str) -> list[str]:
    """Give what the child wrote before it was killed, *seconds* after its first line."""
    command = [sys.executable, "-m", "tests.extensions.file_storage.disk", str(path), fsync]
    with guarded(
        subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    ) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline()]
        while not lines[-1].startswith(b"+"):  # a line of its log
            assert lines[-1], "the child has died"
            lines.append(child.stdout.readline())
        timer = time.monotonic() + seconds
        while time.monotonic() < timer:
            lines.append(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.readlines()
    return [line.decode().strip() for line in lines if line.endswith(b"\n")]


async def check(path: Path, alive: dict[int, int], going: set[int]) -> None:
    async with running(path) as disk:
        entries = await disk.store.entries("queue")
        found = {entry.number: entry.note for entry in entries}
        missing = set(alive) - set(found) - going
        assert not missing, f"{len(missing)} acknowledged records are missing"
        assert all(found[number] == alive[number] for number in set(alive) & set(found))
        for number, note in found.items():
            assert await disk.store.read(number) == body(note)
        assert disk.value(STORAGE_DAMAGED) == 0
        assert len(entries) < 8 * 4 + 8 * 3 + 40  # what was removed is not there, but for the last moment


def killed_again_and_again(path: Path, times: int, fsync: str, seed: int) -> None:
    chance = random.Random(seed)
    alive: dict[int, int] = {}
    numbers: set[int] = set()
    for _ in range(times):
        going: set[int] = set()
        for line in run_and_kill(path, chance.uniform(0, 0.25), fsync):
            if line[0] not in "+-":
                continue
            note, number = map(int, line[1:].split())
            if line[0] == "+":
                assert number not in numbers, "a number was used twice"
                numbers.add(number)
                alive[number] = note
            else:
                going.add(number)
        asyncio.run(check(path, alive, going))
        asyncio.run(_empty(path))
        alive.clear()
    assert len(numbers) > 10 * times


async def _empty(path: Path) -> None:
    async with running(path) as disk:
        disk.store.remove([entry.number for entry in await disk.store.entries("queue")])


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    killed_again_and_again(tmp_path, 3, "no", seed=1)


@pytest.mark.peers
@pytest.mark.parametrize("fsync", ["no", "fsync"])
def test_it_does_so_many_times(tmp_path: Path, fsync: str) -> None:
    killed_again_and_again(tmp_path, 50, fsync, seed=2)


def test_a_second_process_is_told_and_the_first_one_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.extensions.file_storage.disk", str(tmp_path), "no"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with guarded(subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=environment)) as first:
        assert first.stdout is not None
        while not first.stdout.readline().startswith(b"+"):
            pass
        second = subprocess.run(command, capture_output=True, cwd=ROOT, env=environment, check=False, timeout=30)
        assert second.returncode == 1
        assert b"is in use: another process" in second.stderr
        while not first.stdout.readline().startswith(b"+"):
            pass
        first.kill()
