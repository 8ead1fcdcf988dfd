"""`health_check` beside the Collector's: which paths and methods answer, and with what."""

import asyncio
import http.client
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_tracead.service import running
from tests.peers.stage import StartCollector
from tools.peers import free_port
from tools.peers.process import HOST

pytestmark = pytest.mark.peers

PATHS = ("/", "/health", "/health/")
ASKED = [("GET", path) for path in ("/", "/x/y", "/health", "/health/", "/health/live")]
ASKED += [(method, "/") for method in ("HEAD", "POST", "PUT")]


def tree(ports: list[int], exporter: str) -> dict[str, Any]:
    names = [f"health_check/{number}" for number in range(len(PATHS))]
    return {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"{HOST}:{free_port()}"}}}},
        "exporters": {exporter: None},
        "extensions": {
            name: {"endpoint": f"{HOST}:{port}", "path": path}
            for name, port, path in zip(names, ports, PATHS, strict=True)
        },
        "service": {
            "extensions": names,
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": [exporter]}},
            "telemetry": {"metrics": {"level": "none"}},
        },
    }


def answers(ports: list[int]) -> dict[tuple[str, str, str], Any]:
    found: dict[tuple[str, str, str], Any] = {}
    for port, path in zip(ports, PATHS, strict=True):
        for method, asked in ASKED:
            connection = http.client.HTTPConnection(HOST, port, timeout=10)
            connection.request(method, asked)
            answer = connection.getresponse()
            text = answer.read()
            keys = sorted(json.loads(text)) if answer.status == 200 and text else None
            found[path, method, asked] = (answer.status, keys)
            connection.close()
    return found


async def test_the_same_paths_and_methods_answer_the_same(start_collector: StartCollector, tmp_path: Path) -> None:
    theirs, ours = ([free_port() for _ in PATHS] for _ in range(2))
    config = tmp_path / "collector.yaml"
    config.write_text(yaml.safe_dump(tree(theirs, "nop")))
    await asyncio.to_thread(start_collector, config, theirs, {})
    said = await asyncio.to_thread(answers, theirs)
    # Go's router sends who forgets the slash to the path with it.
    assert said.pop(("/health/", "GET", "/health")) == (307, None)
    async with running(tree(ours, "debug")):
        found = await asyncio.to_thread(answers, ours)
    assert found.pop(("/health/", "GET", "/health")) == (404, None)
    assert found == said
