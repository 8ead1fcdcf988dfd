import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
import structlog
from service_fakes import MINIMAL, House

from otel_tracead.component import Kind
from otel_tracead.errors import Backpressure, ConfigError
from otel_tracead.service import running
from otel_tracead.service.graph import Node
from otel_tracead.service.uris import merge

TWO_PIPELINES: dict[str, Any] = {
    "receivers": {"in": None, "in/2": None},
    "processors": {"step": None, "step/2": None},
    "exporters": {"out": None, "out/2": None},
    "extensions": {"ext": None, "ext/2": None, "ext/unused": None},
    "service": {
        "extensions": ["ext", "ext/2"],
        "pipelines": {
            "traces": {"receivers": ["in", "in/2"], "processors": ["step", "step/2"], "exporters": ["out"]},
            "traces/b": {"receivers": ["in"], "processors": ["step"], "exporters": ["out", "out/2"]},
        },
    },
}


def names(nodes: Iterable[Node]) -> list[str]:
    return [f"{node.id}@{node.pipeline or ''}".rstrip("@") for node in nodes]


async def test_receivers_and_exporters_are_shared_processors_are_not() -> None:
    house = House()
    async with running(TWO_PIPELINES, registry=house.registry) as service:
        assert sorted(names(service.graph.start_order())) == [
            "ext", "ext/2", "in", "in/2", "out", "out/2", "step/2@traces", "step@traces", "step@traces/b",
        ]  # fmt: skip
        delivery = await house.get("receiver in").send(4)
        assert delivery.holds == 0
        assert [len(c.batch) for c in house.get("exporter out").got] == [4, 4]
        assert [len(c.batch) for c in house.get("exporter out/2").got] == [4]
        await house.get("receiver in/2").send(2)
        assert [len(c.batch) for c in house.get("exporter out").got] == [4, 4, 2]
        assert [len(c.batch) for c in house.get("exporter out/2").got] == [4]


async def test_start_is_against_the_flow_and_shutdown_with_it() -> None:
    house = House()
    async with running(TWO_PIPELINES, registry=house.registry) as service:
        position = {name: index for index, name in enumerate(names(service.graph.start_order()))}
        assert position["ext"] < position["ext/2"] < position["out"] < position["step/2@traces"]
        assert position["step/2@traces"] < position["step@traces"] < position["in"]
        assert [[names(chain) for chain in stage] for stage in service.graph.shutdown_stages()] == [
            [["in"], ["in/2"]],
            [["step@traces", "step/2@traces"], ["step@traces/b"]],
            [["out"], ["out/2"]],
            [["ext/2", "ext"]],
        ]
    starts = [line for line in house.log if line.startswith("start")]
    assert house.log[: len(starts) + 2] == [*starts, "ready extension ext", "ready extension ext/2"]
    assert house.log[len(starts) + 2 :][:2] == ["not ready extension ext", "not ready extension ext/2"]
    stops = [line.removeprefix("stop ") for line in house.log if line.startswith("stop")]
    kinds = ["receiver"] * 2 + ["processor"] * 3 + ["exporter"] * 2 + ["extension"] * 2
    assert [line.split()[0] for line in stops] == kinds


async def test_an_exporter_that_waits_for_a_dead_backend_does_not_take_the_time_of_the_others() -> None:
    house = House()
    async with running(TWO_PIPELINES, registry=house.registry):
        other = house.get("exporter out/2")
        stopped = asyncio.Event()
        waiting, stop_other = house.get("exporter out"), other.shutdown

        async def stop_and_tell() -> None:
            await stop_other()
            stopped.set()

        waiting.shutdown = stopped.wait  # type: ignore[method-assign, assignment]
        other.shutdown = stop_and_tell  # type: ignore[method-assign]


async def test_processors_work_in_the_order_of_the_list() -> None:
    house = House()
    async with running(TWO_PIPELINES, registry=house.registry):
        way: list[Any] = [house.get("receiver in/2")]
        while (outlet := way[-1].next) is not None:
            (following,) = outlet.consumers
            way.append(following)
        assert [fake.name for fake in way[1:]] == ["processor step", "processor step/2", "exporter out"]


async def test_a_refusing_exporter_refuses_for_all_and_nothing_is_taken() -> None:
    house = House()
    async with running(TWO_PIPELINES, registry=house.registry):
        house.get("exporter out/2").full = True
        with pytest.raises(Backpressure):
            await house.get("receiver in").send(4)
        assert house.get("exporter out").got == []
        await house.get("receiver in/2").send(1)
        assert len(house.get("exporter out").got) == 1


async def test_a_list_that_names_one_twice_is_as_if_it_did_once() -> None:
    house = House()
    tree = merge(
        MINIMAL, {"service": {"pipelines": {"traces": {"receivers": ["in", "in"], "exporters": ["out", "out"]}}}}
    )
    async with running(tree, registry=house.registry):
        await house.get("receiver in").send(1)
        assert len(house.get("exporter out").got) == 1


async def test_components_know_where_they_stand() -> None:
    house = House()
    logger = structlog.wrap_logger(structlog.testing.ReturnLogger(), processors=[])
    async with running(TWO_PIPELINES, registry=house.registry, logger=logger):
        step = next(fake for fake in house.built if fake.name == "processor step/2")
        assert structlog.get_context(step.settings.logger) == {
            "otelcol.component.id": "step/2",
            "otelcol.component.kind": "processor",
            "otelcol.signal": "traces",
            "otelcol.pipeline.id": "traces",
        }
        assert set(step.settings.extensions) == {"ext", "ext/2"}


async def test_everything_that_cannot_be_built_is_said() -> None:
    house = House()

    def broken(*_arguments: object) -> None:
        raise ValueError("no model there")

    for kind, name in ((Kind.PROCESSOR, "step"), (Kind.EXPORTER, "out")):
        factory = house.factory(kind, name)
        object.__setattr__(factory, "build", broken)
        house.registry._given[kind, name] = factory
    with pytest.raises(ConfigError) as caught:
        async with running(TWO_PIPELINES, registry=house.registry):
            pass
    assert set(caught.value.problems) == {"exporters::out: no model there", "exporters::out/2: no model there"}


async def test_a_component_is_found_by_its_id() -> None:
    house = House()
    async with running(MINIMAL, registry=house.registry) as service:
        assert service.component(Kind.EXPORTER, "out") is house.get("exporter out")
        with pytest.raises(KeyError):
            service.component(Kind.EXPORTER, "in")
