"""Spans keep the form they came in where somebody behind the receiver sends it again, and only there."""

from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from otel_tracead.component import Kind, wants_originals
from otel_tracead.service import running
from otel_tracead.service.config import decode
from otel_tracead.service.registry import Registry
from otel_tracead.service.uris import merge
from otel_tracead.testing import RecordingConsumer

SILENT = {"service": {"telemetry": {"metrics": {"level": "none"}}}}
ENDPOINT = {"endpoint": "http://127.0.0.1:9"}
KAFKA = {"brokers": ["127.0.0.1:9"], "topic": "spans"}
SPAN = {
    "traceId": "463ac35c9f6413ad",
    "id": "a2fb4a1d1a96d312",
    "kind": "SERVER",
    "timestamp": 1472470996199000,
    "localEndpoint": {"serviceName": "frontend"},
    "shared": True,
    "unheardOf": [1.0],
}


def configuration(exporters: dict[str, Any], model: Path | None = None) -> dict[str, Any]:
    processors: dict[str, Any] = {"memory_limiter": {"check_interval": "1s", "limit_mib": 4000}, "batch": None}
    if model is not None:
        processors["tracead"] = {"model": str(model), "execution_provider": "cpu", "wait_duration": "50ms"}
    lists = {"receivers": ["zipkin"], "processors": list(processors), "exporters": list(exporters)}
    return {
        "receivers": {"zipkin": {"endpoint": "127.0.0.1:0"}},
        "processors": processors,
        "exporters": exporters,
        "service": {"pipelines": {"traces": lists}},
    }


def originals(service: Any) -> bool:
    [receiver] = service.graph.receivers
    return wants_originals(receiver.outlet)


@pytest.mark.parametrize(
    ("exporters", "wanted"),
    [
        ({"otlp_http": ENDPOINT}, False),
        ({"otlp_grpc": {"endpoint": "127.0.0.1:9"}, "debug": None, "file": {"path": "spans.json"}}, False),
        ({"zipkin": ENDPOINT}, True),
        ({"debug": None, "zipkin": ENDPOINT}, True),
        ({"kafka": KAFKA}, False),
        ({"kafka": KAFKA | {"traces": {"encoding": "zipkin_json"}}}, True),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
async def test_exporters_say_whether_they_look_at_originals(
    exporters: dict[str, Any], wanted: bool, tiny_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with running(configuration(exporters, tiny_artifact)) as service:
        assert originals(service) is wanted


def test_who_does_not_say_gets_them() -> None:
    assert wants_originals(RecordingConsumer())


async def test_an_exporter_that_comes_later_gets_the_originals_of_what_comes_then(tmp_path: Path) -> None:
    bodies: list[bytes] = []

    async def take(request: web.BaseRequest) -> web.Response:
        bodies.append(await request.read())
        return web.Response(status=202)

    backend = web.ServerRunner(web.Server(take))
    await backend.setup()
    await web.TCPSite(backend, "127.0.0.1", 0).start()
    port = backend.addresses[0][1]
    exporter = {"endpoint": f"http://127.0.0.1:{port}/api/v2/spans", "compression": "none"}
    async with running(configuration({"debug": None})) as service:
        assert not originals(service)
        tree = merge(SILENT, configuration({"debug": None, "zipkin": exporter}))
        await service.reload(decode(tree, Registry(), tmp_path))
        assert originals(service)
        receiver: Any = service.component(Kind.RECEIVER, "zipkin")
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://127.0.0.1:{receiver.ports['http']}/api/v2/spans", json=[SPAN]) as answer,
        ):
            assert answer.status == 202
    await backend.cleanup()
    assert [orjson.loads(body) for body in bodies] == [[SPAN]]
