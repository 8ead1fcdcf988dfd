"""Whatever a server does, in whatever state: each call of `otlp_grpc` ends, and in the right error."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from otel_tracead_exporters.otlp_grpc import FACTORY
from otel_tracead_exporters.otlp_grpc.sender import OtlpGrpcSender

from otel_tracead.component import Kind, Settings
from otel_tracead.errors import PermanentError, RetryableError
from otel_tracead.http2 import Reset, frames, header_block
from tests.contract.exporter_contract import batch
from tests.contract.receiver_contract import until
from tests.exporters.test_grpc_channel import Scripted, call, channel, scripted

f = frames.frame
BEGIN = frames.settings([])
ANSWER = f(frames.HEADERS, 4, 1, header_block([(b":status", b"200"), (b"content-type", b"application/grpc")]))
MESSAGE = f(frames.DATA, 0, 1, bytes(5))


def trailers(code: bytes, stream: int = 1) -> bytes:
    return f(frames.HEADERS, 5, stream, header_block([(b"grpc-status", code)]))


def reset(code: int) -> bytes:
    return f(frames.RST_STREAM, 0, 1, frames.NUMBER.pack(code))


def early(status: bytes, flags: int = 4) -> bytes:
    return f(frames.HEADERS, flags, 1, header_block([(b":status", status), (b"content-type", b"text/html")]))


CUT = b"cut"
"""Stands for the end of the connection."""
_STREAM = b"\0\0\0\1"  # in what is heard: a frame of the first call


@asynccontextmanager
async def backend(*steps: bytes) -> AsyncIterator[str]:
    """A server that sends its first step for a greeting, the second for a call, and the third at once."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for index, step in enumerate(steps):
                heard = await reader.read(65536) if index < 2 else _STREAM
                while index == 1 and _STREAM not in heard:
                    heard += await reader.read(65536) or _STREAM
                if step == CUT:
                    writer.transport.abort()
                    return
                writer.write(step)
            while await reader.read(65536):
                pass
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def sent(target: str, **changes: Any) -> None:
    config = FACTORY.config.model_validate({"endpoint": target, "tls": {"insecure": True}, **changes})
    sender = OtlpGrpcSender(config, Settings(id="x", kind=Kind.EXPORTER))
    await sender.start()
    try:
        async with asyncio.timeout(10):
            await sender.send(batch("a"))
    finally:
        await sender.shutdown()


GOOD = ANSWER + MESSAGE + trailers(b"0")
ENDS: dict[str, tuple[tuple[bytes, ...], type[Exception] | None, str]] = {
    "an answer": ((BEGIN, GOOD), None, ""),
    "an answer behind early ones": ((BEGIN, early(b"100") + early(b"103") + GOOD), None, ""),
    "trailers only": (
        (BEGIN, f(frames.HEADERS, 5, 1, header_block([(b":status", b"200"), (b"grpc-status", b"0")]))),
        None,
        "",
    ),
    "an answer, and a goodbye before it": ((BEGIN, frames.goaway(1, 0) + GOOD), None, ""),
    "an answer, and a reset behind it": ((BEGIN, GOOD + reset(0)), None, ""),
    "cut at once": ((CUT,), RetryableError, "connect"),
    "cut behind settings": ((BEGIN, CUT), RetryableError, "connection"),
    "cut in an answer": ((BEGIN, ANSWER + MESSAGE[:7], CUT), RetryableError, "connection"),
    "an early answer and nothing": ((BEGIN, early(b"100", 5)), PermanentError, "PROTOCOL_ERROR"),
    "a page": ((BEGIN, early(b"200") + f(frames.DATA, 1, 1, b"<html>")), PermanentError, "without a status"),
    "a page with an error": ((BEGIN, early(b"502") + f(frames.DATA, 1, 1, b"<html>")), RetryableError, "502"),
    "nothing there": ((BEGIN, early(b"404", 5)), PermanentError, "404"),
    "no status": ((BEGIN, ANSWER + f(frames.HEADERS, 5, 1, header_block([(b"x", b"y")]))), PermanentError, "not gRPC"),
    "a status that is none": ((BEGIN, ANSWER + trailers(b"x")), PermanentError, "UNKNOWN"),
    "unavailable": ((BEGIN, ANSWER + trailers(b"14")), RetryableError, "UNAVAILABLE"),
    "an argument": ((BEGIN, ANSWER + trailers(b"3")), PermanentError, "INVALID_ARGUMENT"),
    "cancelled": ((BEGIN, reset(Reset.CANCEL)), RetryableError, "CANCEL"),
    "an internal error": ((BEGIN, reset(Reset.INTERNAL_ERROR)), PermanentError, "INTERNAL_ERROR"),
    "malformed": ((BEGIN, f(frames.HEADERS, 4, 1, header_block([(b"x", b"y")]))), PermanentError, "PROTOCOL_ERROR"),
    "a goodbye": ((BEGIN, frames.goaway(0, 0)), RetryableError, ""),
    "a goodbye at once": ((BEGIN + frames.goaway(0, 11, "calm"),), RetryableError, ""),
    "HTTP/1.1": ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), RetryableError, "HTTP/2"),
    "broken frames": ((BEGIN, f(frames.PING, 0, 0)), RetryableError, "connection"),
    "headers that cannot be read": ((BEGIN, f(frames.HEADERS, 4, 1, b"\xff\xff\xff\xff\xff\xff")), RetryableError, ""),
    "another's stream": ((BEGIN, f(frames.HEADERS, 4, 2, b"\x88")), RetryableError, "connection"),
    "a push": ((BEGIN, f(frames.PUSH_PROMISE, 4, 1, bytes(4))), RetryableError, "connection"),
}


@pytest.mark.parametrize("name", ENDS)
async def test_how_a_call_ends(name: str) -> None:
    steps, kind, words = ENDS[name]
    async with backend(*steps) as target:
        if kind is None:
            await sent(target)
            return
        with pytest.raises(kind) as caught:
            await sent(target)
    assert words in str(caught.value)


async def test_an_answer_before_the_request_is_whole_ends_the_call_at_both_ends() -> None:
    def script(server: Scripted, stream: int) -> None:
        server.answer(stream)

    async with scripted(script) as (target, seen), channel(target) as made:
        assert (await call(made)).status.code == 0
        server = seen[0]
        task = asyncio.create_task(call(made, bytes(300_000)))  # more than the window that h2 gives
        await until(lambda: bool(made._connections) and _waits(made))
        server.http.send_headers(3, [(":status", "200"), ("grpc-status", "8")], end_stream=True)
        server.flush()
        assert (await task).status.code == 8
        await until(lambda: server.resets == 1)
        (connection,) = made._connections.values()
        assert (connection._http.waiting, connection._http._streams) == (0, {})
        server.http.increment_flow_control_window(1 << 16)
        server.flush()
        assert (await call(made)).status.code == 0


def _waits(made: Any) -> bool:
    return any(one._http.waiting for one in made._connections.values())


async def test_a_window_of_nothing_for_a_while() -> None:
    answered: list[int] = []

    def script(server: Scripted, stream: int) -> None:
        answered.append(stream)
        server.answer(stream)

    async with scripted(script) as (target, seen), channel(target) as made:
        assert (await call(made)).status.code == 0
        server = seen[0]
        server.http.update_settings({4: 0})
        server.flush()
        await until(lambda: next(iter(made._connections.values()))._http._stream_room == 0)
        calls = [asyncio.create_task(call(made)) for _ in range(3)]
        await until(lambda: next(iter(made._connections.values()))._http.waiting == 3)
        assert answered == [1]
        server.http.update_settings({4: 100, 1: 0, 5: 1 << 20})  # and no table, and larger frames
        server.flush()
        assert [(await one).status.code for one in calls] == [0, 0, 0]


async def test_no_calls_allowed_for_a_while() -> None:
    def script(server: Scripted, stream: int) -> None:
        server.answer(stream)

    async with scripted(script) as (target, seen), channel(target) as made:
        assert (await call(made)).status.code == 0
        seen[0].http.update_settings({3: 0})
        seen[0].flush()
        (connection,) = made._connections.values()
        await until(lambda: not connection.room)
        calls = [asyncio.create_task(call(made)) for _ in range(10)]
        given_up = [asyncio.create_task(call(made)) for _ in range(10)]
        await asyncio.sleep(0.02)
        for one in given_up:
            one.cancel()
        await asyncio.gather(*given_up, return_exceptions=True)
        seen[0].http.update_settings({3: 2})
        seen[0].flush()
        assert [(await one).status.code for one in calls] == [0] * 10


async def test_a_goodbye_in_the_middle_loses_no_call() -> None:
    """Those that were begun are answered; those behind the last are made again, elsewhere."""
    goodbyes: list[int] = []

    def script(server: Scripted, stream: int) -> None:
        if server is seen[0] and stream == 9:
            goodbyes.append(stream)
            server.transport.write(frames.goaway(5, 0))
            for one in (1, 3, 5):
                server.answer(one)
        elif server is not seen[0]:
            server.answer(stream)

    async with scripted(script) as (target, seen), channel(target) as made:
        answers = await asyncio.gather(*(call(made) for _ in range(5)))
        assert [answer.status.code for answer in answers] == [0] * 5
        assert (goodbyes, len(seen), seen[1].requests) == ([9], 2, 2)
        await until(lambda: len(made._connections) == 1)


async def test_a_server_that_refuses_everything_is_not_asked_for_ever() -> None:
    async with scripted(lambda server, stream: server.http.reset_stream(stream, error_code=7)) as (target, seen):
        with pytest.raises(RetryableError, match="refuses"):
            await sent(target)
        assert seen[0].requests == 5
