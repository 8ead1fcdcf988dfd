"""Looks are made once, one at a time, beside the event loop, with a rest after each wrong one."""

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import bcrypt
import pytest

from otel_tracead.errors import Backpressure, Unauthenticated
from otel_tracead.extensions.basicauth.htpasswd import Users, parse
from otel_tracead.extensions.basicauth.verification import Verification


class Counted(Users):
    """A list of one user, whose looks take a second of a clock by hand."""

    def __init__(self) -> None:
        super().__init__(parse("me:right"))
        self.looks = 0
        self.seconds = 0.0
        self.rests: list[float] = []

    def admit(self, name: bytes, password: bytes) -> bool:
        self.looks += 1
        self.seconds += 1.0
        return super().admit(name, password)

    async def sleep(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.seconds += seconds
        await asyncio.sleep(0)


@pytest.fixture
async def worker() -> AsyncIterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as worker:
        yield worker


async def verdict(verification: Verification, password: bytes, name: bytes = b"me") -> str:
    try:
        waiting = verification.verify(name, password)
        if waiting is None:
            return "known"
        await waiting
    except Unauthenticated:
        return "wrong"
    except Backpressure:
        return "busy"
    return "right"


def made(worker: ThreadPoolExecutor) -> tuple[Counted, Verification]:
    users = Counted()
    return users, Verification(users, worker, lambda: users.seconds, users.sleep)


async def test_what_was_found_is_remembered_both_ways(worker: ThreadPoolExecutor) -> None:
    users, verification = made(worker)
    assert [await verdict(verification, b"right") for _ in range(3)] == ["right", "known", "known"]
    assert [await verdict(verification, b"wrong") for _ in range(3)] == ["wrong"] * 3
    assert users.looks == 2
    assert [await verdict(verification, b"eright", b"m"), await verdict(verification, b"right", b"m")] == ["wrong"] * 2


async def test_those_who_send_the_same_wait_for_one_look(worker: ThreadPoolExecutor) -> None:
    users, verification = made(worker)
    assert await asyncio.gather(*(verdict(verification, b"right") for _ in range(100))) == ["right"] * 100
    assert users.looks == 1


async def test_a_wrong_password_is_followed_by_a_rest_and_a_right_one_is_not(worker: ThreadPoolExecutor) -> None:
    users, verification = made(worker)
    for number in range(3):
        assert await verdict(verification, b"%d" % number) == "wrong"
    assert users.rests == [4.0, 4.0]
    assert await verdict(verification, b"right") == "right"
    assert users.rests == [4.0] * 3
    users.seconds += 4
    assert await verdict(verification, b"another") == "wrong"
    assert users.rests == [4.0] * 3


async def test_of_too_many_at_a_time_the_last_are_told_to_come_back(worker: ThreadPoolExecutor) -> None:
    users, verification = made(worker)
    assert await verdict(verification, b"right") == "right"
    guesses = [asyncio.create_task(verdict(verification, b"%d" % number)) for number in range(100)]
    await asyncio.sleep(0)
    assert await verdict(verification, b"right") == "known", "who was right before does not wait with them"
    found = await asyncio.gather(*guesses)
    assert (found.count("wrong"), found.count("busy")) == (32, 68)
    assert users.looks == 33


async def test_a_look_goes_on_when_its_sender_has_gone(worker: ThreadPoolExecutor) -> None:
    users, verification = made(worker)
    gone = asyncio.create_task(verdict(verification, b"right"))
    await asyncio.sleep(0)
    gone.cancel()
    assert await verdict(verification, b"right") in {"right", "known"}
    assert users.looks == 1


async def test_who_waits_at_the_end_is_told_to_come_back(worker: ThreadPoolExecutor) -> None:
    _, verification = made(worker)
    waiting = [asyncio.create_task(verdict(verification, b"%d" % number)) for number in range(3)]
    await asyncio.sleep(0)
    await verification.close()
    assert await asyncio.gather(*waiting) == ["busy"] * 3


async def test_a_flood_of_guesses_does_not_make_forget_who_was_right(worker: ThreadPoolExecutor) -> None:
    users, verification = made(worker)
    assert await verdict(verification, b"right") == "right"
    for number in range(5000):
        assert await verdict(verification, b"%d" % number) == "wrong"
    assert await verdict(verification, b"right") == "known"
    assert users.looks == 5001
    assert await verdict(verification, b"0") == "wrong"
    assert users.looks == 5002, "of guesses only the last are remembered"


async def test_the_event_loop_turns_while_passwords_are_looked_at(worker: ThreadPoolExecutor) -> None:
    hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(10)).decode()
    verification = Verification(Users(parse(f"me:{hashed}")), worker)
    began = time.perf_counter()
    assert await verdict(verification, b"right") == "right"
    look = time.perf_counter() - began
    guesses = [asyncio.create_task(verdict(verification, b"%d" % number)) for number in range(8)]
    longest, cpu, began = 0.0, time.process_time(), time.perf_counter()
    while time.perf_counter() - began < 10 * look:
        before = time.perf_counter()
        assert await verdict(verification, b"right") == "known"
        await asyncio.sleep(0.001)
        longest = max(longest, time.perf_counter() - before)
    share = (time.process_time() - cpu) / (time.perf_counter() - began)
    assert longest < 0.8 * look, "nobody waits for a look at another's password"
    assert share < 0.7
    await verification.close()
    await asyncio.gather(*guesses)
