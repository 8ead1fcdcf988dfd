"""Real processes around the tests: the stage, and the peers where this machine has them."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest

from otel_tracead.generator import Scenario, requests, simulate, standard_faults
from tests.peers.independent import GrpcSink
from tests.peers.stage import Stage, StartCollector, StartStage
from tools.peers import Process, Unavailable
from tools.peers.jaeger import Jaeger
from tools.peers.otelcol import Collector
from tools.peers.otelcol import binary as collector_binary
from tools.peers.zipkin import Zipkin

_ROOT = Path(__file__).parents[2]
_ProcessT = TypeVar("_ProcessT", bound=Process)


def _or_skip(start: Callable[[Path], _ProcessT], log: Path) -> Iterator[_ProcessT]:
    try:
        process = start(log)
    except Unavailable as missing:
        pytest.skip(str(missing))
    with process:
        yield process


@pytest.fixture(scope="session")
def zipkin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zipkin]:
    """A real Zipkin; its jar is fetched where Java and Maven are there."""
    yield from _or_skip(Zipkin, tmp_path_factory.mktemp("zipkin") / "log")


@pytest.fixture
def jaeger(tmp_path: Path) -> Iterator[Jaeger]:
    """A real Jaeger, if `make peers` built it."""
    yield from _or_skip(Jaeger, tmp_path / "jaeger.log")


@pytest.fixture
def sink() -> Iterator[GrpcSink]:
    with GrpcSink() as server:
        yield server


@pytest.fixture(scope="session")
def model() -> Path:
    """The bundled model."""
    folder = _ROOT / "model_artifacts" / "shop"
    if not (folder / "model.onnx").exists():
        pytest.skip("model_artifacts/shop holds no model: `make model` trains it")
    return folder


@pytest.fixture(scope="session")
def shop() -> list[bytes]:
    """OTLP requests of the simulated shop, which ends now, with a fault of every kind: about 10,000 spans."""
    start = time.time_ns() - 60 * 10**9
    faults = standard_faults(45, seed=3)
    scenario = Scenario(seed=11, start_unix_nano=start, duration_s=45, traces_per_second=12, faults=faults)
    return [body for _, body in requests(simulate(scenario))]


@pytest.fixture
def start_stage(tmp_path: Path) -> Iterator[StartStage]:
    """Starts stages: `start_stage(exporters, processors)`; they are ended with the test."""
    with ExitStack() as running:

        def start(exporters: dict[str, Any], processors: dict[str, Any] | None = None, name: str = "stage") -> Stage:
            return running.enter_context(Stage(tmp_path, exporters, processors, name))

        yield start


@pytest.fixture
def start_collector(tmp_path: Path) -> Iterator[StartCollector]:
    """Starts real Collectors: `start_collector(config, ports, env)`; they are ended with the test."""
    try:
        collector_binary()
    except Unavailable as missing:
        pytest.skip(str(missing))
    with ExitStack() as running:

        def start(config: Path, ports: list[int], env: dict[str, str]) -> Collector:
            log = tmp_path / f"{config.stem}.log"
            return running.enter_context(Collector(config, log=log, ports=ports, env=env))

        yield start
