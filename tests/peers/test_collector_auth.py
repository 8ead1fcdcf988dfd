"""Tokens, TLS and every compression between our components and the real Collector's, both ways."""

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from otel_tracead_exporters import otlp_grpc, otlp_http

from otel_tracead.component import Kind, Settings
from otel_tracead.delivery import Consignment, Delivery
from otel_tracead.extensions.bearertokenauth import FACTORY as BEARER
from otel_tracead.metrics import RECEIVER_REQUESTS
from otel_tracead.receivers import otlp
from otel_tracead.testing import RecordingConsumer
from otel_tracead.wire.otlp import encode_request
from tests.contract.exporter_contract import batch
from tests.contract.receiver_contract import until
from tests.exporters.certificates import make
from tests.peers.stage import StartCollector
from tools.peers import free_port
from tools.peers.process import HOST

COMPRESSIONS = ("gzip", "zstd", "zlib", "deflate", "snappy", "x-snappy-framed", "lz4", "none")
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
AUTH = {"authenticator": "bearertokenauth"}


def extensions(token: str) -> dict[str, Any]:
    config = BEARER.config.model_validate({"token": token})
    return {"bearertokenauth": BEARER.build(config, Settings(id="bearertokenauth", kind=Kind.EXTENSION), None)}


async def test_the_collector_sends_with_its_token(start_collector: StartCollector, tmp_path: Path) -> None:
    tls = make(tmp_path, "server")
    settings = Settings(id="otlp", kind=Kind.RECEIVER, extensions=extensions("right"))
    consumer = RecordingConsumer()
    listener = {"endpoint": f"{HOST}:0", "tls": tls, "auth": AUTH}
    config = otlp.OtlpReceiverConfig.model_validate({"protocols": {"grpc": listener, "http": listener}})
    receiver: Any = otlp.FACTORY.build(config, settings, consumer)
    await receiver.start()
    common = {"tls": {"ca_file": tls["cert_file"]}, "sending_queue": {"enabled": False}}
    common["retry_on_failure"] = {"enabled": False}
    http = f"https://{HOST}:{receiver.ports['http']}"
    exporters = {
        f"otlp_http/{name}": {**common, "endpoint": http, "auth": AUTH, "compression": name} for name in COMPRESSIONS
    }
    exporters["otlp_grpc"] = {**common, "endpoint": f"{HOST}:{receiver.ports['grpc']}", "auth": AUTH}
    exporters["otlp_http/wrong"] = {**common, "endpoint": http, "auth": {"authenticator": "bearertokenauth/wrong"}}
    port = free_port()
    path = tmp_path / "collector.yaml"
    path.write_text(
        json.dumps(
            {
                "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"{HOST}:{port}"}}}},
                "exporters": exporters,
                "extensions": {"bearertokenauth": {"token": "right"}, "bearertokenauth/wrong": {"token": "wrong"}},
                "service": {
                    "extensions": ["bearertokenauth", "bearertokenauth/wrong"],
                    "pipelines": {
                        f"traces/{number}": {"receivers": ["otlp"], "exporters": [name]}
                        for number, name in enumerate(exporters)
                    },
                    "telemetry": {"metrics": {"level": "none"}},
                },
            }
        )
    )
    await asyncio.to_thread(start_collector, path, [port], {})
    async with grpc.aio.insecure_channel(f"{HOST}:{port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError, match="does not match"):  # what our receiver told the wrong one
            await channel.unary_unary(EXPORT)(encode_request(batch("a", "b")), timeout=10)
    await until(lambda: len(consumer.spans) == 2 * (len(exporters) - 1))
    assert settings.telemetry.value(RECEIVER_REQUESTS, "otlp", "http", "unauthenticated") == 1
    await receiver.shutdown()


async def test_the_collector_takes_our_token(start_collector: StartCollector, tmp_path: Path) -> None:
    tls = make(tmp_path, "server")
    grpc_port, http_port = free_port(), free_port()
    file = tmp_path / "taken.jsonl"
    path = tmp_path / "collector.yaml"
    path.write_text(
        json.dumps(
            {
                "receivers": {
                    "otlp": {
                        "protocols": {
                            "grpc": {"endpoint": f"{HOST}:{grpc_port}", "tls": tls, "auth": AUTH},
                            "http": {"endpoint": f"{HOST}:{http_port}", "tls": tls, "auth": AUTH},
                        }
                    }
                },
                "exporters": {"file": {"path": str(file), "flush_interval": "10ms"}},
                "extensions": {"bearertokenauth": {"tokens": ["other", "right"]}},
                "service": {
                    "extensions": ["bearertokenauth"],
                    "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["file"]}},
                    "telemetry": {"metrics": {"level": "none"}},
                },
            }
        )
    )
    await asyncio.to_thread(start_collector, path, [grpc_port, http_port], {})
    settled: list[str] = []
    ways = [
        (otlp_grpc.FACTORY, f"{HOST}:{grpc_port}", "gzip", "right"),
        (otlp_grpc.FACTORY, f"{HOST}:{grpc_port}", "gzip", "x"),
    ]
    ways += [(otlp_http.FACTORY, f"https://{HOST}:{http_port}", name, "right") for name in COMPRESSIONS]
    for factory, endpoint, compression, token in ways:
        written = {"endpoint": endpoint, "compression": compression, "auth": AUTH, "tls": {"ca_file": tls["cert_file"]}}
        settings = Settings(id="out", kind=Kind.EXPORTER, extensions=extensions(token))
        exporter: Any = factory.build(factory.config.model_validate(written), settings, None)
        await exporter.start()
        name = f"{compression}-{token}"
        receipt = Delivery(lambda name=name: settled.append(name))  # type: ignore[misc]
        await exporter.consume(Consignment(batch(name), ((receipt, 1),)))
        await exporter.shutdown()
    assert len(settled) == len(ways), "all are settled: taken, or refused for good"
    wanted = {"gzip-right", *(f"{name}-right" for name in COMPRESSIONS)}

    def taken() -> set[str]:
        lines = file.read_text().splitlines() if file.exists() else []
        spans = [json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"][0] for line in lines]
        return {span["name"] for span in spans}

    await until(lambda: taken() >= wanted)
    assert taken() == wanted
