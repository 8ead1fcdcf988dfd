"""The network between senders and the stage breaks: nothing of half a request is forwarded, nobody else is kept waiting."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import grpc
import grpc.aio
import pytest

from tests.exporters.backends import GrpcBackend
from tests.faults.line import Line
from tests.faults.pipeline import Stage, names, post, request, stage, until
from tests.faults.test_backend_faults import arrived, at, exporter
from tools.peers.backend import EXPORT

LARGE = request(1, spans=3, size=100_000)
SMALL = [request(trace) for trace in range(2, 7)]


@pytest.fixture
async def backend() -> AsyncIterator[GrpcBackend]:
    one = GrpcBackend()
    await one.start()
    yield one
    await one.stop()


@pytest.fixture
async def running(tiny_artifact: Path, backend: GrpcBackend) -> AsyncIterator[Stage]:
    async with stage(tiny_artifact, exporter("otlp_grpc", at(backend))) as found:
        yield found


async def send(stage: Stage, line: Line, protocol: str, body: bytes) -> bool:
    """Send over *line*, and say whether the stage has said yes."""
    if protocol == "grpc":
        # A pool of its own, or a later channel to the same address would wait as long as an earlier one that failed.
        async with grpc.aio.insecure_channel(line.endpoint, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            try:
                await channel.unary_unary(EXPORT)(body, timeout=1)
            except grpc.aio.AioRpcError:
                return False
            return True
    try:
        async with asyncio.timeout(1), aiohttp.ClientSession() as session:
            status, _ = await post(session, f"http://{line.endpoint}/v1/traces", body)
            return status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


def target(stage: Stage, protocol: str) -> str:
    return stage.grpc if protocol == "grpc" else stage.http.removeprefix("http://").removesuffix("/v1/traces")


@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_a_request_that_is_cut_in_the_middle_is_none(running: Stage, backend: GrpcBackend, protocol: str) -> None:
    with Line(target(running, protocol)) as line:
        line.cut_after = 150_000
        for _ in range(3):
            assert not await send(running, line, protocol, LARGE)
        assert running.books.accepted == 0
        line.restore()
        assert await send(running, line, protocol, LARGE)
    await until(lambda: len(arrived(backend)) == 3)
    assert arrived(backend) == Counter(["1/1", "1/2", "1/3"])
    running.books.check("otlp_grpc")


@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_a_request_that_stands_still_keeps_nobody_waiting(
    running: Stage, backend: GrpcBackend, protocol: str
) -> None:
    with Line(target(running, protocol)) as line:
        line.rate = 50_000  # six seconds
        still = asyncio.create_task(send(running, line, protocol, LARGE))
        await asyncio.sleep(0.1)
        line.stalled = True
        await asyncio.wait_for(running.send(*SMALL), 2)
        await asyncio.wait_for(running.send_grpc(request(7)), 2)
        assert not await still
    await until(lambda: len(arrived(backend)) == 18)
    assert arrived(backend) == names(range(2, 8))
    running.books.check("otlp_grpc")


@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_an_answer_that_is_lost_makes_the_sender_send_twice(
    running: Stage, backend: GrpcBackend, protocol: str
) -> None:
    """What was taken in is finished; that the sender does not know of it is not ours to mend."""
    with Line(target(running, protocol)) as line:
        line.deaf = protocol == "http"
        first = asyncio.create_task(send(running, line, protocol, LARGE))
        if protocol == "grpc":
            await asyncio.sleep(0.05)
            line.deaf = True
        await until(lambda: running.books.accepted == 3)
        line.cut()
        taken = await first
        line.restore()
        if not taken:
            assert await send(running, line, protocol, LARGE)
    await until(lambda: set(arrived(backend).values()) == {1 if taken else 2})
    assert running.books.accepted == sum(arrived(backend).values())
    running.books.check("otlp_grpc")
