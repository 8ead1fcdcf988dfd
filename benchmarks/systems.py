"""The systems that are measured: each takes spans on one port and sends them over OTLP/gRPC to another."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.traffic import Protocol
from tools.peers import Process, Unavailable, free_port, otelcol
from tools.peers.process import HOST, listening
from tools.peers.rotel import Rotel
from tools.peers.rotel import binary as rotel_binary

_CONFIGS: Final = Path(__file__).parent / "configs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a system stands in a run.

    Attributes:
        port: it takes spans here.
        target: it sends to this host:port.
        log: its output.
        model: the model artifact, for the stage that scores.
        metrics_port: where it shows its own metrics.
        settings: more variables for its configuration file.
    """

    port: int
    target: str
    log: Path
    model: Path
    metrics_port: int = field(default_factory=free_port)
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        """What the configuration files ask for."""
        return {
            "BENCH_IN": f"{HOST}:{self.port}",
            "BENCH_OUT": self.target,
            "BENCH_METRICS_PORT": str(self.metrics_port),
            "BENCH_MODEL": str(self.model.resolve()),
            **self.settings,
        }


@dataclass(frozen=True, slots=True)
class System:
    """One row of the table.

    Attributes:
        name: what the command line calls it.
        description: one line for the report.
        start: starts it; entered as a context manager it is ready.
        available: raises `Unavailable` where it cannot be started.
        takes: what comes in.
        usual: whether it is measured unless others are asked for.
        at_full_speed: whether it is also measured so.
    """

    name: str
    description: str
    start: Callable[[Place], Process]
    available: Callable[[], object] = lambda: None
    takes: Protocol = Protocol.OTLP
    usual: bool = True
    at_full_speed: bool = True


def stage(config: str, *module: str) -> Callable[[Place], Process]:
    """Give what starts our stage with a file of `configs`, by `otel-tracead run` or a *module* that stands in for it."""

    def start(place: Place) -> Process:
        command = [sys.executable, "-m", *(module or ("otel_tracead", "run")), "--config", str(_CONFIGS / config)]
        return Process(command, log=place.log, ready=listening(place.port), env=place.env)

    return start


def collector(config: str) -> Callable[[Place], Process]:
    """Give what starts the Collector with a file of `configs`."""
    return lambda place: otelcol.Collector(_CONFIGS / config, log=place.log, ports=[place.port], env=place.env)


def _rotel(*, batching: bool) -> Callable[[Place], Process]:
    return lambda place: Rotel(place.port, place.target, log=place.log, batching=batching)


SYSTEMS: Final = (
    System("tracead", "otel-tracead: whole traces, scored, annotated, batched", stage("tracead.yaml")),
    System(
        "tracead-instant",
        "the same with a network that costs nothing",
        stage("tracead.yaml", "benchmarks.instant"),
        at_full_speed=False,
    ),
    System("tracead-plumbing", "otel-tracead without the processor: in and out", stage("tracead-plumbing.yaml")),
    System("collector-forward", "Collector: in and out", collector("collector-forward.yaml"), available=otelcol.binary),
    System(
        "collector-groupbytrace",
        "Collector: whole traces, batched",
        collector("collector-groupbytrace.yaml"),
        available=otelcol.binary,
    ),
    System("rotel", "Rotel: batched", _rotel(batching=True), available=rotel_binary),
    System("rotel-forward", "Rotel: in and out", _rotel(batching=False), available=rotel_binary, usual=False),
    System(
        "tracead-zipkin",
        "otel-tracead: Zipkin JSON in, whole traces, scored, annotated, batched",
        stage("tracead-zipkin.yaml"),
        takes=Protocol.ZIPKIN,
    ),
    System(
        "tracead-zipkin-plumbing",
        "otel-tracead without the processor: Zipkin JSON in, OTLP out",
        stage("tracead-zipkin-plumbing.yaml"),
        takes=Protocol.ZIPKIN,
    ),
    System(
        "collector-zipkin",
        "Collector: Zipkin JSON in, OTLP out",
        collector("collector-zipkin.yaml"),
        available=otelcol.binary,
        takes=Protocol.ZIPKIN,
    ),
)

REFERENCES: Final = {Protocol.OTLP: "collector-forward", Protocol.ZIPKIN: "collector-zipkin"}
"""Beside what everything else is put: the Collector that only forwards."""


def named(name: str) -> System:
    """Give a system by its name.

    Raises:
        KeyError: there is none.
    """
    return {system.name: system for system in SYSTEMS}[name]


def missing(system: System) -> str:
    """Say why this machine cannot run *system*, or nothing."""
    try:
        system.available()
    except Unavailable as reason:
        return str(reason)
    return ""
