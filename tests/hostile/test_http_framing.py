"""HTTP requests that mean two things, floods of headers and chunks, and clients that never come to an end; over real sockets."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Self

import pytest

from otel_tracead.component import Kind, Settings
from otel_tracead.receivers import otlp, zipkin
from otel_tracead.testing import RecordingConsumer
from tests.contract.receiver_contract import until
from tests.receivers import samples

BODY = samples.otlp(2)
ZIPKIN = samples.zipkin(2)


class Server:
    """A receiver, and its consumer."""

    def __init__(self, kind: str, **changes: Any) -> None:
        self.kind = kind
        self.consumer = RecordingConsumer()
        settings = Settings(id="in", kind=Kind.RECEIVER)
        http = {"endpoint": "127.0.0.1:0", **changes}
        if kind == "otlp":
            config: Any = otlp.OtlpReceiverConfig.model_validate({"protocols": {"http": http}})
            self.receiver: Any = otlp.FACTORY.build(config, settings, self.consumer)
        else:
            config = zipkin.ZipkinReceiverConfig.model_validate(http)
            self.receiver = zipkin.FACTORY.build(config, settings, self.consumer)

    async def __aenter__(self) -> Self:
        await self.receiver.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.receiver.shutdown()

    @property
    def head(self) -> bytes:
        path, kind = ("/v1/traces", "application/x-protobuf") if self.kind == "otlp" else ("/api/v2/spans", "a/b")
        return f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\n".encode()

    @property
    def body(self) -> bytes:
        return BODY if self.kind == "otlp" else ZIPKIN

    @property
    def whole(self) -> bytes:
        return self.head + b"Content-Length: %d\r\n\r\n" % len(self.body) + self.body

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.receiver.ports["http"])

    async def ask(self, *parts: bytes, seconds: float = 5.0) -> bytes:
        """Send *parts* and give all that comes back until the connection is closed, or nothing has come for long."""
        reader, writer = await self.connect()
        answer = b""
        with suppress(ConnectionError, TimeoutError):
            for part in parts:
                writer.write(part)
                await writer.drain()
            while data := await asyncio.wait_for(reader.read(65536), seconds):
                answer += data
        writer.close()
        return answer

    async def serves(self) -> bool:
        """Whether a usual request is answered soon."""
        begun = time.monotonic()
        answer = await self.ask(self.whole.replace(b"Host: a\r\n", b"Host: a\r\nConnection: close\r\n"))
        return answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 202")) and time.monotonic() - begun < 3


@pytest.fixture(params=["otlp", "zipkin"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    async with Server(request.param) as one:
        yield one


def smuggled(server: Server) -> dict[str, bytes]:
    """Requests whose end proxies and servers have seen in different places, each with another request behind it."""
    hidden, size = server.whole, len(server.whole)
    chunked = b"Transfer-Encoding: chunked\r\n"
    end = b"0\r\n\r\n"
    return {
        "a length and chunks": server.head + b"Content-Length: %d\r\n" % size + chunked + b"\r\n" + end + hidden,
        "chunks and a length": server.head + chunked + b"Content-Length: 5\r\n\r\n" + end + hidden,
        "two lengths": server.head + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % size + hidden,
        "a list of lengths": server.head + b"Content-Length: 0, %d\r\n\r\n" % size + hidden,
        "a signed length": server.head + b"Content-Length: +0\r\n\r\n" + hidden,
        "a length with an underscore": server.head + b"Content-Length: 0_0\r\n\r\n" + hidden,
        "a length in other digits": server.head + "Content-Length: \u0660\r\n\r\n".encode() + hidden,
        "chunks by another name": server.head + b"Transfer-Encoding: xchunked\r\n\r\n" + end + hidden,
        "chunks twice": server.head + chunked + b"Transfer-Encoding: identity\r\n\r\n" + end + hidden,
        "chunks behind a tab": server.head + b"Transfer-Encoding:\x0bchunked\r\n\r\n" + end + hidden,
        "a space before the colon": server.head + b"Content-Length : %d\r\n\r\n" % size + hidden,
        "a folded header": server.head + b"X: a\r\n Content-Length: %d\r\n\r\n" % size + hidden,
        "a line that ends in LF": server.head + b"X: a\nContent-Length: %d\r\n\r\n" % size + hidden,
        "a header with a NUL": server.head + b"X: a\0b\r\nContent-Length: 0\r\n\r\n" + hidden,
        "a header without a name": server.head + b": a\r\nContent-Length: 0\r\n\r\n" + hidden,
        "a chunk's size with a sign": server.head + chunked + b"\r\n-0\r\n\r\n" + hidden,
        "a chunk's size with 0x": server.head + chunked + b"\r\n0x0\r\n\r\n" + hidden,
        "a chunk's size with an underscore": server.head + chunked + b"\r\n0_0\r\n\r\n" + hidden,
        "a chunk that is longer than it says": server.head + chunked + b"\r\n1\r\nab\r\n" + end + hidden,
        "a chunk of more bytes than there are": server.head + chunked + b"\r\nffffffffffffffff0\r\n" + end + hidden,
    }


SMUGGLED = sorted(smuggled(Server("otlp")))


@pytest.mark.parametrize("name", SMUGGLED)
async def test_nothing_is_smuggled(server: Server, name: str) -> None:
    answer = await server.ask(smuggled(server)[name], seconds=0.3)
    assert b"HTTP/1.1 200" not in answer
    assert b"HTTP/1.1 202" not in answer
    assert b"HTTP/1.1 5" not in answer
    assert server.consumer.batches == []
    assert await server.serves()


FLOODS = {
    "a long line": b"X: " + b"a" * (1 << 20) + b"\r\n",
    "a long name": b"a" * (1 << 20) + b": 1\r\n",
    "many headers": b"".join(b"X-%d: a\r\n" % number for number in range(20_000)),
    "many empty headers": b"a:\r\n" * 100_000,
    "a long target": b"",
}


@pytest.mark.parametrize("name", FLOODS)
async def test_floods_of_headers_are_refused(server: Server, name: str) -> None:
    head = server.head + FLOODS[name]
    if name == "a long target":
        head = head.replace(b" HTTP/1.1", b"?" + b"a" * (1 << 20) + b" HTTP/1.1", 1)
    answer = await server.ask(head + b"Content-Length: 0\r\n\r\n")
    assert answer == b"" or answer[8:12] == b" 400", answer[:100]
    assert server.consumer.batches == []
    assert await server.serves()


async def test_chunks_of_a_byte_are_put_together(server: Server) -> None:
    chunks = b"".join(b"1;%b\r\n%c\r\n" % (b"x" * 200, byte) for byte in server.body)
    answer = await server.ask(
        server.head + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nTrailer: a\r\n\r\n"
    )
    assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 202"))
    assert len(server.consumer.spans) == 2


@pytest.mark.parametrize("kind", ["otlp", "zipkin"])
async def test_a_body_without_an_end_is_cut_at_the_limit(kind: str) -> None:
    async with Server(kind, max_request_body_size=1 << 16) as server:
        reader, writer = await server.connect()
        writer.write(server.head + b"Transfer-Encoding: chunked\r\n\r\n")
        sent = 0
        with suppress(ConnectionError):
            while sent < 64 << 20 and not reader.at_eof():
                writer.write(b"1000\r\n" + bytes(4096) + b"\r\n")
                await writer.drain()
                sent += 4096
                if reader._buffer:  # the answer is there
                    break
        assert sent < 8 << 20
        assert (await reader.read(12)).endswith(b"413")
        writer.close()
        assert await server.serves()


async def test_encodings_in_each_other_are_refused(server: Server) -> None:
    """A bomb in a bomb would pass every bound on a ratio."""
    inner = gzip.compress(gzip.compress(bytes(10 << 20)))
    for encoding in (b"gzip, gzip", b"gzip,gzip", b"gzip gzip", b"identity, gzip"):
        head = server.head + b"Connection: close\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n"
        answer = await server.ask(head % (encoding, len(inner)) + inner)
        assert answer.startswith(b"HTTP/1.1 400"), encoding
    twice = (
        server.head
        + b"Connection: close\r\nContent-Encoding: gzip\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    )
    answer = await server.ask(twice % len(inner) + inner)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413"))
    assert server.consumer.batches == []


@pytest.mark.parametrize("kind", ["otlp", "zipkin"])
@pytest.mark.parametrize("sent", [b"", b"POST", b"POST /v1/traces HTTP/1.1\r\nX: a"])
@pytest.mark.parametrize("bound", ["idle_timeout", "read_header_timeout"])
async def test_who_never_comes_to_the_end_of_the_headers_is_cut_off(kind: str, sent: bytes, bound: str) -> None:
    async with Server(kind, **{bound: "300ms"}) as server:
        slow = [await server.connect() for _ in range(20)]
        for _, writer in slow:
            writer.write(sent)
        assert await server.serves()
        for reader, writer in slow:
            with suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
        await until(lambda: not server.receiver._servers["http"].server.listener._runner.server.connections)


@pytest.mark.parametrize("kind", ["otlp", "zipkin"])
@pytest.mark.parametrize("bound", ["idle_timeout", "read_header_timeout"])
@pytest.mark.parametrize("served", [0, 2])
async def test_a_head_that_drips_does_not_live_longer(kind: str, bound: str, served: int) -> None:
    async with Server(kind, **{bound: "500ms"}) as server:
        reader, writer = await server.connect()
        for _ in range(served):
            writer.write(server.whole)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith((b"HTTP/1.1 200", b"HTTP/1.1 202"))
        begun = time.monotonic()
        with suppress(ConnectionError):
            while time.monotonic() - begun < 5 and not reader.at_eof():
                writer.write(b"X")
                await writer.drain()
                with suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1), 0.05)
        assert time.monotonic() - begun < 3
        writer.close()


@pytest.mark.parametrize("kind", ["otlp", "zipkin"])
async def test_the_time_for_headers_is_none_for_bodies_and_pauses(kind: str) -> None:
    async with Server(kind, read_header_timeout="300ms") as server:
        reader, writer = await server.connect()
        for pause in (0.0, 0.6):
            head = server.head + b"Content-Length: %d\r\n\r\n" % len(server.body)
            for part in (head[:-2], head[-2:] + server.body[:1], server.body[1:]):
                writer.write(part)
                await asyncio.sleep(min(pause, 0.1) if part == head[:-2] else pause)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith((b"HTTP/1.1 200", b"HTTP/1.1 202"))
        writer.close()
        assert len(server.consumer.batches) == 2
