from typing import Any

import pytest
from service_fakes import MINIMAL, House

from otel_tracead.errors import StartError
from otel_tracead.service import running
from otel_tracead.service.uris import merge


def with_failing(section: str, id_: str) -> dict[str, Any]:
    over: dict[str, Any] = {
        "processors": {"step": None},
        "extensions": {"ext": None},
        "service": {"extensions": ["ext"], "pipelines": {"traces": {"processors": ["step"]}}},
    }
    return merge(merge(MINIMAL, over), {section: {id_: {"fail": "address already in use"}}})


@pytest.mark.parametrize(
    ("section", "id_", "started"),
    [
        ("extensions", "ext", ["extension ext"]),
        ("exporters", "out", ["extension ext", "exporter out"]),
        ("processors", "step", ["extension ext", "exporter out", "processor step"]),
        ("receivers", "in", ["extension ext", "exporter out", "processor step", "receiver in"]),
    ],
)
async def test_a_failing_start_names_the_component_and_stops_what_had_started(
    section: str, id_: str, started: list[str]
) -> None:
    house = House()
    with pytest.raises(StartError) as caught:
        async with running(with_failing(section, id_), registry=house.registry):
            pass
    assert str(caught.value) == f'failed to start "{id_}" {section[:-1]}: address already in use'
    assert [line for line in house.log if line.startswith("start ")] == [f"start {name}" for name in started]
    assert sorted(line for line in house.log if line.startswith("stop ")) == sorted(f"stop {name}" for name in started)
    assert "ready extension ext" not in house.log


async def test_spans_that_were_left_are_said() -> None:
    house = House()
    with pytest.raises(RuntimeError, match='"out" exporter could not hand on 12 spans'):
        async with running(MINIMAL, registry=house.registry):
            house.get("exporter out").undelivered = 12


async def test_a_failing_shutdown_does_not_keep_the_others_from_theirs() -> None:
    house = House()

    async def broken() -> None:
        raise OSError("disk full")

    with pytest.raises(RuntimeError, match='failed to shut down "in" receiver: disk full'):
        async with running(MINIMAL, registry=house.registry):
            house.get("receiver in").shutdown = broken  # type: ignore[method-assign]
    assert house.log[-1] == "stop exporter out"


async def test_shutdown_may_come_twice_and_without_a_start() -> None:
    house = House()
    async with running(MINIMAL, registry=house.registry) as service:
        assert await service.shutdown() == []
    assert house.log.count("stop exporter out") == 1
