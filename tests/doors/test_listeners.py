"""What is open: the embedded default as a real process, scanned; and the warning where a user opens more."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog

from otel_tracead.component import Kind, Settings
from otel_tracead.config_types import Endpoint
from otel_tracead.extensions.basicauth import FACTORY as BASIC
from otel_tracead.extensions.health_check import FACTORY as HEALTH
from otel_tracead.receivers import otlp, zipkin
from otel_tracead.service.metrics import MetricsServer
from otel_tracead.telemetry import Telemetry
from otel_tracead.testing import RecordingConsumer
from tests.exporters.certificates import make
from tests.source_tree import ROOT

DOCUMENTED = {4317, 4318, 8888, 9411}
ALONE = ["unshare", "--net", "--map-root-user"]


def may_be_alone() -> bool:
    return (
        shutil.which("unshare") is not None
        and subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(not may_be_alone(), reason="a network of its own is not to be had here")
def test_the_embedded_default_opens_four_ports_of_this_machine_and_calls_nobody(tmp_path: Path) -> None:
    stage = [sys.executable, "-m", "otel_tracead", "run"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "exporters")])}
    command = [*ALONE, sys.executable, "-m", "tests.doors.open_ports", *stage]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["code"] == 0, found["said"]
    assert all(listens for *_, listens in found["sockets"]), "it connects to nobody"
    assert {protocol for protocol, *_ in found["sockets"]} <= {"tcp", "tcp6"}
    assert {address for _, address, _, _ in found["sockets"]} <= {"127.0.0.1", "::1"}
    assert {port for _, _, port, _ in found["sockets"]} == DOCUMENTED
    scanned = found["scanned"]
    assert scanned["192.0.2.1"] == []
    assert set(scanned["127.0.0.1"]) == DOCUMENTED
    assert "reachable from other machines" not in found["said"]


def test_the_ports_are_in_the_page() -> None:
    page = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    assert all(f"`localhost:{port}`" in page for port in DOCUMENTED)


def captured() -> tuple[Any, list[Any]]:
    logs = structlog.testing.LogCapture()
    return structlog.wrap_logger(structlog.testing.ReturnLogger(), processors=[logs]), logs.entries


async def warned(kind: str, host: str, **written: Any) -> str:
    """Listen and give the warning; empty if there is none."""
    logger, entries = captured()
    endpoint = f"{host}:0"
    extension = BASIC.build(
        BASIC.config.model_validate({"htpasswd": {"inline": "a:b"}}), Settings(id="b", kind=Kind.EXTENSION), None
    )
    settings = Settings(id="x", kind=Kind.RECEIVER, logger=logger, extensions={"basicauth": extension})
    component: Any
    if kind == "metrics":
        component = MetricsServer([Endpoint.parse(endpoint)], Telemetry(), logger)
    elif kind == "health":
        component = HEALTH.build(HEALTH.config.model_validate({"endpoint": endpoint}), settings, None)
    elif kind == "zipkin":
        config: Any = zipkin.ZipkinReceiverConfig.model_validate({"endpoint": endpoint, **written})
        component = zipkin.FACTORY.build(config, settings, RecordingConsumer())
    else:
        config = otlp.OtlpReceiverConfig.model_validate({"protocols": {kind: {"endpoint": endpoint, **written}}})
        component = otlp.FACTORY.build(config, settings, RecordingConsumer())
    await component.start()
    await component.shutdown()
    await extension.shutdown()
    (warning,) = [entry["event"] for entry in entries if entry["log_level"] == "warning"] or [""]
    assert not warning or [entry["endpoint"] for entry in entries if entry["event"] == warning] == [endpoint]
    return str(warning)


@pytest.mark.parametrize("kind", ["grpc", "http", "zipkin", "metrics", "health"])
async def test_whoever_listens_to_other_machines_is_warned_of(kind: str, tmp_path: Path) -> None:
    for host in ("localhost", "127.0.0.1", "127.9.9.9", "[::1]"):
        assert await warned(kind, host) == ""
    for host in ("0.0.0.0", "[::]", ""):
        assert "reachable from other machines" in await warned(kind, host)
    if kind in {"metrics", "health"}:
        return
    tls, auth = make(tmp_path, "server"), {"authenticator": "basicauth"}
    assert "without TLS and auth: anyone" in await warned(kind, "0.0.0.0")
    assert "without auth: anyone" in await warned(kind, "0.0.0.0", tls=tls)
    assert "without TLS: spans and credentials" in await warned(kind, "0.0.0.0", auth=auth)
    assert await warned(kind, "0.0.0.0", tls=tls, auth=auth) == ""
    assert await warned(kind, "0.0.0.0", tls={**tls, "client_ca_file": tls["cert_file"]}) == ""


@pytest.mark.parametrize("kind", ["http", "zipkin", "metrics", "health"])
async def test_scripts_of_other_origins_get_no_leave(kind: str) -> None:
    logger, _ = captured()
    settings = Settings(id="x", kind=Kind.RECEIVER, logger=logger)
    component: Any
    if kind == "metrics":
        component = MetricsServer([Endpoint("127.0.0.1", 0)], Telemetry(), logger)
    elif kind == "health":
        component = HEALTH.build(HEALTH.config.model_validate({"endpoint": "127.0.0.1:0"}), settings, None)
    elif kind == "zipkin":
        config: Any = zipkin.ZipkinReceiverConfig.model_validate({"endpoint": "127.0.0.1:0"})
        component = zipkin.FACTORY.build(config, settings, RecordingConsumer())
    else:
        config = otlp.OtlpReceiverConfig.model_validate({"protocols": {"http": {"endpoint": "127.0.0.1:0"}}})
        component = otlp.FACTORY.build(config, settings, RecordingConsumer())
    await component.start()
    ports = component.ports if kind == "metrics" else [component.port] if kind == "health" else component.ports.values()
    (port,) = ports
    async with aiohttp.ClientSession() as session:
        for method in ("OPTIONS", "GET", "POST"):
            asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
            async with session.request(method, f"http://127.0.0.1:{port}/", headers=asked) as response:
                assert not [name for name in response.headers if name.lower().startswith("access-control-")]
    await component.shutdown()
    await asyncio.sleep(0)
