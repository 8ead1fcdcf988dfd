"""Receivers whose configuration changes while clients send: who listens on, who takes over, and what clients see."""

import asyncio
import http.client
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from otel_tracead.component import Kind, Revisable, Settings
from otel_tracead.receivers import http as listening
from otel_tracead.receivers import otlp, zipkin
from otel_tracead.testing import RecordingConsumer
from tests.receivers import samples

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
PROTOBUF = {"Content-Type": "application/x-protobuf"}


class Receiver:
    """The `otlp` receiver, its consumer, and clients that never try again."""

    def __init__(self) -> None:
        self.consumer = RecordingConsumer()
        self.settings = Settings(id="otlp", kind=Kind.RECEIVER)
        self.tree: dict[str, Any] = {"grpc": {"endpoint": "127.0.0.1:0"}, "http": {"endpoint": "127.0.0.1:0"}}
        self.receiver: Any = otlp.FACTORY.build(self.config(), self.settings, self.consumer)

    def config(self) -> otlp.OtlpReceiverConfig:
        return otlp.OtlpReceiverConfig.model_validate({"protocols": self.tree})

    async def revise(self, **protocols: Any) -> None:
        self.tree = {name: value for name, value in {**self.tree, **protocols}.items() if value is not ...}
        assert isinstance(self.receiver, Revisable)
        async with self.receiver.revision(self.config(), self.settings):
            pass

    @property
    def ports(self) -> dict[str, int]:
        ports: dict[str, int] = self.receiver.ports
        return ports

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.ports["http"], timeout=10)

    async def over_grpc(self) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.ports['grpc']}") as channel:
            await channel.unary_unary(EXPORT)(samples.otlp(1), timeout=10)


async def post(connection: http.client.HTTPConnection) -> tuple[int, dict[str, str]]:
    def work() -> tuple[int, dict[str, str]]:
        connection.request("POST", "/v1/traces", samples.otlp(1), PROTOBUF)
        answer = connection.getresponse()
        answer.read()
        return answer.status, dict(answer.getheaders())

    return await asyncio.to_thread(work)


@pytest.fixture
async def running() -> AsyncIterator[Receiver]:
    one = Receiver()
    await one.receiver.start()
    yield one
    await one.receiver.shutdown()


async def test_a_listener_of_which_nothing_new_is_said_listens_on(running: Receiver) -> None:
    connection = running.connection()
    await post(connection)
    before = running.ports
    await running.revise(grpc={"endpoint": "127.0.0.1:0", "max_concurrent_streams": 7})
    assert running.ports == before
    status, headers = await post(connection)  # the same connection
    assert (status, headers.get("Connection")) == (200, None)
    await running.over_grpc()
    connection.close()


async def test_the_same_configuration_changes_nothing(running: Receiver) -> None:
    servers = dict(running.receiver._servers)
    await running.revise()
    assert running.receiver._servers == servers


async def test_a_kept_connection_is_served_once_more_and_then_goes_to_the_successor(running: Receiver) -> None:
    kept, before = running.connection(), running.ports
    await post(kept)
    await running.revise(http={"endpoint": "127.0.0.1:0", "response_headers": {"x-config": "new"}})
    assert running.ports == before
    status, headers = await post(kept)
    assert (status, headers["Connection"], headers.get("x-config")) == (200, "close", None)
    status, headers = await post(kept)  # http.client connects again, as it was told to
    assert (status, headers["x-config"]) == (200, "new")
    assert len(running.consumer.spans) == 3
    kept.close()


async def test_requests_under_way_are_answered_by_whom_they_were_sent_to(running: Receiver) -> None:
    running.consumer.gate.clear()
    connections = [running.connection() for _ in range(5)]
    asked = [asyncio.create_task(post(connection)) for connection in connections]
    await asyncio.sleep(0.1)
    await running.revise(http={"endpoint": "127.0.0.1:0", "max_request_body_size": 9999})
    await asyncio.sleep(0.1)
    running.consumer.gate.set()
    assert [status for status, _ in await asyncio.gather(*asked)] == [200] * 5
    assert len(running.consumer.spans) == 5
    for connection in connections:
        connection.close()


async def test_who_connects_all_the_time_is_never_refused(running: Receiver) -> None:
    stop = asyncio.Event()
    served = 0

    async def client() -> None:
        nonlocal served
        while not stop.is_set():
            connection = running.connection()
            status, _ = await post(connection)
            assert status == 200
            served += 1
            connection.close()

    clients = [asyncio.create_task(client()) for _ in range(4)]
    for size in range(1000, 1012):
        await running.revise(http={"endpoint": "127.0.0.1:0", "max_request_body_size": size})
        await asyncio.sleep(0.05)
    stop.set()
    await asyncio.gather(*clients)
    assert len(running.consumer.spans) == served > 20


async def test_an_idle_connection_is_closed_after_a_while(running: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "LINGER", 0.1)
    monkeypatch.setattr(listening, "_HANDSHAKE", 0.01)
    with socket.create_connection(("127.0.0.1", running.ports["http"])) as idle:
        idle.setblocking(False)
        await asyncio.sleep(0.05)
        await running.revise(http={"endpoint": "127.0.0.1:0", "max_request_body_size": 9999})
        assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(idle, 1), 5) == b""


async def test_a_listener_may_move_come_and_go(running: Receiver) -> None:
    old = running.ports
    await running.revise(http={"endpoint": "127.0.0.2:0"}, grpc=...)
    assert set(running.ports) == {"http"}
    await asyncio.sleep(0.1)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", old["grpc"]), timeout=1)
    await running.revise(grpc={"endpoint": "127.0.0.1:0"}, http=...)
    await running.over_grpc()


async def test_what_cannot_listen_changes_nothing(running: Receiver) -> None:
    before = running.ports
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=f"cannot listen on {endpoint}"):
            await running.revise(
                grpc={"endpoint": endpoint}, http={"endpoint": "127.0.0.1:0", "max_request_body_size": 9}
            )
    running.tree = {"grpc": {"endpoint": "127.0.0.1:0"}, "http": {"endpoint": "127.0.0.1:0"}}
    assert running.ports == before
    connection = running.connection()
    assert (await post(connection))[0] == 200
    await running.over_grpc()
    connection.close()


async def test_a_shutdown_does_not_wait_for_idle_connections(running: Receiver) -> None:
    with socket.create_connection(("127.0.0.1", running.ports["http"])):
        await running.revise(http={"endpoint": "127.0.0.1:0", "max_request_body_size": 9999})
        await asyncio.sleep(0.05)
        started = time.monotonic()
        await running.receiver.shutdown()
        assert time.monotonic() - started < 5


async def test_zipkin_takes_over_too() -> None:
    consumer = RecordingConsumer()
    settings = Settings(id="zipkin", kind=Kind.RECEIVER)
    config = zipkin.ZipkinReceiverConfig.model_validate({"endpoint": "127.0.0.1:0"})
    receiver: Any = zipkin.FACTORY.build(config, settings, consumer)
    await receiver.start()
    before = receiver.ports
    changed = config.model_copy(update={"max_request_body_size": 10})
    async with receiver.revision(changed, settings):
        pass
    assert receiver.ports == before
    connection = http.client.HTTPConnection("127.0.0.1", before["http"], timeout=10)

    def send() -> int:
        connection.request("POST", "/api/v2/spans", samples.zipkin(1), {"Content-Type": "application/json"})
        return connection.getresponse().status

    await asyncio.sleep(0.1)  # until the old one accepts no more
    assert await asyncio.to_thread(send) == 413
    connection.close()
    await receiver.shutdown()
