"""`otel-tracead run` with its queue on disk: reloaded, killed with SIGKILL, started again; every span comes out, once."""

import asyncio
import os
import signal
import sys
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from otel_tracead.wire.otlp import Envelopes, decode_request, encode_request
from tests.span_builders import batch, encoded
from tools.peers import Process, free_port
from tools.peers.process import HOST, listening


def stage(folder: Path, receiver: int, backend: int, timeout: str = "5s", *, name: str) -> Process:
    config = folder / "config.yaml"
    write(config, receiver, backend, timeout, folder / "storage")
    command = [sys.executable, "-m", "otel_tracead", "run", "--config", config]
    return Process(command, log=folder / f"{name}.log", ready=listening(receiver))


def write(config: Path, receiver: int, backend: int, timeout: str, storage: Path) -> None:
    exporter = {
        "endpoint": f"http://{HOST}:{backend}",
        "timeout": timeout,
        "sending_queue": {"storage": "file_storage"},
        "retry_on_failure": {"initial_interval": "50ms", "max_interval": "100ms"},
    }
    document = {
        "extensions": {"file_storage": {"directory": str(storage), "create_directory": True}},
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"{HOST}:{receiver}"}}}},
        "exporters": {"otlp_http": exporter},
        "service": {
            "extensions": ["file_storage"],
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["otlp_http"]}},
            "telemetry": {"metrics": {"level": "none"}},
        },
    }
    config.write_text(yaml.safe_dump(document), encoding="utf-8")


def send(receiver: int, number: int) -> None:
    request = urllib.request.Request(
        f"http://{HOST}:{receiver}/v1/traces",
        data=encode_request(batch(encoded(number, 1))),
        headers={"Content-Type": "application/x-protobuf"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


class Backend:
    """Takes OTLP over HTTP.

    Attributes:
        spans: how often each came.
    """

    def __init__(self) -> None:
        self.spans: Counter[bytes] = Counter()

    async def take(self, request: web.Request) -> web.Response:
        self.spans.update(bytes(span) for _, span in decode_request(await request.read(), Envelopes()))
        return web.Response(body=b"", content_type="application/x-protobuf")

    async def listen(self, port: int) -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/v1/traces", self.take)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, HOST, port).start()
        return runner


async def until_log(process: Process, folder: Path, text: str) -> None:
    for _ in range(600):
        if text in (folder / "first.log").read_text(encoding="utf-8"):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(process.tail())


@pytest.mark.peers
async def test_what_was_accepted_comes_out_once_after_a_reload_and_a_kill(tmp_path: Path) -> None:
    receiver, port = free_port(), free_port()
    first = stage(tmp_path, receiver, port, name="first")
    with first:
        for number in range(30):
            await asyncio.to_thread(send, receiver, number)
        write(tmp_path / "config.yaml", receiver, port, "4s", tmp_path / "storage")
        first.signal(signal.SIGHUP)
        await until_log(first, tmp_path, "spans that are stored are sent")
        for number in range(30, 60):
            await asyncio.to_thread(send, receiver, number)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    backend = Backend()
    runner = await backend.listen(port)
    second = stage(tmp_path, receiver, port, name="second")
    with second:
        for _ in range(600):
            if sum(backend.spans.values()) >= 60:
                break
            await asyncio.sleep(0.05)
        await asyncio.to_thread(send, receiver, 60)
        assert await asyncio.to_thread(second.stop) == 0
    await runner.cleanup()
    assert backend.spans == Counter(encoded(number, 1) for number in range(61))


@pytest.mark.peers
async def test_what_a_stopped_process_could_not_send_stays_and_is_no_loss(tmp_path: Path) -> None:
    receiver, port = free_port(), free_port()
    with stage(tmp_path, receiver, port, name="first") as first:
        await asyncio.to_thread(send, receiver, 1)
        assert await asyncio.to_thread(first.stop) == 0
        await until_log(first, tmp_path, "spans stay in the storage")
    backend = Backend()
    runner = await backend.listen(port)
    with stage(tmp_path, receiver, port, name="second") as second:
        for _ in range(600):
            if backend.spans:
                break
            await asyncio.sleep(0.05)
        assert await asyncio.to_thread(second.stop) == 0
    await runner.cleanup()
    assert backend.spans == Counter([encoded(1, 1)])
