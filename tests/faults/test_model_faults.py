"""The model gives nonsense: its traces go on without a verdict, counted, and the next ones are judged again."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otel_tracead.detection.scorer import Scorer
from otel_tracead.health import Status
from tests.exporters.backends import GrpcBackend
from tests.faults.pipeline import Stage, names, request, stage, until
from tests.faults.test_backend_faults import arrived, at, exporter

Outputs = list[np.ndarray]


def nan(outputs: Outputs) -> Outputs:
    return [np.full_like(one, np.nan) for one in outputs]


def one_nan(outputs: Outputs) -> Outputs:
    broken = [one.copy() for one in outputs]
    broken[0].ravel()[0] = np.nan
    return broken


def fewer(outputs: Outputs) -> Outputs:
    return [one[..., :1] for one in outputs]


def none_at_all(_outputs: Outputs) -> Outputs:
    return []


def failing(_outputs: Outputs) -> Outputs:
    raise RuntimeError("the session is broken")


class Spoiled:
    """Every network, whose outputs pass through `spoil`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.spoil: Callable[[Outputs], Outputs] = lambda outputs: outputs
        runs = Scorer._runs

        def spoiled(*given: Any) -> Iterator[tuple[Any, Any, Outputs]]:
            return ((positions, cells, self.spoil(found)) for positions, cells, found in runs(*given))

        monkeypatch.setattr(Scorer, "_runs", spoiled)


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> Spoiled:
    return Spoiled(monkeypatch)


@pytest.fixture
async def backend() -> AsyncIterator[GrpcBackend]:
    one = GrpcBackend()
    await one.start()
    yield one
    await one.stop()


def unscored(running: Stage) -> int:
    return running.books.total("otelcol_processor_tracead_traces_unscored", reason="error")


def scored(running: Stage) -> int:
    return running.books.total("otelcol_processor_tracead_traces_scored")


@pytest.mark.parametrize("spoil", [nan, one_nan, fewer, none_at_all, failing])
async def test_what_is_no_verdict_is_none(
    tiny_artifact: Path, backend: GrpcBackend, networks: Spoiled, spoil: Callable[[Outputs], Outputs]
) -> None:
    async with stage(tiny_artifact, exporter("otlp_grpc", at(backend))) as running:
        networks.spoil = spoil
        await running.send(*(request(trace) for trace in range(5)))
        await until(lambda: unscored(running) == 5)
        assert scored(running) == 0
        assert running.health("processor:tracead").status is Status.RECOVERABLE_ERROR
        assert running.books.total("otelcol_processor_tracead_scoring_failures") >= 1
        assert running.logged("traces could not be scored")
        networks.spoil = lambda outputs: outputs
        await running.send(*(request(trace) for trace in range(5, 8)))
        await until(lambda: scored(running) == 3)
        assert running.health("processor:tracead").status is Status.OK
        await until(lambda: len(arrived(backend)) == 24)
        assert arrived(backend) == names(range(8))
        running.books.check("otlp_grpc")
