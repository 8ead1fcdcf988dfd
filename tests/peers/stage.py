"""The stage as a process: `otel-tracead run` with a configuration that a test asks for."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tools.peers import Process, free_port
from tools.peers.otelcol import Collector
from tools.peers.process import HOST, listening


class Stage(Process):
    """A running `otel-tracead run`.

    Attributes:
        grpc: host:port of its OTLP gRPC receiver.
        http: base URL of its OTLP HTTP receiver.
        zipkin: base URL of its Zipkin receiver.
        metrics: URL of its metrics.
    """

    def __init__(
        self,
        folder: Path,
        exporters: dict[str, Any],
        processors: dict[str, Any] | None = None,
        name: str = "stage",
        extensions: dict[str, Any] | None = None,
    ) -> None:
        grpc, http, zipkin, metrics = (free_port() for _ in range(4))
        self.grpc = f"{HOST}:{grpc}"
        self.http = f"http://{HOST}:{http}"
        self.zipkin = f"http://{HOST}:{zipkin}"
        self.metrics = f"http://{HOST}:{metrics}/metrics"
        protocols = {
            "grpc": {"endpoint": self.grpc, "max_recv_msg_size_mib": 64},
            "http": {"endpoint": f"{HOST}:{http}"},
        }
        pipeline = {
            "receivers": ["otlp", "zipkin"],
            "processors": list(processors or {}),
            "exporters": list(exporters),
        }
        reader = {"pull": {"exporter": {"prometheus": {"host": HOST, "port": metrics}}}}
        document = {
            "extensions": extensions or {},
            "receivers": {"otlp": {"protocols": protocols}, "zipkin": {"endpoint": f"{HOST}:{zipkin}"}},
            "processors": processors or {},
            "exporters": exporters,
            "service": {
                "extensions": list(extensions or {}),
                "pipelines": {"traces": pipeline},
                "telemetry": {"metrics": {"readers": [reader]}},
            },
        }
        config = folder / f"{name}.yaml"
        config.write_text(yaml.safe_dump(document, sort_keys=False))
        super().__init__(
            [sys.executable, "-m", "otel_tracead", "run", "--config", config],
            log=folder / f"{name}.log",
            ready=listening(grpc, http, zipkin),
        )

    def drain(self) -> None:
        """End it as an orchestrator does; everything that it took has then been handed on."""
        code = self.stop()
        assert code == 0, f"exit code {code}:\n{self.tail()}"


StartStage = Callable[..., Stage]
StartCollector = Callable[[Path, list[int], dict[str, str]], Collector]


def otlp_to(target: str) -> dict[str, Any]:
    """An exporter to *target* (host:port)."""
    return {"otlp_grpc": {"endpoint": target, "tls": {"insecure": True}, "compression": "none"}}


def scoring(model: Path, wait: str = "5s") -> dict[str, Any]:
    """The processor with *model*."""
    return {"tracead": {"model": str(model), "wait_duration": wait, "execution_provider": "cpu"}}
