"""Zipkin: server, API and UI in one jar from Maven Central, with its memory storage."""

import json
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tools.peers.cache import cache_folder, execute, locked, need
from tools.peers.process import HOST, Process, answering, free_port

VERSION = "3.5.1"
_JAR = f"zipkin-server-{VERSION}-exec.jar"


def install() -> Path:
    """Fetch the jar unless it is there.

    Raises:
        Unavailable: no Java, no Maven, or Maven cannot fetch it.
    """
    need("java")
    jar = cache_folder("zipkin") / _JAR
    if jar.exists():
        return jar
    need("mvn")
    with locked("zipkin") as folder:
        if not jar.exists():
            artifact = f"io.zipkin:zipkin-server:{VERSION}:jar:exec"
            partial = folder / "partial"
            execute(
                ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={partial}"],
                cwd=folder,
            )
            (partial / _JAR).rename(jar)
    return jar


class Zipkin(Process):
    """A running Zipkin, whose page offers the values of *autocomplete_keys*.

    Attributes:
        url: its base URL.
    """

    def __init__(self, log: Path, autocomplete_keys: Sequence[str] = ()) -> None:
        port = free_port()
        self.url = f"http://{HOST}:{port}"
        super().__init__(
            [
                *("java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-jar", install()),
                # QUERY_PORT alone would listen on every interface.
                *(f"--armeria.ports[0].address={HOST}", f"--armeria.ports[0].port={port}"),
                "--armeria.ports[0].protocols[0]=http",
            ],
            log=log,
            ready=answering(f"{self.url}/health"),
            env={
                "STORAGE_TYPE": "mem",
                "MEM_MAX_SPANS": "500000",
                "AUTOCOMPLETE_KEYS": ",".join(autocomplete_keys),
            },
            patience=120,
        )

    def search(self, parameters: Mapping[str, str | int]) -> list[list[dict[str, Any]]]:
        """Ask `/api/v2/traces`; gives the traces found, each a list of spans."""
        with urllib.request.urlopen(f"{self.url}/api/v2/traces?{urlencode(parameters)}", timeout=60) as answer:
            found: list[list[dict[str, Any]]] = json.load(answer)
            return found

    def spans_received(self) -> int:
        """Count the spans that were posted to it: a search merges those that came twice."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=60) as answer:
            counted: dict[str, float] = json.load(answer)
            return int(counted["counter.zipkin_collector.spans.http"])
