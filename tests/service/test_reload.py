"""From one configuration to the next while spans go through: who goes on, who comes, who goes, and what each holds."""

import asyncio
import gc
import random
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from service_fakes import MINIMAL, Fake, FakeConfig, House, spans

from otel_tracead.component import Consumer, Factory, Kind, Settings
from otel_tracead.delivery import Consignment, Delivery
from otel_tracead.errors import ConfigError, RetryableError, StartError
from otel_tracead.exporting import ExporterConfig, QueuedExporter
from otel_tracead.metrics import EXPORTER_SENT, SPANS_OPEN
from otel_tracead.service.config import ServiceConfig, decode
from otel_tracead.service.lifecycle import Service
from otel_tracead.service.registry import Registry
from otel_tracead.service.uris import merge
from otel_tracead.telemetry import Telemetry
from otel_tracead.testing import RecordingSender

SILENT = {"service": {"telemetry": {"metrics": {"level": "none"}}}}
LOGGER = structlog.wrap_logger(structlog.testing.ReturnLogger(), processors=[])


class Revised(Fake):
    """Goes on with another configuration, unless that says `missing`."""

    @asynccontextmanager
    async def revision(self, config: FakeConfig, settings: Settings) -> AsyncIterator[None]:
        if config.missing:
            raise OSError("no such model")
        yield
        self.config, self.settings = config, settings
        self.log.append(f"revised {self.name}")


def pipelines(**lists: list[str]) -> dict[str, Any]:
    return {"service": {"pipelines": {"traces": lists}}}


def decoded(house: House, *overs: dict[str, Any], base: Path | None = None) -> ServiceConfig:
    tree: dict[str, Any] = merge(MINIMAL, SILENT)
    for over in overs:
        tree = merge(tree, over)
    return decode(tree, house.registry, base or Path())


@asynccontextmanager
async def started(house: House, *overs: dict[str, Any]) -> AsyncIterator[Service]:
    service = Service(decoded(house, *overs), telemetry=Telemetry(), logger=LOGGER)
    await service.start()
    house.log.clear()
    yield service
    await service.shutdown()


async def settled(service: Service) -> None:
    """Wait until what is gone has drained."""
    if service._retiring is not None:
        await service._retiring


THREE = ({"processors": {"step": None}}, pipelines(processors=["step"]))


async def test_what_did_not_change_goes_on() -> None:
    house = House()
    async with started(house, *THREE) as service:
        await service.reload(decoded(house, *THREE))
        await settled(service)
        assert house.log == []
        await house.get("receiver in").send(2)
        assert len(house.get("exporter out").got) == 1


async def test_a_changed_processor_comes_before_the_old_one_goes_and_its_neighbours_stay() -> None:
    house = House()
    async with started(house, *THREE) as service:
        old = house.get("processor step")
        await service.reload(decoded(house, *THREE, {"processors": {"step": {"size": 9}}}))
        await house.get("receiver in").send(2)
        await settled(service)
        assert house.log == ["start processor step", "stop processor step"]
        new = house.built[-1]
        assert new.config.size == 9
        assert service.component(Kind.PROCESSOR, "step") is new
        assert old is not new
        assert len(house.get("exporter out").got) == 1


async def test_pipelines_may_be_laid_anew() -> None:
    house = House()
    async with started(house) as service:
        receiver, exporter = house.get("receiver in"), house.get("exporter out")
        await service.reload(decoded(house, *THREE, {"exporters": {"new": None}}, pipelines(exporters=["out", "new"])))
        await receiver.send(3)
        await settled(service)
        assert house.log == ["start exporter new", "start processor step"]
        assert len(exporter.got) == len(house.get("exporter new").got) == 1
        await service.reload(decoded(house, {"exporters": {"new": None}}, pipelines(exporters=["new"])))
        await receiver.send(3)
        await settled(service)
        assert house.log[2:] == ["stop processor step", "stop exporter out"]
        assert (len(exporter.got), len(house.get("exporter new").got)) == (1, 2)


async def test_what_is_under_way_to_somebody_who_goes_is_finished_there() -> None:
    house = House()
    async with started(house) as service:
        old = house.get("exporter out")
        gate, entered = asyncio.Event(), asyncio.Event()
        consume = old.consume

        async def slowly(consignment: Consignment) -> None:
            entered.set()
            await gate.wait()
            assert "stop exporter out" not in house.log
            await consume(consignment)

        old.consume = slowly  # type: ignore[method-assign]
        sending = asyncio.create_task(house.get("receiver in").send(2))
        await entered.wait()
        await service.reload(decoded(house, {"exporters": {"out": {"size": 9}}}))
        await asyncio.sleep(0.01)
        assert house.log == ["start exporter out"]
        gate.set()
        assert (await sending).holds == 0
        await settled(service)
        assert house.log == ["start exporter out", "stop exporter out"]
        assert len(old.got) == 1


async def test_a_revisable_component_is_told_and_goes_on() -> None:
    house = House({"step": Revised})
    async with started(house, *THREE) as service:
        await service.reload(decoded(house, *THREE, {"processors": {"step": {"size": 9}}}))
        await service.reload(decoded(house, *THREE, {"processors": {"step": {"size": 9}}}))
        assert house.log == ["revised processor step"] * 2  # asked again: what it names may have changed
        assert house.get("processor step").config.size == 9


async def test_a_revision_that_fails_changes_nothing() -> None:
    house = House({"step": Revised})
    async with started(house, *THREE) as service:
        over = {"processors": {"step": {"missing": True}}, "exporters": {"new": None}}
        with pytest.raises(StartError, match='"step" processor cannot be taken: no such model'):
            await service.reload(decoded(house, *THREE, over, pipelines(exporters=["new"])))
        assert house.log == ["start exporter new", "stop exporter new"]
        await house.get("receiver in").send(1)
        assert len(house.get("exporter out").got) == 1
        assert service.config.pipelines == decoded(house, *THREE).pipelines


async def test_a_start_that_fails_takes_revisions_back() -> None:
    house = House({"step": Revised})
    async with started(house, *THREE) as service:
        over = {"processors": {"step": {"size": 9}}, "exporters": {"new": {"fail": "no"}}}
        with pytest.raises(StartError):
            await service.reload(decoded(house, *THREE, over, pipelines(exporters=["new"])))
        assert house.get("processor step").config.size == 3
        await service.reload(decoded(house, *THREE))  # and the next one finds everything in its place
        assert house.log[-1] == "revised processor step"


async def test_what_cannot_be_built_changes_nothing() -> None:
    house = House()
    telemetry = Telemetry()

    def observing(_config: object, settings: Settings, _consumer: Consumer | None) -> Any:
        settings.telemetry.observe(SPANS_OPEN, lambda: 1.0, "never")
        return Fake(FakeConfig(), settings, None, house.log)

    def broken(*_arguments: object) -> Any:
        raise ValueError("no such thing")

    service = Service(decoded(house), telemetry=telemetry, logger=LOGGER)
    await service.start()
    over = {"exporters": {"new": None, "new/2": None}}
    for name, build in (("new", observing), ("out", broken)):
        factory = house.factory(Kind.EXPORTER, name)
        object.__setattr__(factory, "build", build)
        house.registry._given[Kind.EXPORTER, name] = factory
    with pytest.raises(ConfigError, match="exporters::out: no such thing"):
        await service.reload(
            decoded(house, over, {"exporters": {"out": {"size": 9}}}, pipelines(exporters=["new", "out"]))
        )
    assert telemetry.value(SPANS_OPEN, "never") == 0
    await house.get("receiver in").send(1)
    await service.shutdown()


EXTENSION = {"extensions": {"ext": None}, "service": {"extensions": ["ext"]}}


async def test_who_names_an_extension_that_changed_gets_the_new_one() -> None:
    house = House()
    named = {"exporters": {"out": {"name": "ext"}, "new": None}}
    lists = pipelines(exporters=["out", "new"])
    async with started(house, EXTENSION, named, lists) as service:
        await service.reload(decoded(house, EXTENSION, named, lists, {"extensions": {"ext": {"size": 9}}}))
        await settled(service)
        assert house.log == [
            "start extension ext", "start exporter out", "ready extension ext",
            "not ready extension ext", "stop exporter out", "stop extension ext",
        ]  # fmt: skip
        assert house.built[-1].settings.extensions["ext"] is house.built[-2]


async def test_relative_paths_that_start_from_another_folder_are_other_paths(tmp_path: Path) -> None:
    house = House()
    async with started(house) as service:
        await service.reload(decoded(house, base=tmp_path))
        await settled(service)
        assert sorted(house.log) == ["start exporter out", "start receiver in", "stop exporter out", "stop receiver in"]


async def test_numbers_of_what_is_gone_are_gone_and_its_counts_stay() -> None:
    house = House()

    def observe(fake: Fake) -> None:
        size = float(fake.config.size)
        fake.settings.telemetry.observe(SPANS_OPEN, lambda: size, fake.settings.id)
        fake.settings.telemetry.counter(EXPORTER_SENT, fake.settings.id).add(1)

    house.on_build = observe
    async with started(house) as service:
        await service.reload(decoded(house, {"exporters": {"out": {"size": 40}}}))
        await settled(service)
        assert service.telemetry.value(SPANS_OPEN, "out") == 40
        assert service.telemetry.value(EXPORTER_SENT, "out") == 2
        assert service.telemetry.value(SPANS_OPEN, "in") == 3


class Shelf:
    """A registry whose exporter `out` has a real queue, and senders that do as they are told."""

    def __init__(self) -> None:
        self.house = House()
        self.senders: list[RecordingSender] = []
        self.config: dict[str, Any] = {
            "sending_queue": {"num_consumers": 2},
            "retry_on_failure": {"initial_interval": "10ms"},
        }
        factory = Factory(name="out", kind=Kind.EXPORTER, config=FakeConfig, build=self._build)
        self.house.registry = Registry(
            [self.house.factory(Kind.RECEIVER, "in"), self.house.factory(Kind.PROCESSOR, "step"), factory], built_in={}
        )
        self.failing = True

    def _build(self, _config: FakeConfig, settings: Settings, _consumer: Consumer | None) -> QueuedExporter:
        sender = RecordingSender()
        self.senders.append(sender)
        if len(self.senders) == 1:
            sender.failures.extend([RetryableError("the backend is away")] * 100_000)
        return QueuedExporter(settings, ExporterConfig.model_validate(self.config), sender)


@pytest.mark.parametrize(
    "queue", [{"num_consumers": 2}, {"num_consumers": 2, "batch": {"min_size": 4, "flush_timeout": "1ms"}}]
)
async def test_what_an_exporter_could_not_send_its_successor_sends(queue: dict[str, Any]) -> None:
    shelf = Shelf()
    shelf.config["sending_queue"] = queue
    async with started(shelf.house) as service:
        receiver = shelf.house.get("receiver in")
        deliveries = [await receiver.send(3) for _ in range(7)]
        await asyncio.sleep(0.05)
        await service.reload(decoded(shelf.house, {"exporters": {"out": {"size": 9}}}))
        async with asyncio.timeout(5):
            await settled(service)
    old, new = shelf.senders
    assert old.spans == []
    assert sorted(new.spans) == sorted(bytes(span) for _ in range(7) for _, span in spans(3))
    assert [delivery.holds for delivery in deliveries] == [0] * 7


async def test_without_a_queue_whoever_waits_for_the_backend_asks_the_successor() -> None:
    shelf = Shelf()
    shelf.config["sending_queue"] = {"enabled": False}
    async with started(shelf.house) as service:
        sending = asyncio.create_task(shelf.house.get("receiver in").send(3))
        await asyncio.sleep(0.03)
        await service.reload(decoded(shelf.house, {"exporters": {"out": {"size": 9}}}))
        with pytest.raises(RetryableError):  # a receiver answers 503
            await sending
        await settled(service)
        await shelf.house.get("receiver in").send(3)
    assert shelf.senders[0].spans == []
    assert len(shelf.senders[1].spans) == 3


@pytest.mark.parametrize("seed", range(6))
async def test_through_any_reloads_each_span_goes_out_once(seed: int) -> None:
    chance = random.Random(seed)
    house = House({"step": Revised} if seed % 2 else {})
    every = {"processors": {"step": None, "step/2": None}, "exporters": {"out": None, "new": None}, **EXTENSION}
    accepted: list[Delivery] = []
    stop = asyncio.Event()

    async def send() -> None:
        while not stop.is_set():
            receiver = next(fake for fake in reversed(house.built) if fake.name == "receiver in" and fake.started)
            accepted.append(await receiver.send(chance.randrange(1, 4)))
            await asyncio.sleep(0)

    async with started(house, every) as service:
        sender = asyncio.create_task(send())
        for _ in range(25):
            over: dict[str, Any] = {
                section: {
                    id_: {"size": chance.randrange(3), "name": chance.choice(["", "ext"])} for id_ in every[section]
                }
                for section in ("processors", "exporters")
            }
            over |= {
                "receivers": {"in": {"size": chance.randrange(2)}},
                "extensions": {"ext": {"size": chance.randrange(3)}},
            }
            if chance.random() < 0.2:
                over["receivers"]["in"]["fail"] = "no"
            lists = pipelines(
                processors=chance.sample(["step", "step/2"], chance.randrange(3)),
                exporters=[chance.choice(["out", "new"])],
            )
            try:
                await service.reload(decoded(house, every, over, lists))
            except StartError:
                assert "fail" in over["receivers"]["in"]
            await asyncio.sleep(0.001 * chance.random())
        stop.set()
        await sender
    exporters = [fake for fake in house.built if fake.settings.kind is Kind.EXPORTER]
    assert sum(len(fake.got) for fake in exporters) == len(accepted)
    assert {delivery.holds for delivery in accepted} == {0}
    assert not [fake.name for fake in house.built if fake.started]
    assert [fake.name for fake in house.built if fake.after_stop] == []


async def test_what_is_gone_is_forgotten() -> None:
    house = House({"step": Revised})
    async with started(house, *THREE, EXTENSION) as service:
        gone = []
        for size in range(10, 13):
            over = {"exporters": {"out": {"size": size}}, "extensions": {"ext": {"size": size}}}
            await service.reload(decoded(house, *THREE, EXTENSION, over, {"processors": {"step": {"size": size}}}))
            await settled(service)
            gone += [weakref.ref(fake) for fake in house.built if not fake.started]
            house.built = [fake for fake in house.built if fake.started]
            house.log.clear()
        await asyncio.sleep(0)
        gc.collect()
        assert len(gone) == 6
        # The receiver, which stays, was given the first extension and does not know that it needs none.
        assert [fake().name for fake in gone if fake() is not None] == ["extension ext"]  # type: ignore[union-attr]
