"""Senders that wait to be asked for their body, as curl does with a large one."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from otel_tracead.component import Kind, Settings
from otel_tracead.receivers import zipkin
from otel_tracead.testing import RecordingConsumer
from tests.receivers import samples

BODY = samples.zipkin(2)
HEAD = "POST /api/v2/spans HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"


@pytest.fixture
async def consumer() -> RecordingConsumer:
    return RecordingConsumer()


@pytest.fixture
async def port(consumer: RecordingConsumer) -> AsyncIterator[int]:
    config = zipkin.ZipkinReceiverConfig.model_validate({"endpoint": "127.0.0.1:0"})
    receiver = zipkin.FACTORY.build(config, Settings(id="zipkin", kind=Kind.RECEIVER), consumer)
    await receiver.start()
    yield receiver.ports["http"]
    await receiver.shutdown()


async def head(reader: asyncio.StreamReader) -> str:
    return (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode()


async def test_a_body_that_waits_is_asked_for(port: int, consumer: RecordingConsumer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(2):
        writer.write(f"{HEAD}Expect: 100-continue\r\nContent-Length: {len(BODY)}\r\n\r\n".encode())
        assert (await head(reader)).startswith("HTTP/1.1 100 Continue")
        writer.write(BODY)
        assert (await head(reader)).startswith("HTTP/1.1 202")
    assert len(consumer.spans) == 4
    writer.close()


async def test_another_expectation_is_not_met(port: int, consumer: RecordingConsumer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{HEAD}Expect: applause\r\nContent-Length: {len(BODY)}\r\n\r\n".encode() + BODY)
    assert (await head(reader)).startswith("HTTP/1.1 417")
    assert consumer.spans == []
    writer.close()


async def test_a_body_without_length_that_comes_with_its_headers_is_bounded(consumer: RecordingConsumer) -> None:
    config = zipkin.ZipkinReceiverConfig.model_validate({"endpoint": "127.0.0.1:0", "max_request_body_size": 100})
    receiver = zipkin.FACTORY.build(config, Settings(id="zipkin", kind=Kind.RECEIVER), consumer)
    await receiver.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", receiver.ports["http"])
    writer.write(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n{200:x}\r\n{' ' * 200}\r\n0\r\n\r\n".encode())
    assert (await head(reader)).startswith("HTTP/1.1 413")
    writer.close()
    await receiver.shutdown()
