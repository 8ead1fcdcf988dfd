"""What every test may use."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from otel_tracead.event_loop import factory

settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("repeatable")


# Of connections and of sockets that are handed over: they run on both event loops that a stage may have.
_ON_BOTH_LOOPS = {
    "test_grpc_channel.py",
    "test_grpc_connection.py",
    "test_http_expectation.py",
    "test_receiver_reload.py",
}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run tests on the event loop of a stage (see `otel_tracead.event_loop`), some also on the one without uvloop."""
    plain: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.get_closest_marker("python_resolver"):
        return plain
    used = factory()
    return {used.__module__: used, **(plain if item.path.name in _ON_BOTH_LOOPS else {})}


@pytest.fixture(scope="session")
def trace_data() -> Path:
    """The folder of real traces that are not part of the project: `$TRACEAD_DATA`, else `shared/data` beside it."""
    folder = Path(os.environ.get("TRACEAD_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no traces at {folder}: set TRACEAD_DATA to a folder that holds them")
    return folder


@pytest.fixture(scope="session")
def tiny_model() -> Any:
    """What was learned of a minute of the simulated shop, with a random network; see `tiny_model`."""
    import tiny_model

    return tiny_model.learned(tiny_model.shop_traces())


@pytest.fixture(scope="session")
def tiny_artifact(tiny_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model artifact that holds `tiny_model`."""
    from tiny_model import write_artifact

    folder = tmp_path_factory.mktemp("tiny") / "model"
    write_artifact(folder, tiny_model)
    return folder


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real Kafka broker (`tools.peers.kafka.Broker`); its jars are fetched where Java and Maven are there.

    Attributes beside the broker's own: `certificate`, the file to trust at its secure address.
    """
    from tests.exporters.certificates import make
    from tools.peers import Unavailable
    from tools.peers.kafka import Broker

    folder = tmp_path_factory.mktemp("kafka")
    make(folder, "kafka")
    try:
        broker = Broker(folder, certificate=(folder / "kafka.pem", folder / "kafka.key"))
    except Unavailable as missing:
        pytest.skip(str(missing))
    broker.certificate = folder / "kafka.pem"
    with broker:
        yield broker
