"""One running configuration: started against the flow, drained with it."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from otel_tracead.component import Component, Kind, PipelineWatcher
from otel_tracead.errors import StartError
from otel_tracead.service.config import ServiceConfig
from otel_tracead.service.graph import Graph, Node, build
from otel_tracead.service.metrics import MetricsServer, observe_process
from otel_tracead.telemetry import Telemetry

_OUTLET_SECONDS: Final = 25.0  # as long as the processor's own `shutdown_timeout`


class Service:
    """The components of one configuration, its metrics listener, and their life.

    Args:
        config: validated.
        telemetry: where everything counts; may have numbers of an earlier configuration.
        logger: what the components' loggers are bound from.
        fail: called with an error that a component cannot live with after the start.

    Attributes:
        graph: the components.
        telemetry: their numbers.
        metrics: the listener that shows them.

    Raises:
        ConfigError: a component cannot be built.
    """

    def __init__(
        self,
        config: ServiceConfig,
        *,
        telemetry: Telemetry,
        logger: Any,
        fail: Callable[[BaseException], None] = lambda _error: None,
    ) -> None:
        self.telemetry = telemetry
        self.graph: Graph = build(config, telemetry, logger, fail)
        self.metrics = MetricsServer(config.telemetry.metrics.endpoints, telemetry)
        self._logger = logger
        self._started: list[Node] = []

    def component(self, kind: Kind, id_: str) -> Component:
        """Give a component by kind and id.

        Raises:
            KeyError: there is none.
        """
        return self.graph.find(kind, id_)

    async def start(self) -> None:
        """Start everything; whoever is started finds its consumer started.

        Raises:
            StartError: something cannot start; what had started was shut down again.
        """
        observe_process(self.telemetry)
        try:
            await self.metrics.start()
            for node in self.graph.start_order():
                self._started.append(node)  # also if it fails: half a start needs its shutdown too
                await self._start(node)
        except BaseException:
            await self.shutdown()
            raise
        for watcher in self._watchers():
            watcher.ready()

    async def shutdown(self) -> list[str]:
        """Stop receivers, let every component hand on what it holds, stop the rest. Idempotent.

        Returns:
            what did not go well, one line each: spans left, components that failed.
        """
        for watcher in self._watchers():
            watcher.not_ready()
        problems: list[str] = []
        for stage in self.graph.shutdown_stages():
            for found in await asyncio.gather(*(self._shutdown_chain(chain) for chain in stage)):
                problems += found
        self._started.clear()
        await self.metrics.shutdown()
        return problems

    async def _start(self, node: Node) -> None:
        try:
            await node.component.start()
        except Exception as error:
            raise StartError(f'failed to start "{node.id}" {node.kind.singular}: {error or repr(error)}') from error

    async def _shutdown_chain(self, chain: list[Node]) -> list[str]:
        return [problem for node in chain if node in self._started for problem in await self._shutdown(node)]

    async def _shutdown(self, node: Node) -> list[str]:
        name = f'"{node.id}" {node.kind.singular}'
        problems: list[str] = []
        try:
            await node.component.shutdown()
        except Exception as error:  # noqa: BLE001 (the others must still drain)
            problems.append(f"failed to shut down {name}: {error or repr(error)}")
        left = int(getattr(node.component, "undelivered", 0))
        if node.outlet is not None:
            left += await node.outlet.drain(_OUTLET_SECONDS)
        if left:
            problems.append(f"{name} could not hand on {left} spans")
        for problem in problems:
            self._logger.error("shutdown incomplete", problem=problem)
        return problems

    def _watchers(self) -> list[PipelineWatcher]:
        started = {id(node.component) for node in self._started}
        components = (node.component for node in self.graph.extensions)
        return [found for found in components if id(found) in started and isinstance(found, PipelineWatcher)]
