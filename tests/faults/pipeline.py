"""A whole stage in this process, from a sender to a backend: sockets, model, queue and all."""

import asyncio
import io
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_tracead.component import Kind
from otel_tracead.health import Event
from otel_tracead.service import running
from otel_tracead.service.lifecycle import Service
from tests.faults.books import Books
from tools.peers.backend import EXPORT

AGAIN = {"initial_interval": "20ms", "max_interval": "100ms"}
QUEUE = {"queue_size": 100_000, "sizer": "items"}


def request(trace: int, spans: int = 3, size: int = 0) -> bytes:
    """A request of one trace, whose spans are named after it; each has *size* bytes beside."""
    message = ExportTraceServiceRequest()
    outer = message.resource_spans.add()
    outer.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope = outer.scope_spans.add()
    for number in range(1, spans + 1):
        span = scope.spans.add(
            trace_id=(trace + 1).to_bytes(16, "big"),
            span_id=((trace << 24) + number).to_bytes(8, "big"),
            parent_span_id=b"" if number == 1 else ((trace << 24) + 1).to_bytes(8, "big"),
            name=f"{trace}/{number}",
            kind=2,
            start_time_unix_nano=10**18 + number,
            end_time_unix_nano=10**18 + 10**6,
        )
        if size:
            span.attributes.add(key="text").value.string_value = "x" * size
    return message.SerializeToString()


def names(traces: range, spans: int = 3) -> Counter[str]:
    """What `request` calls the spans of traces."""
    return Counter(f"{trace}/{number}" for trace in traces for number in range(1, spans + 1))


class Stage:
    """A running stage.

    Attributes:
        service: its components.
        logs: what it logged.
    """

    def __init__(self, service: Service, logs: list[Any]) -> None:
        self.service = service
        self.logs = logs
        ports = service.component(Kind.RECEIVER, "otlp").ports  # type: ignore[attr-defined]
        self.grpc = f"127.0.0.1:{ports['grpc']}"
        self.http = f"http://127.0.0.1:{ports['http']}/v1/traces"

    @property
    def books(self) -> Books:
        return Books.of(self.service.telemetry)

    def health(self, name: str) -> Event:
        """How a component is, by its kind and id (`exporter:otlp_grpc`)."""
        (pipeline,) = self.service.overview().pipelines.values()
        return pipeline[name]

    def logged(self, text: str) -> list[Any]:
        return [line for line in self.logs if text in str(line)]

    async def send(self, *bodies: bytes) -> None:
        """Send over HTTP, one after the other; each must be taken."""
        async with aiohttp.ClientSession() as session:
            for body in bodies:
                assert await post(session, self.http, body) == (200, None)

    async def send_grpc(self, *bodies: bytes) -> None:
        async with grpc.aio.insecure_channel(self.grpc) as channel:
            export = channel.unary_unary(EXPORT)
            for body in bodies:
                await export(body, timeout=10)


async def post(session: aiohttp.ClientSession, url: str, body: bytes) -> tuple[int, str | None]:
    """Post protobuf; give the status and when to come back."""
    headers = {"Content-Type": "application/x-protobuf"}
    async with session.post(url, data=io.BytesIO(body), headers=headers) as answer:
        await answer.read()
        return answer.status, answer.headers.get("Retry-After")


@asynccontextmanager
async def stage(
    model: Path, exporters: dict[str, dict[str, Any]], before: dict[str, Any] | None = None, **tracead: Any
) -> AsyncIterator[Stage]:
    """Run receivers, *before* (processors), `tracead` with the keys *tracead*, and *exporters* with short pauses."""
    logs = structlog.testing.LogCapture()
    logger = structlog.wrap_logger(structlog.testing.ReturnLogger(), processors=[logs])
    anywhere = {"endpoint": "127.0.0.1:0"}
    processor = {"model": str(model), "execution_provider": "cpu", "wait_duration": "100ms", "unknown_labels": 1.0}
    config = {
        "receivers": {"otlp": {"protocols": {"grpc": anywhere, "http": anywhere}}},
        "processors": {**(before or {}), "tracead": {**processor, **tracead}},
        "exporters": {
            name: {
                **({} if name.startswith("file") else {"timeout": "1s"}),
                "retry_on_failure": AGAIN,
                "sending_queue": QUEUE,
                **keys,
            }
            for name, keys in exporters.items()
        },
        "service": {
            "pipelines": {
                "traces": {
                    "receivers": ["otlp"],
                    "processors": [*(before or {}), "tracead"],
                    "exporters": list(exporters),
                }
            }
        },
    }
    async with running(config, logger=logger) as service:
        yield Stage(service, logs.entries)


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for *condition*."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (no event tells)
            await asyncio.sleep(0.01)
