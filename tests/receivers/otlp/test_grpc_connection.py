"""The gRPC server against clients that behave badly, and those that are sent away."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Self

import grpc
import grpc.aio
import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest

from otel_tracead.component import Kind, Settings
from otel_tracead.http2 import Connection, connection, header_block, pack
from otel_tracead.metrics import RECEIVER_REQUESTS
from otel_tracead.receivers import otlp
from otel_tracead.receivers.otlp import grpc_connection, grpc_hall, grpc_server, upkeep
from otel_tracead.testing import RecordingConsumer
from tests.contract.receiver_contract import until
from tests.http2.test_http2_against_h2 import Heard
from tests.receivers import samples

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
HEADERS = [
    (":method", "POST"), (":scheme", "http"), (":path", EXPORT), (":authority", "a"), ("te", "trailers"),
    ("content-type", "application/grpc"),
]  # fmt: skip
GOOD = pack(samples.otlp(2))


class Server:
    """The receiver, and its consumer."""

    def __init__(self, **changes: Any) -> None:
        self.consumer = RecordingConsumer()
        self.settings = Settings(id="in", kind=Kind.RECEIVER)
        written = {"protocols": {"grpc": {"endpoint": "127.0.0.1:0", **changes}}}
        self.receiver: Any = otlp.FACTORY.build(
            otlp.OtlpReceiverConfig.model_validate(written), self.settings, self.consumer
        )

    async def __aenter__(self) -> Self:
        await self.receiver.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.receiver.shutdown()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.receiver.ports['grpc']}"

    @property
    def hall(self) -> Any:
        return self.receiver._servers["grpc"].server._hall

    def requests(self, outcome: str) -> float:
        return self.settings.telemetry.value(RECEIVER_REQUESTS, "in", "grpc", outcome)


class Client:
    """HTTP/2 frame by frame, by `h2`."""

    def __init__(self, server: Server) -> None:
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.http.initiate_connection()
        self.events: list[Any] = []
        self.server = server

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.server.receiver.ports["grpc"])
        self.listening = asyncio.create_task(self.listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.listening.cancel()
        self.writer.close()

    async def listen(self) -> None:
        self.flush()
        with suppress(ConnectionResetError):  # the server has closed before it read all that we sent
            while data := await self.reader.read(65536):
                self.events += self.http.receive_data(data)
                self.flush()
        self.events.append("closed")

    def flush(self) -> None:
        self.writer.write(self.http.data_to_send())

    def request(self, stream: int, body: bytes = GOOD, *, end: bool = True) -> None:
        self.http.send_headers(stream, HEADERS)
        self.http.send_data(stream, body, end_stream=end)
        self.flush()

    def heard(self, kind: Any) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, kind: Any, count: int = 1) -> list[Any]:
        await until(lambda: len(self.heard(kind)) >= count)
        return self.heard(kind)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server() as one:
        yield one


async def test_a_request_in_pieces_of_a_byte(server: Server) -> None:
    async with Client(server) as client:
        client.http.send_headers(1, HEADERS)
        for index in range(len(GOOD)):
            client.http.send_data(1, GOOD[index : index + 1])
        client.http.send_data(1, b"", end_stream=True)
        client.flush()
        (trailers,) = await client.until(h2.events.TrailersReceived)
        assert dict(trailers.headers)["grpc-status"] == "0"
    assert len(server.consumer.spans) == 2


async def test_answers_wait_for_room_and_count_as_requests() -> None:
    async with Server(max_concurrent_streams=3) as server, Client(server) as client:
        client.http.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
        client.flush()
        for stream in (1, 3, 5):
            client.request(stream)
        await until(lambda: len(server.consumer.spans) == 6)
        client.http.remote_settings = h2.settings.Settings(client=False)  # it forgets what the server allows
        client.request(7)
        (reset,) = await client.until(h2.events.StreamReset)
        assert (reset.stream_id, reset.error_code) == (7, 7)
        client.http.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1000})
        client.flush()
        await client.until(h2.events.StreamEnded, 3)


async def test_a_request_that_is_reset_is_forgotten_and_one_that_is_whole_finished(server: Server) -> None:
    server.consumer.gate.clear()
    async with Client(server) as client:
        client.request(1, end=False)
        client.request(3)
        await until(lambda: server.hall.room < grpc_server._ROOM)
        client.http.reset_stream(1)
        client.http.reset_stream(3)
        client.flush()
        connection = await connected(server)
        await until(lambda: list(connection._calls) == [3])
        server.consumer.gate.set()
        await until(lambda: server.hall.room == grpc_server._ROOM)
        await until(lambda: len(server.consumer.spans) == 2)
        client.request(5)
        await client.until(h2.events.StreamEnded)


async def test_who_only_resets_is_cut_off(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_MOST_WASTED", 5)
    async with Client(server) as client:
        for stream in range(1, 21, 2):
            client.request(stream, end=False)
            client.http.reset_stream(stream)
        client.flush()
        (goodbye,) = await client.until(h2.events.ConnectionTerminated)
        assert goodbye.error_code == 11
        await until(lambda: "closed" in client.events)


async def test_requests_that_do_not_end_do_not_fill_the_memory(server: Server) -> None:
    server.hall.room = 2000
    async with Client(server) as client:
        for stream in (1, 3):
            client.request(stream, pack(bytes(5000))[:600], end=False)
        (answer,) = await client.until(h2.events.ResponseReceived)
        assert dict(answer.headers)["grpc-status"] == "14"
        assert server.requests("refused") == 1
        client.request(5)
        await client.until(h2.events.TrailersReceived)
    await until(lambda: server.hall.room == 2000)


@pytest.mark.parametrize("what", ["even", "more", "idle"])
async def test_what_breaks_the_rules_of_streams(server: Server, what: str) -> None:
    async with Client(server) as client:
        await client.until(h2.events.RemoteSettingsChanged)
        server.consumer.gate.clear()
        if what == "more":
            client.request(1)
            client.writer.write(bytes.fromhex("000001 00 01 00000001 78"))  # DATA behind the end
            (reset,) = await client.until(h2.events.StreamReset)
            assert reset.error_code == 5
        else:
            idle, even = "000001 00 01 00000009 78", "000003 01 05 00000002 838684"
            client.writer.write(bytes.fromhex(idle if what == "idle" else even))
            (goodbye,) = await client.until(h2.events.ConnectionTerminated)
            assert goodbye.error_code == 1
        server.consumer.gate.set()


async def test_who_pings_all_the_time_is_cut_off(server: Server) -> None:
    async with Client(server) as client:
        for _ in range(5):
            client.http.ping(b"12345678")
        client.flush()
        (goodbye,) = await client.until(h2.events.ConnectionTerminated)
        assert (goodbye.error_code, goodbye.additional_data) == (11, b"too_many_pings")


async def test_who_does_not_speak_http2_is_cut_off(server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.receiver.ports["grpc"])
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert b"this is not HTTP/2" in await asyncio.wait_for(reader.read(), 5)
    writer.close()


@pytest.mark.parametrize("sent", [b"", b"PRI * HTTP/2.0", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
async def test_who_never_begins_is_cut_off(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_GREETING", 0.3)
    async with Server() as server:
        shy = [await asyncio.open_connection(*server.target.split(":")) for _ in range(20)]
        for _, writer in shy:
            writer.write(sent)
        for reader, writer in shy:
            with suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), 5)
            writer.close()
        await until(lambda: not server.hall.connections)


async def test_who_does_not_read_answers_is_not_listened_to(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.receiver.ports["grpc"])) as rude:
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        rude.setblocking(False)
        pings = bytes.fromhex("000008 06 00 00000000") + bytes(8)
        rude.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000 04 00 00000000"))
        await until(lambda: len(server.hall.connections) == 1)
        (connection,) = server.hall.connections
        connection._police.too_many = lambda *_args, **_named: False
        async with asyncio.timeout(10):
            while connection._transport.is_reading():
                try:
                    rude.send(pings * 1000)
                except BlockingIOError:
                    await asyncio.sleep(0.001)
                await asyncio.sleep(0)
        assert connection._transport.get_write_buffer_size() < 10 << 20


async def test_a_kept_connection_is_sent_away_and_its_requests_are_answered() -> None:
    keepalive = {"server_parameters": {"max_connection_age": "200ms", "max_connection_age_grace": "5s"}}
    async with Server(keepalive=keepalive) as server, grpc.aio.insecure_channel(server.target) as channel:
        export = channel.unary_unary(EXPORT)
        async with asyncio.timeout(10):
            for _ in range(100):
                assert await export(samples.otlp(1)) == b""
                await asyncio.sleep(0.01)
        assert len(server.consumer.spans) == 100


class Patient(asyncio.Protocol):
    """A client that goes on after a goodbye, which `h2` does not."""

    def __init__(self) -> None:
        self.goodbyes: list[int] = []
        self.heard = Heard()
        self.heard.on_goaway = lambda last, _code, _text: self.goodbyes.append(last)  # type: ignore[method-assign]
        self.http = Connection(self.heard, client=True)
        self.closed = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.http.take())

    def data_received(self, data: bytes) -> None:
        self.http.receive(data)
        self.transport.write(self.http.take())

    def connection_lost(self, _error: Exception | None) -> None:
        self.closed = True

    def request(self, stream: int) -> None:
        assert self.http.open() == stream
        self.http.send_headers(stream, header_block((name.encode(), value.encode()) for name, value in HEADERS))
        self.http.send_body(stream, GOOD)
        self.transport.write(self.http.take())

    @classmethod
    async def connected(cls, server: Server) -> "Patient":
        port = server.receiver.ports["grpc"]
        return (await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port))[1]


async def test_an_idle_connection_is_sent_away() -> None:
    async with Server(keepalive={"server_parameters": {"max_connection_idle": "50ms"}}) as server:
        client = await Patient.connected(server)
        await until(lambda: client.closed)
        assert client.goodbyes == [(1 << 31) - 1, 0]


async def test_a_silent_connection_is_cut_off() -> None:
    async with Server(keepalive={"server_parameters": {"time": "50ms", "timeout": "50ms"}}) as server:
        client = await Patient.connected(server)
        await until(lambda: client.heard.pings >= 3)  # answered, so it is kept
        client.transport.pause_reading()
        await until(lambda: not server.hall.connections)
        client.transport.abort()


async def test_a_stop_says_which_requests_it_still_answers(server: Server) -> None:
    server.consumer.gate.clear()
    client = await Patient.connected(server)
    client.request(1)
    await until(lambda: bool(server.hall.connections) and bool(next(iter(server.hall.connections))._calls))
    stopping = asyncio.create_task(server.receiver.shutdown())
    await until(lambda: len(client.goodbyes) == 2)
    assert client.goodbyes == [(1 << 31) - 1, 1]
    client.request(3)  # behind the goodbye: nobody looks at it
    server.consumer.gate.set()
    await until(lambda: client.closed)
    await stopping
    assert (client.heard.ended, len(server.consumer.spans)) == ({1}, 2)


async def test_requests_that_are_reset_count_until_they_are_done() -> None:
    """Rapid reset (CVE-2023-44487): who resets what is being worked on has no room for more of that."""
    async with Server(max_concurrent_streams=3) as server, Client(server) as client:
        server.consumer.gate.clear()
        for stream in range(1, 21, 2):
            client.request(stream)
            client.http.reset_stream(stream)
        client.flush()
        connection = await connected(server)
        await until(lambda: connection._http.last == 19)
        assert (len(connection._calls), len(connection._http._streams)) == (3, 0)
        server.consumer.gate.set()
        await until(lambda: not connection._calls)
        assert len(server.consumer.spans) == 6
        client.request(21)
        await client.until(h2.events.StreamEnded)


async def connected(server: Server) -> Any:
    await until(lambda: len(server.hall.connections) == 1)
    return next(iter(server.hall.connections))


async def test_parts_of_a_body_are_counted_with_what_they_take_in_memory(server: Server) -> None:
    async with Client(server) as client:
        client.http.send_headers(1, HEADERS)
        for _ in range(100):
            client.http.send_data(1, b"\0\0")
        client.flush()
        await until(lambda: server.hall.room <= grpc_server._ROOM - 100 * 50)
        client.http.reset_stream(1)
        client.flush()
        await until(lambda: server.hall.room == grpc_server._ROOM)


async def test_large_requests_take_room_until_they_are_answered(server: Server) -> None:
    server.consumer.gate.clear()
    async with Client(server) as client:
        client.request(1, GOOD[:9], end=False)
        client.http.send_data(1, GOOD[9:], end_stream=True)
        client.flush()
        connection = await connected(server)
        await until(lambda: 1 in connection._calls and connection._calls[1].whole)
        assert server.hall.room < grpc_server._ROOM
        server.consumer.gate.set()
        await client.until(h2.events.StreamEnded)
        assert server.hall.room == grpc_server._ROOM


async def test_who_stops_in_the_middle_does_not_keep_others_out(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_hall, "_PATIENCE", 0.05)
    server.hall.room = 1500
    async with Client(server) as slow, Client(server) as other:
        slow.request(1, pack(bytes(5000))[:900], end=False)
        await until(lambda: server.hall.room < 200)
        await asyncio.sleep(0.1)
        other.request(1, GOOD[:150], end=False)
        (answer,) = await slow.until(h2.events.ResponseReceived)
        assert dict(answer.headers)["grpc-status"] == "14"
        other.http.send_data(1, GOOD[150:], end_stream=True)
        other.flush()
        (trailers,) = await other.until(h2.events.TrailersReceived)
        assert dict(trailers.headers)["grpc-status"] == "0"
        assert server.requests("refused") == 1


async def test_who_breaks_the_rules_while_answers_wait_is_cut_off(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_connection, "_GOODBYE", 0.05)
    async with Client(server) as client:
        client.http.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
        client.request(1)
        connection = await connected(server)
        await until(lambda: connection._http.waiting == 1)
        client.writer.write(bytes.fromhex("000001 06 00 00000000 78"))
        (goodbye,) = await client.until(h2.events.ConnectionTerminated)
        assert goodbye.error_code == 6
        await until(lambda: not server.hall.connections)
        await until(lambda: "closed" in client.events)


async def test_who_breaks_the_rules_and_does_not_read_is_cut_off_as_well(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_connection, "_GOODBYE", 0.05)
    async with Client(server) as client:
        connection = await connected(server)
        connection._transport.set_write_buffer_limits(high=1 << 30)
        connection._transport.write(bytes(64 << 20))  # more than both kernels keep
        client.listening.cancel()
        client.writer.transport.pause_reading()
        client.writer.write(bytes.fromhex("000001 06 00 00000000 78"))
        await until(lambda: not server.hall.connections)


async def test_requests_without_a_body_take_room_as_well(server: Server) -> None:
    server.hall.room = 10_000
    async with Client(server) as client:
        for stream in range(1, 60, 2):
            client.http.send_headers(stream, HEADERS)
        client.flush()
        refused = await client.until(h2.events.ResponseReceived, 11)
        assert {dict(answer.headers)["grpc-status"] for answer in refused} == {"14"}
        assert len((await connected(server))._calls) == 19
    await until(lambda: server.hall.room == 10_000)
