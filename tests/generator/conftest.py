"""Scenarios that several tests read."""

from collections.abc import Callable

import pytest

from otel_tracead.generator import Fault, Scenario, SimulatedTrace, Truth, simulate

START = 1_700_000_000_000_000_000


def scenario(**changes: object) -> Scenario:
    settings: dict[str, object] = {"seed": 7, "start_unix_nano": START, "duration_s": 20.0, "clock_skew_ms": 0.0}
    return Scenario(**(settings | changes))


@pytest.fixture(scope="session")
def normal() -> list[SimulatedTrace]:
    return list(simulate(scenario(duration_s=60.0)).traces)


@pytest.fixture(scope="session")
def with_fault() -> Callable[[Fault], tuple[dict[bytes, SimulatedTrace], Truth]]:
    known: dict[Fault, tuple[dict[bytes, SimulatedTrace], Truth]] = {}

    def run(fault: Fault) -> tuple[dict[bytes, SimulatedTrace], Truth]:
        if fault not in known:
            simulation = simulate(scenario(duration_s=60.0, faults=(fault,)))
            known[fault] = {trace.trace_id: trace for trace in simulation.traces}, simulation.truth
        return known[fault]

    return run
