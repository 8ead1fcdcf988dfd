"""How much of requests over HTTP is held at a time, whoever sends however slowly."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from otel_tracead.component import Kind, Settings
from otel_tracead.metrics import RECEIVER_REQUESTS
from otel_tracead.receivers import http_server, room, zipkin
from otel_tracead.testing import RecordingConsumer
from tests.contract.receiver_contract import until
from tests.receivers import samples
from tests.receivers.http_client import post

LIMIT = 50_000


class Listening:
    def __init__(self) -> None:
        self.consumer = RecordingConsumer()
        self.settings = Settings(id="in", kind=Kind.RECEIVER)
        config = {"endpoint": "127.0.0.1:0", "max_request_body_size": LIMIT}
        self.receiver: Any = zipkin.FACTORY.build(
            zipkin.ZipkinReceiverConfig.model_validate(config), self.settings, self.consumer
        )

    @property
    def room(self) -> room.Room:
        return self.receiver._servers["http"].server._room

    def counted(self, outcome: str) -> float:
        return self.settings.telemetry.value(RECEIVER_REQUESTS, "in", "http", outcome)

    async def send(self) -> tuple[int | str, float | None]:
        url = f"http://127.0.0.1:{self.receiver.ports['http']}/api/v2/spans"
        reply, _, _ = await post(url, samples.zipkin(1), "application/json")
        return reply.status, reply.retry_after

    async def begin(self, size: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send all but the last bytes of a request."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.receiver.ports["http"])
        head = f"POST /api/v2/spans HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {LIMIT}\r\n\r\n"
        before = self.room.left
        writer.write(head.encode() + b"[" + b" " * (size - 1))
        await until(lambda: self.room.left <= before - size)
        return reader, writer


@pytest.fixture
async def listening(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Listening]:
    monkeypatch.setattr(http_server, "_ROOM", 0)  # then it is twice the largest request
    async with running() as found:
        yield found


@asynccontextmanager
async def running() -> AsyncIterator[Listening]:
    found = Listening()
    await found.receiver.start()
    yield found
    await found.receiver.shutdown()


async def test_what_comes_at_a_time_is_bounded_and_the_rest_is_told_to_come_back(listening: Listening) -> None:
    size = listening.room.left
    senders = [await listening.begin(45_000) for _ in range(2)]
    assert await listening.send() == (503, 1.0)
    assert (listening.counted("refused"), listening.consumer.spans) == (1, [])
    for _, writer in senders:
        writer.close()
    await until(lambda: listening.room.left == size)
    assert await listening.send() == (202, None)
    assert listening.counted("invalid") == 2  # those that were cut off
    assert listening.room.left == size


async def test_requests_take_room_until_they_are_answered(listening: Listening) -> None:
    size = listening.room.left
    listening.consumer.gate.clear()
    sending = asyncio.create_task(listening.send())
    await until(lambda: listening.room.left < size)
    await asyncio.sleep(0.02)
    assert listening.room.left < size
    listening.consumer.gate.set()
    assert await sending == (202, None)
    assert listening.room.left == size


async def test_who_stops_in_the_middle_does_not_keep_others_out(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    senders = [await listening.begin(45_000) for _ in range(2)]
    monkeypatch.setattr(room, "_PATIENCE", 0.05)
    await asyncio.sleep(0.06)
    assert await listening.send() == (503, 1.0)
    for reader, writer in senders:
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 503")
        writer.close()
    assert await listening.send() == (202, None)
    assert listening.counted("refused") == 3
