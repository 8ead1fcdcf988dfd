"""Time is up after a while without an answer, and not while one lies unread."""

import asyncio
import socket
import threading
import time

import pytest
import uvloop

from otel_tracead.exporting.answer_limit import AnswerLimit

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


async def connection() -> tuple[asyncio.StreamReader, asyncio.StreamWriter, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return *(await asyncio.open_connection(sock=ours)), theirs


async def answer_after_a_pause(pause: float, answered: float, limit: float) -> bytes:
    """Give what is read, where the process does nothing for a while, and the answer comes meanwhile."""
    reader, writer, theirs = await connection()
    answering = threading.Timer(answered, theirs.sendall, (b"yes",))
    answering.start()
    try:
        async with AnswerLimit(limit):
            asyncio.get_running_loop().call_soon(time.sleep, pause)  # as SIGSTOP does: no callback runs
            return await reader.readexactly(3)
    finally:
        answering.join()
        theirs.close()
        writer.close()


@pytest.mark.parametrize("loop", LOOPS)
def test_what_came_during_a_pause_counts(loop) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(answer_after_a_pause(pause=0.3, answered=0.2, limit=0.1)) == b"yes"


@pytest.mark.parametrize("loop", LOOPS)
def test_what_comes_after_the_limit_does_not(loop) -> None:
    with asyncio.Runner(loop_factory=loop) as runner, pytest.raises(TimeoutError):
        runner.run(answer_after_a_pause(pause=0.0, answered=0.5, limit=0.1))


async def test_time_is_up_a_little_later_than_said() -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with AnswerLimit(0.2):
            await asyncio.sleep(10)
    assert 0.2 < time.monotonic() - began < 1.0


async def test_without_a_limit_it_may_take_as_long_as_it_does() -> None:
    async with AnswerLimit(None):
        await asyncio.sleep(0.05)


async def test_other_errors_pass() -> None:
    with pytest.raises(OSError, match="gone"):
        async with AnswerLimit(1.0):
            raise OSError("gone")


async def test_who_cancels_from_outside_is_not_told_of_time() -> None:
    async def wait() -> None:
        async with AnswerLimit(1.0):
            await asyncio.sleep(10)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
