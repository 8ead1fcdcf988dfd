"""A replica as a process, and a backend of its own that keeps what it hands on."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import grpc

from benchmarks.load_balancing.routing import EXPORT
from tools.peers import Process, free_port
from tools.peers.process import HOST, answering, listening

_CONFIG: Final = Path(__file__).parents[2] / "examples" / "replica.yaml"


class Backend:
    """Takes OTLP over gRPC and keeps the requests.

    Attributes:
        bodies: as they came.
        target: host:port.
    """

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        service, method = EXPORT.strip("/").split("/")
        handler = grpc.unary_unary_rpc_method_handler(self._export)
        self._server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)])
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {method: handler})])
        self.target = f"{HOST}:{self._server.add_insecure_port(f'{HOST}:0')}"

    def _export(self, body: bytes, _context: object) -> bytes:
        self.bodies.append(body)
        return b""

    def __enter__(self) -> Self:
        """Serve."""
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self._server.stop(1).wait()


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
