"""The channel of `otlp_grpc`: its connections come, go and take turns, against servers of grpcio and of `h2`."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from otel_tracead_exporters.otlp_grpc import FACTORY
from otel_tracead_exporters.otlp_grpc.channel import Channel
from otel_tracead_exporters.otlp_grpc.config import KeepaliveClient
from otel_tracead_exporters.otlp_grpc.target import Proxy, Target, proxy_for

from otel_tracead.component import Kind, Settings
from otel_tracead.delivery import Consignment
from otel_tracead.errors import ConfigError
from otel_tracead.http2 import header_block, pack
from tests.contract.exporter_contract import batch
from tests.contract.receiver_contract import until

HEADERS = header_block(
    (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/a.B/C"),
        (b":authority", b"a"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    )
)
TRAILERS = [("grpc-status", "0")]


class Echo:
    """A server of grpcio's that gives back what it gets."""

    def __init__(self) -> None:
        self.calls = 0
        self.port = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def echo(self, body: bytes, _context: Any) -> bytes:
        self.calls += 1
        await self.gate.wait()
        return body

    async def start(self, address: str = "127.0.0.1", options: Any = ()) -> None:
        self.server = grpc.aio.server(options=[("grpc.so_reuseport", 0), *options])
        handlers = {"C": grpc.unary_unary_rpc_method_handler(self.echo)}
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.B", handlers),))
        where = address if address.startswith("unix:") else f"{address}:{self.port}"
        self.port = self.server.add_insecure_port(where)
        await self.server.start()

    async def stop(self, grace: float = 0) -> None:
        await self.server.stop(grace)


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    server = Echo()
    await server.start()
    yield server
    server.gate.set()
    await server.stop()


@asynccontextmanager
async def channel(
    target: str, balancer: Any = "round_robin", keepalive: dict[str, Any] | None = None
) -> AsyncIterator[Channel]:
    kept = None if keepalive is None else KeepaliveClient.model_validate(keepalive)
    made = Channel(Target.parse(target), None, None, kept, balancer)
    yield made
    await made.close()


async def call(made: Channel, body: bytes = b"x", **named: Any) -> Any:
    async with asyncio.timeout(10):
        return await made.call(HEADERS, pack(body), **named)


async def test_bodies_of_every_size(echo: Echo) -> None:
    async with channel(f"127.0.0.1:{echo.port}") as made:
        for size in (0, 1, 16_379, 16_384, 70_000, 3_000_000):
            answer = await call(made, b"x" * size)
            assert (answer.status.code, len(answer.message)) == (0, size)


async def test_many_at_a_time_over_one_connection(echo: Echo) -> None:
    async with channel(f"127.0.0.1:{echo.port}") as made:
        answers = await asyncio.gather(*(call(made, b"%d" % number * 3000) for number in range(100)))
        assert [answer.message for answer in answers] == [b"%d" % number * 3000 for number in range(100)]
        assert len(made._connections) == 1


async def test_no_more_at_a_time_than_the_server_allows() -> None:
    echo = Echo()
    await echo.start(options=[("grpc.max_concurrent_streams", 2)])
    async with channel(f"127.0.0.1:{echo.port}") as made:
        await call(made)
        echo.gate.clear()
        calls = [asyncio.create_task(call(made)) for _ in range(7)]
        await until(lambda: echo.calls == 3)
        await asyncio.sleep(0.05)
        assert echo.calls == 3
        echo.gate.set()
        assert [(await one).status.code for one in calls] == [0] * 7
    await echo.stop()


async def test_two_servers_take_turns_and_one_of_them_does_for_both() -> None:
    one, two = Echo(), Echo()
    for server in (one, two):
        await server.start()
    async with channel(f"ipv4:127.0.0.1:{one.port},127.0.0.1:{two.port}") as made:
        await until_both(made)
        one.calls = two.calls = 0
        for _ in range(10):
            await call(made)
        assert (one.calls, two.calls) == (5, 5)
        await one.stop()
        await until(lambda: len(made._connections) == 1)
        for _ in range(4):
            assert (await call(made)).status.code == 0
        assert two.calls == 9
    async with channel(f"ipv4:127.0.0.1:{one.port},127.0.0.1:{two.port}", "pick_first") as made:
        assert (await call(made)).status.code == 0
    await two.stop()


async def until_both(made: Channel) -> None:
    async with asyncio.timeout(10):
        while len(made._connections) < 2:
            await call(made)


async def test_a_server_that_comes_back_is_found_again(echo: Echo) -> None:
    async with channel(f"127.0.0.1:{echo.port}") as made:
        assert (await call(made)).status.code == 0
        await echo.stop()
        refused = await call(made)
        assert refused.status.code == 14
        answer = asyncio.create_task(call(made, wait_for_ready=True))
        await asyncio.sleep(0.1)
        assert not answer.done()
        await echo.start()
        assert (await answer).status.code == 0


async def test_nobody_there_is_said_with_the_reason() -> None:
    async with channel("127.0.0.1:1") as made:
        answer = await call(made)
        assert answer.status.code == 14
        assert "127.0.0.1:1" in answer.status.message
        assert "refused" in answer.status.message
    async with channel("no.such.host.invalid:1") as made:
        assert "looked up" in (await call(made)).status.message


async def test_a_call_that_nobody_waits_for_is_cancelled(echo: Echo) -> None:
    echo.gate.clear()
    async with channel(f"127.0.0.1:{echo.port}") as made:
        one = asyncio.create_task(call(made))
        await until(lambda: echo.calls == 1)
        one.cancel()
        await asyncio.gather(one, return_exceptions=True)
        (connection,) = made._connections.values()
        assert connection._calls == {}
        echo.gate.set()
        assert (await call(made)).status.code == 0


async def test_a_unix_socket(tmp_path: Path) -> None:
    echo = Echo()
    await echo.start(f"unix:{tmp_path}/s")
    async with channel(f"unix:{tmp_path}/s") as made:
        assert (await call(made)).message == b"x"
    async with channel(f"unix://{tmp_path}/s") as made:
        assert (await call(made)).message == b"x"
    await echo.stop()


async def test_through_a_proxy(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head)
        if b"Basic" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            writer.close()
            return
        back, forth = await asyncio.open_connection("127.0.0.1", echo.port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

        async def carry(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                to.write(data)
            to.close()

        await asyncio.gather(carry(reader, forth), carry(back, writer))

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
    async with channel("backend.test:4317") as made:
        assert "407" in (await call(made)).status.message
    monkeypatch.setenv("grpc_proxy", f"http://me:secret@127.0.0.1:{port}")
    async with channel("backend.test:4317") as made:
        assert (await call(made)).message == b"x"
    assert asked[-1].startswith(b"CONNECT backend.test:4317 HTTP/1.1\r\n")
    proxy.close()


class Scripted(asyncio.Protocol):
    """A server of `h2` that does as a test says."""

    def __init__(self, script: Callable[["Scripted", Any], None], seen: list["Scripted"]) -> None:
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.script = script
        self.requests = 0
        self.pings = 0
        self.resets = 0
        self.headers: list[dict[bytes, bytes]] = []
        seen.append(self)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.http.initiate_connection()
        self.flush()

    def data_received(self, data: bytes) -> None:
        for event in self.http.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                self.headers.append(dict(event.headers))
            if isinstance(event, h2.events.StreamEnded):
                self.requests += 1
                self.script(self, event.stream_id)
            self.pings += isinstance(event, h2.events.PingReceived)
            self.resets += isinstance(event, h2.events.StreamReset)
        self.flush()

    def flush(self) -> None:
        self.transport.write(self.http.data_to_send())

    def answer(self, stream: int, *, trailers: Any = TRAILERS, body: bytes = pack(b"ok")) -> None:
        self.http.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        self.http.send_data(stream, body)
        self.http.send_headers(stream, trailers, end_stream=True)


@asynccontextmanager
async def scripted(script: Callable[[Scripted, Any], None]) -> AsyncIterator[tuple[str, list[Scripted]]]:
    seen: list[Scripted] = []
    server = await asyncio.get_running_loop().create_server(lambda: Scripted(script, seen), "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", seen
    server.close()
    for one in seen:
        one.transport.abort()
    await asyncio.sleep(0)


async def test_what_a_server_has_not_looked_at_is_asked_elsewhere_at_once() -> None:
    def script(server: Scripted, stream: int) -> None:
        if len(seen) == 1:
            server.http.close_connection(last_stream_id=stream - 2 if stream > 1 else 0)
        elif len(seen) == 2 and server.requests == 1:
            server.http.reset_stream(stream, error_code=7)
        else:
            server.answer(stream)

    async with scripted(script) as (target, seen), channel(target) as made:
        answer = await call(made)
        assert (answer.status.code, answer.message, len(seen)) == (0, b"ok", 2)


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        (lambda server, stream: server.transport.abort(), 14, "connection"),
        (lambda server, stream: server.http.reset_stream(stream, error_code=8), 1, "CANCEL"),
        (lambda server, stream: server.http.reset_stream(stream, error_code=2), 13, "INTERNAL_ERROR"),
        (lambda server, stream: server.http.reset_stream(stream, error_code=99), 13, "99"),
        (lambda server, stream: server.http.reset_stream(stream, error_code=11), 8, "ENHANCE"),
        (lambda server, stream: server.http.send_headers(stream, [(":status", "503")], end_stream=True), 14, "503"),
        (lambda server, stream: server.http.send_headers(stream, [(":status", "404")]), 12, "404"),
        (
            lambda server, stream: server.answer(stream, trailers=[("grpc-status", "9"), ("grpc-message", "a%20b")]),
            9,
            "a b",
        ),
        (lambda server, stream: server.transport.write(b"\0\0\1\1\5\0\0\0\1\xff"), 14, "connection"),
    ],
)
async def test_what_servers_say(script: Callable[[Scripted, int], None], code: int, words: str) -> None:
    async with scripted(script) as (target, _), channel(target) as made:
        answer = await call(made)
        assert (answer.status.code, words in answer.status.message) == (code, True), answer


async def test_an_answer_without_end_is_not_kept() -> None:
    sent = 0

    def script(server: Scripted, stream: int) -> None:
        server.http.send_headers(stream, [(":status", "200")])

    async with scripted(script) as (target, seen), channel(target) as made:
        task = asyncio.create_task(call(made))
        await until(lambda: bool(seen) and seen[0].requests == 1)
        while not task.done() and sent < 6 << 20:
            while sent < 6 << 20 and seen[0].http.local_flow_control_window(1) >= 1 << 14:
                seen[0].http.send_data(1, bytes(1 << 14))
                sent += 1 << 14
                seen[0].flush()
                await asyncio.sleep(0)
                if seen[0].resets:
                    break
            await asyncio.sleep(0.001)
            if seen[0].resets:
                break
        assert (await task).status.code == 8


async def test_silence_is_probed_and_then_the_connection_is_lost() -> None:
    async with scripted(lambda server, stream: None) as (target, seen):
        async with channel(target, keepalive={"time": "30ms", "timeout": "50ms"}) as made:
            task = asyncio.create_task(call(made))
            await until(lambda: bool(seen) and seen[0].pings >= 3)  # answered, so it is kept
            seen[0].transport.pause_reading()
            assert (await task).status.code == 14
        async with channel(target, keepalive={"time": "30ms", "permit_without_stream": True}) as made:
            task = asyncio.create_task(call(made))
            await until(lambda: len(seen) == 2 and seen[1].pings >= 1)
            task.cancel()


async def test_what_is_sent_of_a_configuration() -> None:
    compressions = {"gzip": gzip.decompress, "deflate": zlib.decompress, "none": bytes}
    for compression, unpacked in compressions.items():
        bodies: list[bytes] = []

        class Keeping(Scripted):
            def data_received(self, data: bytes) -> None:
                for event in h2.connection.H2Connection.receive_data(self.http, data):
                    if isinstance(event, h2.events.RequestReceived):
                        self.headers.append(dict(event.headers))
                    if isinstance(event, h2.events.DataReceived):
                        bodies.append(event.data)  # noqa: B023 (one round)
                    if isinstance(event, h2.events.StreamEnded):
                        self.answer(event.stream_id, body=pack(b""))
                self.flush()

        seen: list[Scripted] = []
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Keeping(lambda *_: None, seen), "127.0.0.1", 0)  # noqa: B023
        written = {
            "endpoint": f"127.0.0.1:{server.sockets[0].getsockname()[1]}",
            "tls": {"insecure": True},
            "compression": compression,
            "headers": {"X-Api-Key": "hunter2"},
            "authority": "shop.test",
            "user_agent": "mine/1",
        }
        exporter: Any = FACTORY.build(
            FACTORY.config.model_validate(written), Settings(id="x", kind=Kind.EXPORTER), None
        )
        await exporter.start()
        await exporter.consume(Consignment(batch("a", "b")))
        await exporter.shutdown()
        (headers,) = seen[0].headers
        assert headers[b":authority"] == b"shop.test"
        assert headers[b"x-api-key"] == b"hunter2"
        assert headers[b"user-agent"].startswith(b"mine/1 otel-tracead/")
        body = b"".join(bodies)
        assert (body[0], headers.get(b"grpc-encoding", b"none")) == (compression != "none", compression.encode())
        assert b"a" in unpacked(body[5:])
        server.close()


@pytest.mark.parametrize(
    ("text", "hosts", "authority"),
    [
        ("a:1", (("a", 1),), "a:1"),
        ("dns:///a:1", (("a", 1),), "a:1"),
        ("dns:a:1", (("a", 1),), "a:1"),
        ("[::1]:4317", (("::1", 4317),), "[::1]:4317"),
        ("ipv4:1.2.3.4:5,5.6.7.8:9", (("1.2.3.4", 5), ("5.6.7.8", 9)), "1.2.3.4:5"),
        ("ipv6:[::1]:5", (("::1", 5),), "[::1]:5"),
        ("unix:/run/x", (), "localhost"),
    ],
)
def test_targets(text: str, hosts: tuple[tuple[str, int], ...], authority: str) -> None:
    target = Target.parse(text)
    assert (target.hosts, target.authority) == (hosts, authority)


@pytest.mark.parametrize("endpoint", ["dns://8.8.8.8/a:1", "xds:///a:1"])
def test_what_no_channel_connects_to_is_said_at_once(endpoint: str) -> None:
    config = FACTORY.config.model_validate({"endpoint": endpoint})
    with pytest.raises(ConfigError, match="endpoint: "):
        FACTORY.build(config, Settings(id="x", kind=Kind.EXPORTER), None)


def test_which_proxy() -> None:
    url = {"https_proxy": "http://p:8080"}
    assert proxy_for("a.test", 1, url) == Proxy("p", 8080)
    assert proxy_for("a.test", 1, {**url, "no_proxy": "b.test,.test"}) is None
    assert proxy_for("a.test", 1, {**url, "no_grpc_proxy": "b.test"}) == Proxy("p", 8080)
    assert proxy_for("a.test", 1, {"http_proxy": "q:1", "grpc_proxy": "http://u:p%40@r:2"}) == Proxy(
        "r", 2, "Basic dTpwQA=="
    )
    assert proxy_for("a.test", 1, {}) is None
    assert Proxy("p", 1).request("::1", 2) == b"CONNECT [::1]:2 HTTP/1.1\r\nHost: [::1]:2\r\n\r\n"
