"""One storage for two pipelines and two exporters: each component finds its own spans there, and nobody else's."""

import asyncio
from collections import Counter
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import aiohttp
import structlog

from otel_tracead.component import Kind
from otel_tracead.service import running
from otel_tracead.service.lifecycle import Service
from tests.exporters.backends import HttpBackend
from tests.extensions.file_storage.disk import files
from tests.faults.pipeline import names, post, request, until

AWAY = "127.0.0.1:1"
PIPELINES = ("a", "b")


def stage(folder: Path, model: Path, endpoints: tuple[str, str]) -> AbstractAsyncContextManager[Service]:
    """Two receivers, each with its pipeline and its exporter, and the same processor and storage in both."""
    tracead = {"model": str(model), "execution_provider": "cpu", "wait_duration": "100ms", "unknown_labels": 1.0}
    config = {
        "extensions": {"file_storage": {"directory": str(folder)}},
        "receivers": {f"otlp/{one}": {"protocols": {"http": {"endpoint": "127.0.0.1:0"}}} for one in PIPELINES},
        "processors": {"tracead": {**tracead, "storage": "file_storage", "shutdown_timeout": "1s"}},
        "exporters": {
            f"otlp_http/{one}": {
                "endpoint": f"http://{endpoint}",
                "timeout": "1s",
                "sending_queue": {"storage": "file_storage", "sizer": "items", "queue_size": 6},
                "retry_on_failure": {"initial_interval": "20ms", "max_interval": "100ms"},
            }
            for one, endpoint in zip(PIPELINES, endpoints, strict=True)
        },
        "service": {
            "extensions": ["file_storage"],
            "pipelines": {
                f"traces/{one}": {
                    "receivers": [f"otlp/{one}"],
                    "processors": ["tracead"],
                    "exporters": [f"otlp_http/{one}"],
                }
                for one in PIPELINES
            },
        },
    }
    return running(config, logger=structlog.wrap_logger(structlog.testing.ReturnLogger(), processors=[]))


def arrived(backend: HttpBackend) -> Counter[str]:
    return Counter(name for request in backend.received for name in request)


async def send(service: Service, pipeline: str, traces: range) -> None:
    port = service.component(Kind.RECEIVER, f"otlp/{pipeline}").ports["http"]  # type: ignore[attr-defined]
    async with aiohttp.ClientSession() as session:
        for trace in traces:
            assert (await post(session, f"http://127.0.0.1:{port}/v1/traces", request(trace)))[0] == 200


async def test_pipelines_and_exporters_with_one_storage_share_no_store(tiny_artifact: Path, tmp_path: Path) -> None:
    """The queues have room for two traces each, so that spans lie in all four files when it stops."""
    sent = {"a": range(5), "b": range(10, 16)}
    async with stage(tmp_path, tiny_artifact, (AWAY, AWAY)) as service:
        for one in PIPELINES:
            service.component(Kind.EXPORTER, f"otlp_http/{one}").drain_timeout = 0.1  # type: ignore[attr-defined]
            await send(service, one, sent[one])
        storage = service.component(Kind.EXTENSION, "file_storage")
        queues = [storage.store(Kind.EXPORTER, f"otlp_http/{one}", "traces").log("queue") for one in PIPELINES]  # type: ignore[attr-defined]
        for queue in queues:
            while not await queue.entries():  # noqa: ASYNC110 (a file has no event)
                await asyncio.sleep(0.01)
    assert [name for name in files(tmp_path) if name.endswith(".db")] == [
        "exporter_otlp_http_a_traces.db",
        "exporter_otlp_http_b_traces.db",
        "processor_tracead__traces~002Fa.db",
        "processor_tracead__traces~002Fb.db",
    ]
    backends = [HttpBackend(), HttpBackend()]
    for backend in backends:
        await backend.start()
    endpoints = (f"127.0.0.1:{backends[0].port}", f"127.0.0.1:{backends[1].port}")
    async with stage(tmp_path, tiny_artifact, endpoints):
        for backend, one in zip(backends, PIPELINES, strict=True):
            await until(lambda backend=backend, one=one: len(names(sent[one]) - arrived(backend)) == 0)
    for backend, one in zip(backends, PIPELINES, strict=True):
        assert arrived(backend) == names(sent[one]), "something came twice, or was the other pipeline's"
        await backend.stop()
