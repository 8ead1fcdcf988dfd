"""The systems that are measured: each takes OTLP over gRPC on one port and sends it on to another."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools.peers import Process, free_port, otelcol
from tools.peers.process import HOST, listening
from tools.peers.rotel import Rotel
from tools.peers.rotel import binary as rotel_binary

_CONFIGS = Path(__file__).parent / "configs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a system stands in a run.

    Attributes:
        port: it takes OTLP over gRPC here.
        target: it sends to this host:port.
        log: its output.
        model: the model artifact, for the stage that scores.
    """

    port: int
    target: str
    log: Path
    model: Path

    @property
    def env(self) -> dict[str, str]:
        """What the configuration files ask for."""
        return {
            "BENCH_IN": f"{HOST}:{self.port}",
            "BENCH_OUT": self.target,
            "BENCH_METRICS_PORT": str(free_port()),
            "BENCH_MODEL": str(self.model.resolve()),
        }


@dataclass(frozen=True, slots=True)
class System:
    """One row of the table.

    Attributes:
        name: what the command line calls it.
        description: one line for the report.
        start: starts it; entered as a context manager it is ready.
        available: raises `Unavailable` where it cannot be started.
    """

    name: str
    description: str
    start: Callable[[Place], Process]
    available: Callable[[], object] = lambda: None


def _stage(config: str) -> Callable[[Place], Process]:
    def start(place: Place) -> Process:
        command = [sys.executable, "-m", "otel_tracead", "run", "--config", str(_CONFIGS / config)]
        return Process(command, log=place.log, ready=listening(place.port), env=place.env)

    return start


def _collector(config: str) -> Callable[[Place], Process]:
    return lambda place: otelcol.Collector(_CONFIGS / config, log=place.log, ports=[place.port], env=place.env)


def _rotel(*, batching: bool) -> Callable[[Place], Process]:
    return lambda place: Rotel(place.port, place.target, log=place.log, batching=batching)


SYSTEMS = (
    System("tracead", "otel-tracead: whole traces, scored, annotated, batched", _stage("tracead.yaml")),
    System("tracead-plumbing", "otel-tracead without the processor: in and out", _stage("tracead-plumbing.yaml")),
    System(
        "collector-forward", "Collector: in and out", _collector("collector-forward.yaml"), available=otelcol.binary
    ),
    System(
        "collector-groupbytrace",
        "Collector: whole traces, batched",
        _collector("collector-groupbytrace.yaml"),
        available=otelcol.binary,
    ),
    System("rotel", "Rotel: batched", _rotel(batching=True), available=rotel_binary),
    System("rotel-forward", "Rotel: in and out", _rotel(batching=False), available=rotel_binary),
)
