"""A replica as a process, and a backend of its own that keeps what it hands on."""

import sys
from pathlib import Path
from typing import Final

from tools.peers import Process, free_port
from tools.peers.backend import Backend
from tools.peers.process import HOST, answering, listening

_CONFIG: Final = Path(__file__).parents[2] / "examples" / "replica.yaml"


class Replica:
    """`otel-tracead run` with examples/replica.yaml, on ports of its own; may be started again on them.

    Args:
        folder: for its log.
        name: of it.
        model: the model artifact.
        wait: its `wait_duration`.

    Attributes:
        endpoint: host:port where it takes spans.
        backend: what it hands on to.
        process: the running one, if any.
    """

    def __init__(self, folder: Path, name: str, model: Path, wait: str) -> None:
        self.backend = Backend()
        self.endpoint = f"{HOST}:{free_port()}"
        self.process: Process | None = None
        self._health, self._metrics = free_port(), free_port()
        self._log = folder / f"{name}.log"
        self._env = {
            "TRACEAD_MODEL": str(model.resolve()),
            "TRACEAD_WAIT": wait,
            "TRACEAD_METRICS_PORT": str(self._metrics),
            "DOWNSTREAM_GRPC": self.backend.target,
        }

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        overrides = {
            "receivers.otlp.protocols.grpc.endpoint": self.endpoint,
            "extensions.health_check.endpoint": f"{HOST}:{self._health}",
            "processors.tracead.require_report_card": "false",
            "processors.tracead.execution_provider": "cpu",
        }
        settings = [word for key, value in overrides.items() for word in ("--set", f"{key}={value}")]
        command = [sys.executable, "-m", "otel_tracead", "run", "--config", str(_CONFIG), *settings]
        healthy, listens = answering(f"http://{HOST}:{self._health}/"), listening(int(self.endpoint.rpartition(":")[2]))
        self.process = Process(command, log=self._log, ready=lambda: healthy() and listens(), env=self._env)
        self.process.wait_until_ready()

    def stop(self) -> int:
        """End it as an orchestrator does, and give its exit code."""
        if self.process is None:
            raise RuntimeError("it does not run")
        return self.process.stop()
