"""What a span leaves behind is freed at once: nothing of it waits for the garbage collector, which seldom comes round.

A stage has the collector look at what is old only after fifty million new objects (`service/memory.py`): a cycle for each request
would be memory that grows for hours.
"""

import gc
import json
import types
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from otel_tracead.component import Kind
from tests.exporters.backends import GrpcBackend, HttpBackend
from tests.faults.books import Books
from tests.faults.pipeline import EXPORT, post, request, running, until

REQUESTS = 60
_FEW = REQUESTS // 3  # of a whole run, whatever its length: of connections, of what is made once


@pytest.fixture
def nothing_is_collected() -> Iterator[None]:
    """Only who asks collects garbage."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def ours() -> Counter[str]:
    """Count the objects and functions of this project that there are."""
    names: Counter[str] = Counter()
    for one in gc.get_objects():
        what = one if type(one) is types.FunctionType else type(one)
        if str(what.__module__).startswith("otel_tracead"):
            names[f"{what.__module__}.{what.__qualname__}"] += 1
    return names


def zipkin(trace: int) -> bytes:
    spans = [
        {
            "traceId": f"{trace + 1:032x}",
            "id": f"{number:016x}",
            "name": f"{trace}/{number}",
            "timestamp": 1,
            "duration": 9,
        }
        for number in (1, 2, 3)
    ]
    return json.dumps(spans).encode()


@pytest.mark.usefixtures("nothing_is_collected")
@pytest.mark.parametrize("stored", [False, True], ids=["in memory", "stored"])
async def test_no_request_leaves_a_cycle(tiny_artifact: Path, tmp_path: Path, stored: bool) -> None:
    first, second = GrpcBackend(), HttpBackend()
    await first.start()
    await second.start()
    anywhere = {"endpoint": "127.0.0.1:0"}
    queue: dict[str, Any] = {"sending_queue": {"storage": "file_storage"}} if stored else {}
    tracead = {"model": str(tiny_artifact), "execution_provider": "cpu", "wait_duration": "50ms"}
    config = {
        "extensions": {"file_storage": {"directory": str(tmp_path)}} if stored else {},
        "receivers": {"otlp": {"protocols": {"grpc": anywhere, "http": anywhere}}, "zipkin": anywhere},
        "processors": {"tracead": {**tracead, **({"storage": "file_storage"} if stored else {})}},
        "exporters": {
            "otlp_grpc": {"endpoint": f"127.0.0.1:{first.port}", "tls": {"insecure": True}, **queue},
            "otlp_http": {"endpoint": f"http://127.0.0.1:{second.port}", **queue},
        },
        "service": {
            "extensions": ["file_storage"] if stored else [],
            "pipelines": {
                "traces": {
                    "receivers": ["otlp", "zipkin"],
                    "processors": ["tracead"],
                    "exporters": ["otlp_grpc", "otlp_http"],
                }
            },
        },
    }
    async with running(config) as service:
        otlp: Any = service.component(Kind.RECEIVER, "otlp")
        other: Any = service.component(Kind.RECEIVER, "zipkin")
        posted = f"http://127.0.0.1:{otlp.ports['http']}/v1/traces"
        spans = f"http://127.0.0.1:{other.ports['http']}/api/v2/spans"

        async def send(begin: int) -> None:
            sent = Books.of(service.telemetry).sent("otlp_http")
            async with (
                grpc.aio.insecure_channel(f"127.0.0.1:{otlp.ports['grpc']}") as channel,
                aiohttp.ClientSession() as session,
            ):
                export = channel.unary_unary(EXPORT)
                for trace in range(begin, begin + 3 * REQUESTS, 3):
                    await export(request(trace), timeout=10)
                    assert await post(session, posted, request(trace + 1)) == (200, None)
                    async with session.post(spans, data=zipkin(trace + 2)) as answer:
                        assert answer.status == 202
            for name in ("otlp_grpc", "otlp_http"):
                await until(lambda name=name: Books.of(service.telemetry).sent(name) == sent + 9 * REQUESTS)

        await send(0)  # what is made once is made now
        gc.collect()
        await send(1000)
        there = ours()
        gc.collect()
        garbage = there - ours()
    await first.stop()
    await second.stop()
    assert not {name: number for name, number in garbage.items() if number > _FEW}
