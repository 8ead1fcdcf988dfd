"""The backend is away, slow, talks nonsense, refuses: what was accepted arrives, or is given up and counted."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from otel_tracead.component import Kind, Settings
from otel_tracead.health import Status
from otel_tracead.receivers import otlp
from otel_tracead.testing import RecordingConsumer
from tests.contract.exporter_contract import BackendState
from tests.exporters.backends import GrpcBackend, HttpBackend
from tests.exporters.certificates import expire, make
from tests.faults.line import Line
from tests.faults.pipeline import Stage, names, request, stage, until

TRACES = range(20)
ALL = names(TRACES)
BODIES = [request(trace) for trace in TRACES]
# An answer that is none, a promise that is broken, and another protocol.
NONSENSE = [
    b"\x16\x03\x01 what?\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort",
    b"\0" * 64,
    b"SSH-2.0-x\r\n",
]

KINDS = ["otlp_grpc", "otlp_http"]  # zipkin posts with the client of otlp_http


def exporter(kind: str, endpoint: str, **keys: Any) -> dict[str, dict[str, Any]]:
    """An exporter to host:port."""
    if kind == "otlp_grpc":
        return {kind: {"endpoint": endpoint, "tls": {"insecure": True}, **keys}}
    path = "/api/v2/spans" if kind == "zipkin" else ""
    return {kind: {"endpoint": f"http://{endpoint}{path}", **keys}}


@asynccontextmanager
async def backend(kind: str, port: int = 0) -> AsyncIterator[Any]:
    one: Any = GrpcBackend() if kind == "otlp_grpc" else HttpBackend()
    one.port = port
    await one.start()
    try:
        yield one
    finally:
        await one.stop()


def arrived(one: BackendState) -> Counter[str]:
    return Counter(name for names in one.received for name in names)


def at(one: Any) -> str:
    return f"127.0.0.1:{one.port}"


async def until_all_is_there(running: Stage, one: BackendState, kind: str) -> None:
    await until(lambda: len(arrived(one)) == len(ALL) and running.books.queued(kind) == 0)
    running.books.check(kind)
    assert running.books.given_up(kind) == 0
    assert running.health(f"exporter:{kind}").status is Status.OK


@pytest.mark.parametrize("kind", KINDS)
async def test_a_backend_that_is_away_gets_everything_once_it_is_back(tiny_artifact: Path, kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    async with stage(tiny_artifact, exporter(kind, f"127.0.0.1:{port}")) as running:
        await running.send(*BODIES)
        await until(lambda: running.books.queued(kind) == len(ALL))
        await until(lambda: running.books.total("otelcol_exporter_tracead_retries") > 3)
        assert running.health(f"exporter:{kind}").status is Status.RECOVERABLE_ERROR
        assert len(running.logged("the backend did not take a request")) == 1
        running.books.check(kind)
        async with backend(kind, port) as one:
            await until_all_is_there(running, one, kind)
            assert arrived(one) == ALL


@pytest.mark.parametrize("kind", KINDS)
async def test_a_slow_line_delays(tiny_artifact: Path, kind: str) -> None:
    async with backend(kind) as one:
        with Line(at(one)) as line:
            line.rate = 20_000
            async with stage(tiny_artifact, exporter(kind, line.endpoint, timeout="10s")) as running:
                await running.send(*BODIES)
                await until_all_is_there(running, one, kind)
                assert arrived(one) == ALL


@pytest.mark.parametrize("kind", KINDS)
async def test_a_backend_that_does_not_answer_in_time_is_asked_again(tiny_artifact: Path, kind: str) -> None:
    """It may have taken the request: then it has its spans twice, which is what `timeout` means in any OTLP client."""
    async with backend(kind) as one, stage(tiny_artifact, exporter(kind, at(one), timeout="200ms")) as running:
        one.gate.clear()
        await running.send(*BODIES)
        await until(lambda: "no answer within 0.2 s" in running.health(f"exporter:{kind}").error)
        one.gate.set()
        await until_all_is_there(running, one, kind)
        assert not ALL - arrived(one)


@pytest.mark.parametrize("kind", KINDS)
async def test_nonsense_for_an_answer_is_no_answer(tiny_artifact: Path, kind: str) -> None:
    async with backend(kind) as one:
        with Line(at(one)) as line:
            line.answers = NONSENSE[0]
            async with stage(tiny_artifact, exporter(kind, line.endpoint)) as running:
                await running.send(*BODIES)
                for nonsense in NONSENSE:
                    line.answers = nonsense
                    more = running.books.total("otelcol_exporter_tracead_retries") + 2
                    await until(lambda more=more: running.books.total("otelcol_exporter_tracead_retries") >= more)
                assert arrived(one) == Counter()
                line.restore()
                await until_all_is_there(running, one, kind)
                assert arrived(one) == ALL


async def test_a_yes_is_a_yes_whatever_stands_below_it(tiny_artifact: Path) -> None:
    """What a Collector takes it for, too: somebody else at the backend's address is found out by nobody."""
    async with backend("otlp_http") as one, stage(tiny_artifact, exporter("otlp_http", at(one))) as running:
        one.response = lambda: web.Response(text="<html>welcome</html>")
        await running.send(*BODIES)
        await until_all_is_there(running, one, "otlp_http")


async def test_a_part_that_is_refused_is_counted_and_not_sent_again(tiny_artifact: Path) -> None:
    partial = ExportTracePartialSuccess(rejected_spans=2, error_message="too old")
    async with backend("otlp_grpc") as one, stage(tiny_artifact, exporter("otlp_grpc", at(one))) as running:
        one.response = ExportTraceServiceResponse(partial_success=partial).SerializeToString()
        await running.send(*BODIES)
        await until_all_is_there(running, one, "otlp_grpc")
        assert running.books.total("otelcol_exporter_tracead_rejected_spans") == 2 * len(one.received)
        assert running.logged("too old")
        assert arrived(one) == ALL


@pytest.mark.parametrize("kind", KINDS)
async def test_one_span_that_is_refused_costs_no_other(tiny_artifact: Path, kind: str) -> None:
    async with backend(kind) as one, stage(tiny_artifact, exporter(kind, at(one))) as running:
        one.poison = "7/2"
        await running.send(*BODIES)
        await until(lambda: sum(arrived(one).values()) == len(ALL) - 1 and running.books.queued(kind) == 0)
        assert ALL - arrived(one) == Counter(["7/2"])
        assert (running.books.given_up(kind), running.books.sent(kind)) == (1, len(ALL) - 1)
        running.books.check(kind)
        assert len(running.logged("spans given up")) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_line_that_is_cut_in_the_middle_of_requests(tiny_artifact: Path, kind: str) -> None:
    async with backend(kind) as one:
        with Line(at(one)) as line:
            line.cut_after = 300
            keys = {"compression": "none"}
            async with stage(tiny_artifact, exporter(kind, line.endpoint, **keys)) as running:
                await running.send(*BODIES)
                await until(lambda: line.cuts > 3)
                assert running.health(f"exporter:{kind}").status is Status.RECOVERABLE_ERROR
                assert arrived(one) == Counter()
                line.restore()
                await until_all_is_there(running, one, kind)
                assert arrived(one) == ALL


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_that_is_lost(tiny_artifact: Path, kind: str) -> None:
    """The backend has the spans and nobody knows: they are sent again, and arrive twice rather than not."""
    async with backend(kind) as one:
        with Line(at(one)) as line:
            async with stage(tiny_artifact, exporter(kind, line.endpoint, timeout="300ms")) as running:
                line.deaf = kind != "otlp_grpc"  # HTTP/2 begins with an answer
                await running.send(*BODIES)
                await until(lambda: bool(one.received))
                line.deaf = True
                line.cut()
                await asyncio.sleep(0.05)
                line.restore()
                await until_all_is_there(running, one, kind)
                assert not ALL - arrived(one)


@pytest.mark.python_resolver
@pytest.mark.parametrize("kind", KINDS)
async def test_a_name_that_cannot_be_looked_up(tiny_artifact: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    look_up = socket.getaddrinfo
    lost = True

    def resolver(host: Any, *rest: Any, **keys: Any) -> Any:
        if host != "backend.test":
            return look_up(host, *rest, **keys)
        if lost:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return look_up("127.0.0.1", *rest, **keys)

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    async with backend(kind) as one, stage(tiny_artifact, exporter(kind, f"backend.test:{one.port}")) as running:
        await running.send(*BODIES)
        await until(lambda: "name resolution" in running.health(f"exporter:{kind}").error)
        lost = False
        await until_all_is_there(running, one, kind)
        assert arrived(one) == ALL


@asynccontextmanager
async def secure_backend(
    tls: dict[str, str], protocol: str, port: int = 0
) -> AsyncIterator[tuple[int, RecordingConsumer]]:
    """A receiver of our own stands for a backend with TLS."""
    consumer = RecordingConsumer()
    written = {"protocols": {protocol: {"endpoint": f"127.0.0.1:{port}", "tls": tls}}}
    settings = Settings(id="backend", kind=Kind.RECEIVER)
    receiver: Any = otlp.FACTORY.build(otlp.OtlpReceiverConfig.model_validate(written), settings, consumer)
    await receiver.start()
    try:
        yield receiver.ports[protocol], consumer
    finally:
        await receiver.shutdown()


@pytest.mark.parametrize(("kind", "protocol"), [("otlp_grpc", "grpc"), ("otlp_http", "http")])
async def test_a_certificate_that_has_expired(tiny_artifact: Path, kind: str, protocol: str, tmp_path: Path) -> None:
    """Spans wait, health and log say why, and they go as soon as the backend has a valid one."""
    old, new = make(tmp_path, "old"), make(tmp_path, "new")
    expire(tmp_path, "old")
    (tmp_path / "both.pem").write_bytes((tmp_path / "old.pem").read_bytes() + (tmp_path / "new.pem").read_bytes())
    async with secure_backend(old, protocol) as (first, _), secure_backend(new, protocol) as (second, consumer):
        with Line(f"127.0.0.1:{first}") as line:
            where = line.endpoint if kind == "otlp_grpc" else f"https://{line.endpoint}"
            out = {kind: {"endpoint": where, "tls": {"ca_file": str(tmp_path / "both.pem")}}}
            async with stage(tiny_artifact, out) as running:
                await running.send(*BODIES)
                await until(lambda: "certificate has expired" in running.health(f"exporter:{kind}").error)
                assert running.logged("certificate has expired")
                await until(lambda: running.books.queued(kind) == len(ALL))  # the first is tried before that
                line.target = f"127.0.0.1:{second}"
                line.cut()
                await until(lambda: running.books.sent(kind) == len(ALL))
                running.books.check(kind)
                assert len(consumer.spans) == len(ALL)
