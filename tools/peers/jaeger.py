"""Jaeger v2, built from the Go module proxy: OTLP in, query API out, traces in memory.

The v2 tags are no Go modules (the module path has no /v2), but each v2 release carries a v1 tag too. Its go.mod has
a replace directive, which `go install pkg@version` refuses, so the command is built inside the downloaded module.
"""

import json
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tools.peers.cache import Built, execute
from tools.peers.process import HOST, Process, answering, free_port

VERSION = "2.13.0"
_TAG = "v1.76.0"
_MODULE = "github.com/jaegertracing/jaeger"
_BUILT = Built("jaeger", VERSION, "5 to 10 minutes")
_CONFIG = Path(__file__).parent / "jaeger.yaml"

binary = _BUILT.binary


def install() -> Path:
    """Build it unless it is there.

    Raises:
        Unavailable: no Go, or the build fails.
    """

    def build(folder: Path) -> Path:
        module = json.loads(execute(["go", "mod", "download", "-json", f"{_MODULE}@{_TAG}"], cwd=folder))
        version = f"-s -w -X {_MODULE}/internal/version.latestVersion=v{VERSION}"
        partial = folder / "partial"
        execute(
            ["go", "build", "-trimpath", "-buildvcs=false", "-o", partial, "-ldflags", version, "./cmd/jaeger"],
            cwd=Path(module["Dir"]),
        )
        return partial

    return _BUILT.install(build)


class Jaeger(Process):
    """A running Jaeger.

    Attributes:
        otlp_grpc: host:port that takes OTLP over gRPC.
        otlp_http: base URL that takes OTLP over HTTP.
        url: base URL of the query API.
    """

    def __init__(self, log: Path) -> None:
        grpc, http, query, query_grpc, health = (free_port() for _ in range(5))
        self.otlp_grpc = f"{HOST}:{grpc}"
        self.otlp_http = f"http://{HOST}:{http}"
        self.url = f"http://{HOST}:{query}"
        super().__init__(
            [binary(), "--config", _CONFIG],
            log=log,
            ready=answering(f"http://{HOST}:{health}/status"),
            env={
                "JAEGER_OTLP_GRPC": self.otlp_grpc,
                "JAEGER_OTLP_HTTP": f"{HOST}:{http}",
                "JAEGER_QUERY_HTTP": f"{HOST}:{query}",
                "JAEGER_QUERY_GRPC": f"{HOST}:{query_grpc}",
                "JAEGER_HEALTH": f"{HOST}:{health}",
            },
        )

    def search(self, service: str, tags: Mapping[str, str], **parameters: str | int) -> list[dict[str, Any]]:
        """Ask `/api/traces`; gives the traces found.

        The values of *tags* are strings whatever the attribute's type (anything else is a 400), and all of them must
        stand on one span of *service*. Times are microseconds.
        """
        query = urlencode({"service": service, "tags": json.dumps(dict(tags)), **parameters})
        return self._get(f"/api/traces?{query}")

    def services(self) -> list[str]:
        """List the services that it has seen."""
        return [str(name) for name in self._get("/api/services")]

    def _get(self, path: str) -> list[Any]:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=60) as answer:
            return list(json.load(answer)["data"] or [])
