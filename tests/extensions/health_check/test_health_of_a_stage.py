"""The health of a whole stage over real sockets: start, a backend that is away, a hanging model, drain, reload."""

import asyncio
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp
import grpc
import grpc.aio
import structlog
from span_builders import ENVELOPES, encoded, trace_id

from otel_tracead.component import Kind, Settings
from otel_tracead.detection.verdicts import Detector, ModelInfo, TraceVerdict
from otel_tracead.processors.tracead.judging import Judging
from otel_tracead.processors.tracead.scoring import Rules
from otel_tracead.service import running
from otel_tracead.service.config import decode
from otel_tracead.service.lifecycle import Service
from otel_tracead.service.registry import Registry
from otel_tracead.traces.trace import Release, Trace
from tests.receivers import samples

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def tree(backend: str, **health: Any) -> dict[str, Any]:
    return {
        "extensions": {"health_check": {"use_v2": True, "http": {"endpoint": "127.0.0.1:0"}, **health}},
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": "127.0.0.1:0"}}}},
        "exporters": {
            "otlp_grpc": {
                "endpoint": backend,
                "tls": {"insecure": True},
                "timeout": "1s",
                "retry_on_failure": {"initial_interval": "50ms", "max_interval": "50ms"},
            }
        },
        "service": {
            "extensions": ["health_check"],
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["otlp_grpc"]}},
            "telemetry": {"metrics": {"level": "none"}},
        },
    }


async def ask(service: Service, path: str = "/status?verbose") -> tuple[int, dict[str, Any]]:
    health: Any = service.component(Kind.EXTENSION, "health_check")
    url = f"http://127.0.0.1:{health.port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.json() if response.content_type == "application/json" else {}


async def send(service: Service) -> None:
    otlp: Any = service.component(Kind.RECEIVER, "otlp")
    url = f"http://127.0.0.1:{otlp.ports['http']}/v1/traces"
    headers = {"Content-Type": "application/x-protobuf"}
    async with aiohttp.ClientSession() as session, session.post(url, data=samples.otlp(2), headers=headers) as answer:
        assert answer.status == 200


def exporter(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["pipeline:traces"]["components"]["exporter:otlp_grpc"]
    return found


async def until(service: Service, status: str) -> tuple[int, dict[str, Any]]:
    async with asyncio.timeout(10):
        while True:
            code, document = await ask(service)
            if document["status"] == status:
                return code, document
            await asyncio.sleep(0.02)


class Backend:
    """A backend that takes everything, or says why not."""

    def __init__(self) -> None:
        self.code: grpc.StatusCode | None = None
        self._server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(self._export)
        service, method = EXPORT.strip("/").split("/")
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {method: handler})])
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    async def _export(self, _body: bytes, context: Any) -> bytes:
        if self.code is not None:
            await context.abort(self.code, "because")
        return b""

    async def __aenter__(self) -> Self:
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(None)


async def test_an_exporter_whose_backend_is_away_is_named_and_recovers() -> None:
    async with (
        Backend() as backend,
        running(tree(backend.target, component_health={"include_recoverable_errors": True})) as service,
    ):
        code, document = await ask(service)
        assert (code, document["status"]) == (200, "StatusOK")
        assert set(document["components"]) == {"extensions", "pipeline:traces"}
        backend.code = grpc.StatusCode.UNAVAILABLE
        await send(service)
        code, document = await until(service, "StatusRecoverableError")
        assert code == 500
        assert exporter(document)["error"] == "UNAVAILABLE: because"
        backend.code = None
        assert (await until(service, "StatusOK"))[0] == 200


async def test_a_backend_that_wants_another_token_is_permanent_until_it_takes_spans() -> None:
    async with (
        Backend() as backend,
        running(tree(backend.target, component_health={"include_permanent_errors": True})) as service,
    ):
        backend.code = grpc.StatusCode.UNAUTHENTICATED
        await send(service)
        code, document = await until(service, "StatusPermanentError")
        assert (code, exporter(document)["healthy"]) == (500, False)
        assert (await ask(service, "/status?pipeline=traces"))[0] == 500
        assert (await ask(service, "/status?pipeline=metrics"))[0] == 404
        assert (await ask(service, "/"))[0] == 404
        backend.code = None
        await send(service)
        await until(service, "StatusOK")


async def test_503_while_spans_still_go_out() -> None:
    async with Backend() as backend:
        backend.code = grpc.StatusCode.UNAVAILABLE
        service = Service(
            decode(tree(backend.target), Registry(), Path()), telemetry=Settings(id="", kind=Kind.RECEIVER).telemetry,
            logger=structlog.wrap_logger(structlog.testing.ReturnLogger(), processors=[]),
        )  # fmt: skip
        await service.start()
        await send(service)
        stopping = asyncio.create_task(service.shutdown())
        code, document = await until(service, "StatusStopping")
        assert code == 503
        assert exporter(document)["status"] == "StatusStopping"
        backend.code = None
        assert await stopping == []


async def test_a_reload_leaves_it_ready_and_may_move_it() -> None:
    async with Backend() as backend, running(tree(backend.target)) as service:
        health: Any = service.component(Kind.EXTENSION, "health_check")
        port = health.port
        with socket.create_server(("127.0.0.1", 0)) as taken:
            other = taken.getsockname()[1]
        first: dict[str, Any] = tree(backend.target)
        first["extensions"] = {"health_check": {"endpoint": f"127.0.0.1:{other}", "path": "/healthz"}}
        await service.reload(decode(first, Registry(), Path.cwd()))
        assert service.component(Kind.EXTENSION, "health_check") is health
        assert health.port == other != port
        code, document = await ask(service, "/healthz")
        assert (code, document["status"]) == (200, "Server available")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            second = {**first, "extensions": {"health_check": {"endpoint": f"127.0.0.1:{taken.getsockname()[1]}"}}}
            with_error = decode(second, Registry(), Path.cwd())
            try:
                await service.reload(with_error)
            except Exception as error:  # noqa: BLE001 (looked at below)
                assert "in use" in str(error)  # noqa: PT017
            assert (await ask(service, "/healthz"))[0] == 200


TRACE = Trace(trace_id(1), [encoded(1, 1)], [ENVELOPES[0]], Release.WAIT, [], 0.0)


class Hanging:
    """A detector that does not come back before it is told."""

    model = ModelInfo("hanging", "1")

    def __init__(self) -> None:
        self.gate = threading.Event()

    def judge(self, traces: Sequence[Trace], *, every_span: bool = False) -> list[TraceVerdict]:
        assert self.gate.wait(20)
        return [TraceVerdict(verdict_span=0, complete=True) for _ in traces]


async def test_a_scoring_thread_that_hangs_is_recoverable_and_then_is_not() -> None:
    settings = Settings(id="tracead", kind=Kind.PROCESSOR)
    hanging = Hanging()
    detector: Detector = hanging
    judging = Judging(detector, Rules(), settings, patience=0.02, hopeless=0.1)
    await judging.judge([TRACE])
    assert settings.health.event.status == "StatusRecoverableError"
    await asyncio.sleep(0.12)
    await judging.judge([TRACE])
    assert settings.health.event.status == "StatusPermanentError"
    hanging.gate.set()
    while settings.health.event.status != "StatusOK":
        await judging.judge([TRACE])
        await asyncio.sleep(0.01)
    judging.close()
