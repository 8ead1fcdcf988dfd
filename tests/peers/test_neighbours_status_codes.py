"""The neighbours' columns of docs/status-codes.md: the same bytes to a real Collector and a real Zipkin."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest
import yaml

from otel_tracead.wire.rpc_status import RpcStatus
from tests.peers.stage import Stage, StartCollector, otlp_to
from tests.receivers.status import bad_requests
from tests.receivers.status.bad_requests import LIMIT, PATHS, SECTIONS
from tests.receivers.status.page import table
from tests.receivers.status.raw import GRPC_PATH, send
from tests.receivers.status.test_status_codes import GOOD
from tools.peers import free_port
from tools.peers.process import HOST
from tools.peers.zipkin import Zipkin


def receivers(ports: list[int]) -> dict[str, Any]:
    grpc_, http, zipkin = ports
    return {
        "otlp": {
            "protocols": {
                "grpc": {"endpoint": f"{HOST}:{grpc_}", "max_recv_msg_size_mib": LIMIT >> 20},
                "http": {"endpoint": f"{HOST}:{http}", "max_request_body_size": LIMIT},
            }
        },
        "zipkin": {"endpoint": f"{HOST}:{zipkin}", "max_request_body_size": LIMIT},
    }


@pytest.fixture
def collector(start_collector: StartCollector, tmp_path: Path) -> Iterator[Any]:
    """Starts a Collector with one exporter; gives its ports."""

    def start(exporters: dict[str, Any]) -> list[int]:
        ports = [free_port() for _ in SECTIONS]
        pipeline = {"receivers": ["otlp", "zipkin"], "exporters": list(exporters)}
        document = {
            "receivers": receivers(ports),
            "exporters": exporters,
            "service": {"pipelines": {"traces": pipeline}, "telemetry": {"metrics": {"level": "none"}}},
        }
        config = tmp_path / "collector.yaml"
        config.write_text(yaml.safe_dump(document))
        start_collector(config, ports, {})
        return ports

    return start


@pytest.mark.peers
def test_the_collector_answers_as_the_page_says(collector: Any) -> None:
    for port, (section, requests) in zip(collector({"nop": {}}), SECTIONS.items(), strict=True):
        said = {name: cells[2] for name, cells in table(section).items()}
        assert {name: send(request, port, PATHS[section]).status for name, request in requests().items()} == said


def test_zipkin_answers_as_the_page_says(zipkin: Zipkin) -> None:
    port = urlsplit(zipkin.url).port
    assert port is not None
    said = {name: cells[3] for name, cells in table("Zipkin").items() if cells[3] != "—"}
    found = {name: send(bad_requests.zipkin()[name], port, PATHS["Zipkin"]).status for name in said}
    assert found == said


class Backend:
    """Answers with what it is told to say."""

    def __init__(self) -> None:
        self.row = ""
        self._server = grpc.server(ThreadPoolExecutor(2))
        service, method = GRPC_PATH.strip("/").split("/")
        handler = grpc.unary_unary_rpc_method_handler(self._export)
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {method: handler})])
        self.target = f"{HOST}:{self._server.add_insecure_port(f'{HOST}:0')}"
        self._server.start()

    def _export(self, _body: bytes, context: Any) -> bytes:
        name, _, later = self.row.partition(", ")
        code = grpc.StatusCode[name]
        if later:
            status = RpcStatus(code.value[0], "because", 7.0)
            context.set_trailing_metadata((("grpc-status-details-bin", status.encode()),))
        context.abort(code, "because")
        return b""

    def close(self) -> None:
        self._server.stop(None).wait()


@pytest.mark.peers
def test_the_collector_hands_a_backends_status_through_as_the_page_says(collector: Any) -> None:
    backend = Backend()
    off = {"sending_queue": {"enabled": False}, "retry_on_failure": {"enabled": False}}
    ports = collector({"otlp": {"endpoint": backend.target, "tls": {"insecure": True}, **off}})
    said = {row: cells[3:] for row, cells in table("What the pipeline says", 1).items()}
    found = {}
    for row in said:
        backend.row = row
        found[row] = [
            send(GOOD[section], port, PATHS[section]).status for port, section in zip(ports, SECTIONS, strict=True)
        ]
    backend.close()
    assert found == said


@pytest.mark.peers
def test_one_span_that_the_collector_cannot_read_costs_no_other(
    start_collector: StartCollector, tmp_path: Path
) -> None:
    """A wrong wire type and ids of a wrong length pass us; Go's codec refuses the whole batch, and we send the rest."""
    grpc_ = free_port()
    file = tmp_path / "out.jsonl"
    config = tmp_path / "down.yaml"
    document = {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"{HOST}:{grpc_}"}}}},
        "exporters": {"file": {"path": str(file)}},
        "service": {
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["file"]}},
            "telemetry": {"metrics": {"level": "none"}},
        },
    }
    config.write_text(yaml.safe_dump(document))
    process = start_collector(config, [grpc_], {})
    exporter = otlp_to(f"{HOST}:{grpc_}")
    exporter["otlp_grpc"]["sending_queue"] = {"batch": {"min_size": 1000, "flush_timeout": "500ms"}}
    requests = bad_requests.otlp_grpc()
    good, bad = requests["spans"], ("ids of a wrong length", "a number where a name should be")
    with Stage(tmp_path, exporter) as stage:
        port = int(stage.grpc.rsplit(":", 1)[1])
        for request in (good, *(requests[name] for name in bad), good):
            assert send(request, port).status == "OK"
        stage.drain()
        assert stage.log.read_text().count("spans given up") >= 1
    assert process.stop() == 0
    assert file.read_text().count('"spanId"') == 4
