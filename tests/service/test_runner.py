import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from service_fakes import MINIMAL, House

from otel_tracead.errors import ConfigError, StartError
from otel_tracead.service.config import ServiceConfig, decode
from otel_tracead.service.runner import Runner
from otel_tracead.service.uris import merge

SILENT = {"service": {"telemetry": {"metrics": {"level": "none"}}}}


class Stage:
    """A runner over fakes, its configuration and its log."""

    def __init__(self) -> None:
        self.house = House()
        self.tree: dict[str, Any] = merge(MINIMAL, SILENT)
        self.logged: list[dict[str, Any]] = []
        self.forced: list[int] = []
        self.runner = Runner(self._load, self._logger, force=self.forced.append)

    def _load(self) -> ServiceConfig:
        return decode(self.tree, self.house.registry, Path())

    def _logger(self, _config: ServiceConfig) -> Any:
        def keep(_logger: object, level: str, event: dict[str, Any]) -> str:
            self.logged.append({"level": level, **event})
            return ""

        return structlog.wrap_logger(structlog.testing.ReturnLogger(), processors=[keep])

    @property
    def messages(self) -> list[str]:
        return [entry["event"] for entry in self.logged]

    async def until(self, message: str, times: int = 1) -> None:
        async with asyncio.timeout(10):
            while self.messages.count(message) < times:  # noqa: ASYNC110 (the log is all that is seen from outside)
                await asyncio.sleep(0.005)


@asynccontextmanager
async def started(stage: Stage) -> AsyncIterator[asyncio.Task[int]]:
    run = asyncio.create_task(stage.runner.run())
    await stage.until("everything is ready")
    yield run
    run.cancel()
    await asyncio.wait({run})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_exits_with_0(number: signal.Signals) -> None:
    stage = Stage()
    async with started(stage) as run:
        os.kill(os.getpid(), number)
        assert await run == 0
    assert stage.house.log[-2:] == ["stop receiver in", "stop exporter out"]
    assert stage.messages[-2:] == ["draining and stopping", "shutdown complete"]


async def test_spans_that_are_left_make_it_1() -> None:
    stage = Stage()
    async with started(stage) as run:
        stage.house.get("exporter out").undelivered = 3
        os.kill(os.getpid(), signal.SIGTERM)
        assert await run == 1


async def test_a_second_signal_ends_it_at_once() -> None:
    stage = Stage()
    async with started(stage):
        stuck = asyncio.Event()
        stage.house.get("receiver in").shutdown = stuck.wait  # type: ignore[method-assign, assignment]
        os.kill(os.getpid(), signal.SIGTERM)
        await stage.until("draining and stopping")
        assert stage.forced == []
        os.kill(os.getpid(), signal.SIGTERM)
        await stage.until("a second signal came: stopping at once, spans may be lost")
        assert stage.forced == [1]
        stuck.set()


async def test_a_fatal_error_of_a_component_drains_and_exits_with_1() -> None:
    stage = Stage()
    async with started(stage) as run:
        settings = stage.house.get("receiver in").settings
        settings.fail(OSError("the listener died"))
        settings.fail(OSError("and died again"))
        assert await run == 1
    assert {"level": "error", "event": "a component failed, stopping", "error": "the listener died"} in stage.logged
    assert stage.house.log[-1] == "stop exporter out"


async def test_sighup_changes_what_changed_and_nothing_else() -> None:
    stage = Stage()
    async with started(stage) as run:
        stage.tree = merge(stage.tree, {"receivers": {"in": {"size": 9}}})
        os.kill(os.getpid(), signal.SIGHUP)
        await stage.until("everything is ready", 2)
        await stage.house.until("stop receiver in")
        assert stage.house.log == ["start exporter out", "start receiver in", "start receiver in", "stop receiver in"]
        assert [fake.config.size for fake in stage.house.built if fake.name == "receiver in"] == [3, 9]
        os.kill(os.getpid(), signal.SIGTERM)
        assert await run == 0
    assert stage.house.log[-2:] == ["stop receiver in", "stop exporter out"]


async def test_sighup_without_a_change_changes_nothing() -> None:
    stage = Stage()
    async with started(stage) as run:
        os.kill(os.getpid(), signal.SIGHUP)
        await stage.until("everything is ready", 2)
        assert stage.house.log == ["start exporter out", "start receiver in"]
        os.kill(os.getpid(), signal.SIGTERM)
        assert await run == 0


async def test_the_logger_of_the_new_configuration_is_everybodys() -> None:
    stage = Stage()
    async with started(stage):
        kept = stage.house.get("exporter out").settings.logger
        other: list[dict[str, Any]] = []
        stage.logged = other
        os.kill(os.getpid(), signal.SIGHUP)
        await stage.until("everything is ready")
        kept.warning("still here", spans=3)
        assert other[-1] == {
            "level": "warning",
            "event": "still here",
            "spans": 3,
            "otelcol.component.id": "out",
            "otelcol.component.kind": "exporter",
            "otelcol.signal": "traces",
        }


async def test_sighup_with_a_broken_configuration_keeps_the_old_one() -> None:
    stage = Stage()
    async with started(stage) as run:
        stage.tree = merge(stage.tree, {"receivers": {"in": {"size": "x"}}})
        os.kill(os.getpid(), signal.SIGHUP)
        await stage.until("the new configuration is not valid, the old one keeps running")
        assert stage.logged[-1]["problems"] == ("receivers::in::size: must be a valid integer, not a string",)
        assert not [line for line in stage.house.log if line.startswith("stop")]
        await stage.house.get("receiver in").send(1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await run == 0


async def test_sighup_with_a_configuration_that_does_not_start_changes_nothing() -> None:
    stage = Stage()
    async with started(stage) as run:
        over = {"exporters": {"out/2": None}, "receivers": {"in": {"fail": "no such device"}}}
        pipelines = {"traces": {"exporters": ["out", "out/2"]}}
        stage.tree = merge(stage.tree, {**over, "service": {"pipelines": pipelines}})
        os.kill(os.getpid(), signal.SIGHUP)
        message = "the new configuration does not start, the old one keeps running"
        await stage.until(message)
        assert stage.logged[-1]["error"] == 'failed to start "in" receiver: no such device'
        running, failed = (fake for fake in stage.house.built if fake.name == "receiver in")
        assert stage.house.log[2:] == [
            "start exporter out/2", "start receiver in", "stop receiver in", "stop exporter out/2"
        ]  # fmt: skip
        await running.send(2)
        assert len(stage.house.get("exporter out").got) == 1
        assert stage.house.get("exporter out/2").got == []
        assert failed.config.fail
        os.kill(os.getpid(), signal.SIGTERM)
        assert await run == 0


async def test_an_address_that_passes_on_is_left_before_it_is_taken() -> None:
    stage = Stage()
    async with started(stage) as run:
        stage.tree = {
            **stage.tree,
            "receivers": {"in/new": {"address": "a port"}},
            "service": merge(stage.tree["service"], {"pipelines": {"traces": {"receivers": ["in/new"]}}}),
        }
        stage.house.addresses.add("a port")
        stage.house.get("receiver in").on_stop = stage.house.addresses.clear
        os.kill(os.getpid(), signal.SIGHUP)
        await stage.until("everything is ready", 2)
        log = stage.house.log
        assert log.index("stop receiver in") < len(log) - 1 - log[::-1].index("start receiver in/new")
        os.kill(os.getpid(), signal.SIGTERM)
        assert await run == 0


async def test_an_address_that_somebody_else_has_brings_the_old_configuration_back() -> None:
    stage = Stage()
    async with started(stage) as run:
        stage.tree = merge(stage.tree, {"receivers": {"in": {"address": "a port"}}})
        stage.house.addresses.add("a port")
        os.kill(os.getpid(), signal.SIGHUP)
        await stage.until("the new configuration does not start, going back to the old one")
        await stage.until("everything is ready", 2)
        assert stage.house.built[-1].config.address == ""
        os.kill(os.getpid(), signal.SIGTERM)
        assert await run == 0


async def test_spans_left_at_a_reload_are_not_forgotten() -> None:
    stage = Stage()
    async with started(stage) as run:
        stage.house.get("exporter out").undelivered = 3
        stage.tree = merge(stage.tree, {"exporters": {"out": {"size": 9}}})
        os.kill(os.getpid(), signal.SIGHUP)
        await stage.until("everything is ready", 2)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await run == 1


async def test_a_stop_during_a_reload_leaves_the_new_configuration_alone() -> None:
    stage = Stage()
    async with started(stage) as run:
        starting, never = asyncio.Event(), asyncio.Event()

        async def slow() -> None:
            starting.set()
            await never.wait()

        stage.house.on_build = lambda fake: setattr(fake, "start", slow)
        stage.tree = merge(stage.tree, {"receivers": {"in": {"size": 9}}})
        os.kill(os.getpid(), signal.SIGHUP)
        await starting.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        assert await run == 0
        assert stage.house.log[2:] == ["stop receiver in", "stop receiver in", "stop exporter out"]


async def test_a_signal_during_the_start_stops_it() -> None:
    stage = Stage()
    starting = asyncio.Event()

    async def slow() -> None:
        starting.set()
        await asyncio.sleep(60)

    run = asyncio.create_task(stage.runner.run())
    await asyncio.sleep(0)
    exporter = stage.house.get("exporter out")
    exporter.start = slow  # type: ignore[method-assign]
    await starting.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    assert await run == 0
    assert stage.house.log == ["stop exporter out"]


async def test_a_configuration_that_cannot_run_is_raised() -> None:
    stage = Stage()
    stage.tree = {}
    with pytest.raises(ConfigError):
        await stage.runner.run()
    stage.tree = merge(merge(MINIMAL, SILENT), {"receivers": {"in": {"fail": "port in use"}}})
    with pytest.raises(StartError, match='failed to start "in" receiver: port in use'):
        await stage.runner.run()


async def test_an_error_in_a_task_is_logged_in_one_line() -> None:
    stage = Stage()
    async with started(stage) as run:
        asyncio.get_running_loop().call_exception_handler({"message": "oops", "exception": ValueError("x")})
        asyncio.get_running_loop().call_exception_handler({"message": "hm"})
        os.kill(os.getpid(), signal.SIGTERM)
        await run
    assert {"level": "error", "event": "oops", "error": "ValueError: x"} in stage.logged
    assert {"level": "error", "event": "hm"} in stage.logged
