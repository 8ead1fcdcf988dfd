"""What a backend's answer means for the spans: one table, walked through the real exporters over real sockets and held to the docs."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import grpc
import grpc.aio
import pytest
from aiohttp import web
from otel_tracead_exporters import otlp_grpc, otlp_http, zipkin

from otel_tracead.component import Factory, Kind, Settings
from otel_tracead.delivery import Consignment, Delivery
from otel_tracead.metrics import EXPORTER_FAILED, EXPORTER_RETRIES, EXPORTER_SENT
from otel_tracead.wire.rpc_status import RpcStatus
from tests.contract.exporter_contract import batch
from tests.contract.receiver_contract import until
from tests.exporters.backends import SERVICE
from tests.source_tree import ROOT

SENT, AGAIN, HALVED, DROPPED = "sent", "sent again", "halved", "dropped"

HTTP = {
    **dict.fromkeys((200, 202, 204), SENT),
    **dict.fromkeys((400, 413, 422), HALVED),
    **dict.fromkeys((429, 502, 503, 504), AGAIN),
    **dict.fromkeys((301, 307, 401, 403, 404, 405, 408, 409, 410, 415, 431, 500, 501, 505), DROPPED),
}
ZIPKIN = {**HTTP, 408: AGAIN, 500: AGAIN}
GRPC = {
    "OK": SENT,
    "INVALID_ARGUMENT": HALVED,
    **dict.fromkeys(("CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"), AGAIN),
    **dict.fromkeys(
        (
            *("UNKNOWN", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "FAILED_PRECONDITION", "UNIMPLEMENTED"),
            *("INTERNAL", "UNAUTHENTICATED", "RESOURCE_EXHAUSTED"),
        ),
        DROPPED,
    ),
}


class Answers:
    """A backend that gives prepared answers, then takes everything.

    Attributes:
        prepared: HTTP (status, headers) or gRPC (code, details, retry_after).
        spans: in each request.
        times: of the requests, in the loop's time.
    """

    def __init__(self, *prepared: Any) -> None:
        self.prepared = list(prepared)
        self.requests = 0

    async def http(self, request: web.Request) -> web.Response:
        await request.read()
        self.requests += 1
        status, headers = self.prepared.pop(0) if self.prepared else (200, {})
        return web.Response(status=status, headers=headers)

    async def grpc(self, _body: bytes, context: Any) -> bytes:
        self.requests += 1
        code, details, retry_after = self.prepared.pop(0) if self.prepared else ("OK", "", None)
        if code != "OK":
            trailers = (
                ()
                if retry_after is None
                else (("grpc-status-details-bin", RpcStatus(8, details, retry_after).encode()),)
            )
            await context.abort(grpc.StatusCode[code], details, trailers)
        return b""


async def outcome(answers: Answers, factory: Factory[Any], endpoint: str, **keys: Any) -> tuple[str, float]:
    """Send two spans and say what became of them, and how long it took."""
    settings = Settings(id="out", kind=Kind.EXPORTER)
    fast = {"initial_interval": "1ms", "max_interval": "1ms"}
    config = factory.config.model_validate({"endpoint": endpoint, "retry_on_failure": fast, **keys})
    exporter: Any = factory.build(config, settings, None)
    await exporter.start()
    settled: list[int] = []
    started = datetime.now(UTC)
    await exporter.consume(Consignment(batch("a", "b"), ((Delivery(lambda: settled.append(1)), 1),)))
    await until(lambda: bool(settled))
    took = (datetime.now(UTC) - started).total_seconds()
    await exporter.shutdown()
    sent, failed, retries = (
        settings.telemetry.value(metric, "out") for metric in (EXPORTER_SENT, EXPORTER_FAILED, EXPORTER_RETRIES)
    )
    seen = (answers.requests, sent, failed, retries)
    known = {(1, 2, 0, 0): SENT, (2, 2, 0, 1): AGAIN, (3, 2, 0, 0): HALVED, (1, 0, 2, 0): DROPPED}
    return known.get(seen, str(seen)), took


async def over_http(answers: Answers, factory: Factory[Any]) -> tuple[str, float]:
    application = web.Application()
    application.router.add_post("/{path:.*}", answers.http)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        return await outcome(answers, factory, f"http://127.0.0.1:{runner.addresses[0][1]}/api/v2/spans")
    finally:
        await runner.cleanup()


async def over_grpc(answers: Answers) -> tuple[str, float]:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    handler = grpc.unary_unary_rpc_method_handler(answers.grpc)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Export": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        return await outcome(answers, otlp_grpc.FACTORY, f"127.0.0.1:{port}", tls={"insecure": True})
    finally:
        await server.stop(0)


@pytest.mark.parametrize(
    ("factory", "table"), [(otlp_http.FACTORY, HTTP), (zipkin.FACTORY, ZIPKIN)], ids=["otlp_http", "zipkin"]
)
async def test_every_http_status(factory: Factory[Any], table: dict[int, str]) -> None:
    found = {status: (await over_http(Answers((status, {})), factory))[0] for status in table}
    assert found == table


async def test_every_grpc_status() -> None:
    assert set(GRPC) == {code.name for code in grpc.StatusCode}
    found = {code: (await over_grpc(Answers((code, "because", None))))[0] for code in GRPC}
    assert found == GRPC


async def test_exhausted_is_sent_again_only_with_retry_info() -> None:
    kind, took = await over_grpc(Answers(("RESOURCE_EXHAUSTED", "quota", 0.3)))
    assert (kind, took >= 0.3) == (AGAIN, True)
    large = "grpc: received message larger than max (5000000 vs. 4194304)"
    assert (await over_grpc(Answers(("RESOURCE_EXHAUSTED", large, None))))[0] == HALVED


async def test_retry_after_is_seconds_or_a_date() -> None:
    def soon() -> str:
        return format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)

    for header, least in ((lambda: "1", 1.0), (soon, 0.9), (lambda: "soon", 0.0)):
        kind, took = await over_http(Answers((503, {"Retry-After": header()})), otlp_http.FACTORY)
        assert kind == AGAIN
        assert took >= least, header()
    assert took < 0.9


def test_the_page_says_the_same() -> None:
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    table = page.partition("### What a backend's answer means")[2].partition("\n### ")[0]
    said: dict[str, str] = {}
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        kind = next((one for one in (AGAIN, HALVED, DROPPED, SENT) if cells and cells[-1].startswith(one)), None)
        if kind is not None:
            said |= dict.fromkeys(re.findall(r"`(\d{3}|[A-Z_]{2,})`", cells[0]), kind)
    wanted = {str(status): kind for status, kind in HTTP.items()} | GRPC
    named = {key: kind for key, kind in wanted.items() if key in said}
    assert {key: kind for key, kind in said.items() if key in wanted} == named
    missing = {key for key, kind in wanted.items() if kind in (AGAIN, HALVED) and key not in said}
    assert missing == set()
