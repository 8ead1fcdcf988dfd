"""What is full says so, to whoever sends, and nobody else pays for it."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import grpc
import grpc.aio
import pytest

from otel_tracead.processors.tracead import processor
from otel_tracead.wire.rpc_status import RpcStatus
from tests.exporters.backends import GrpcBackend, HttpBackend
from tests.faults.pipeline import Stage, names, post, request, stage, until
from tests.faults.test_backend_faults import arrived, at, exporter
from tools.peers.backend import EXPORT


@pytest.fixture
async def slow() -> AsyncIterator[GrpcBackend]:
    one = GrpcBackend()
    await one.start()
    one.gate.clear()
    yield one
    one.gate.set()
    await one.stop()


@pytest.fixture
async def quick() -> AsyncIterator[HttpBackend]:
    one = HttpBackend()
    await one.start()
    yield one
    await one.stop()


async def told_over_http(running: Stage, body: bytes) -> tuple[int, str | None]:
    async with aiohttp.ClientSession() as session:
        return await post(session, running.http, body)


async def told_over_grpc(running: Stage, body: bytes) -> tuple[str, float | None]:
    """Send once; give the status, and the delay in its RetryInfo."""
    async with grpc.aio.insecure_channel(running.grpc, options=[("grpc.enable_retries", 0)]) as channel:
        try:
            await channel.unary_unary(EXPORT)(body, timeout=10)
        except grpc.aio.AioRpcError as error:
            details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
            status = RpcStatus.decode(bytes(details))
            return error.code().name, None if status is None else status.retry_after
        return "OK", None


async def test_one_slow_exporter_stalls_its_sibling_only_when_its_own_queue_is_full(
    tiny_artifact: Path, slow: GrpcBackend, quick: HttpBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then senders are told, over both protocols; and what was taken arrives at both."""
    bounds = processor.Bounds(pending_spans=9)
    monkeypatch.setattr(processor, "Bounds", lambda: bounds)
    short = {"timeout": "30s", "sending_queue": {"queue_size": 60, "sizer": "items"}}
    out = exporter("otlp_grpc", at(slow), **short) | exporter("otlp_http", at(quick))
    async with stage(tiny_artifact, out, wait_duration="10ms") as running:
        for trace in range(20):
            await running.send(request(trace))
            await until(lambda trace=trace: len(arrived(quick)) == 3 * (trace + 1))
        assert running.books.queued("otlp_grpc") == 60
        assert arrived(slow) == {}
        running.books.check("otlp_grpc", "otlp_http")
        taken = 20
        while (await told_over_http(running, request(taken)))[0] == 200:  # what the processor still holds
            taken += 1
            await asyncio.sleep(0.05)
            assert taken < 40
        assert await told_over_http(running, request(taken)) == (503, "1")
        assert await told_over_grpc(running, request(taken)) == ("UNAVAILABLE", 1.0)
        assert running.books.refused == 9
        assert running.books.total("otelcol_exporter_enqueue_failed_spans", exporter="otlp_grpc") > 0
        assert running.logged("sending queue is full")
        running.books.check("otlp_grpc", "otlp_http")
        slow.gate.set()
        await until(lambda: len(arrived(slow)) == len(arrived(quick)) == 3 * taken)
        await running.send_grpc(request(taken))
        await until(lambda: arrived(slow) == arrived(quick) == names(range(taken + 1)))
        running.books.check("otlp_grpc", "otlp_http")


async def test_short_memory_is_said_on_the_wire(tiny_artifact: Path, quick: HttpBackend) -> None:
    short = {"memory_limiter": {"check_interval": "100ms", "limit_mib": 2}}  # no Python fits into that
    async with stage(tiny_artifact, exporter("otlp_http", at(quick)), short) as running:
        assert await told_over_http(running, request(1)) == (503, "1")
        assert await told_over_grpc(running, request(1)) == ("UNAVAILABLE", 1.0)
        assert running.books.refused == 6
        assert running.books.total("otelcol_processor_memory_limiter_refused_spans") == 6
        assert "high memory usage" in running.health("processor:memory_limiter").error
        assert running.books.accepted == 0


@pytest.mark.python_resolver
async def test_names_that_are_looked_up_for_ever_keep_no_large_request_waiting(
    tiny_artifact: Path, quick: HttpBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncio looks names up in the threads that it has for everything; large bodies are read in threads of their own."""
    look_up, over, hanging = socket.getaddrinfo, threading.Event(), []

    def resolver(host: str, *rest: object, **keys: object) -> object:
        if str(host).endswith(".test"):
            hanging.append(host)
            over.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return look_up(host, *rest, **keys)  # type: ignore[call-overload]

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    out = {f"otlp_http/{n}": {"endpoint": f"http://away{n}.test:1"} for n in range(12)}
    with pytest.raises(RuntimeError, match="could not hand on 6 spans"):  # noqa: PT012 (it is raised at its end)
        async with stage(tiny_artifact, out, wait_duration="10ms") as running:
            await running.send(request(0))
            await until(lambda: len(hanging) >= 5)
            assert await asyncio.wait_for(told_over_http(running, request(1, size=500_000)), 5) == (200, None)
            await until(lambda: running.books.held == 0)
            for node in running.service.graph.exporters:
                node.component.drain_timeout = 0.1  # type: ignore[attr-defined]
            over.set()
