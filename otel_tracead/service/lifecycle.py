"""One running service: started against the flow, changed while spans go through it, drained with the flow."""

import asyncio
import errno
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Final

from otel_tracead.component import Component, Consumer, HandsOver, HealthWatcher, Kind, PipelineWatcher, Revisable
from otel_tracead.delivery import Consignment
from otel_tracead.errors import RetryableError, StartError, TraceadError
from otel_tracead.health import Overview
from otel_tracead.service.changes import Changes, plan
from otel_tracead.service.config import ServiceConfig
from otel_tracead.service.graph import Graph, Node, build
from otel_tracead.service.metrics import MetricsServer, observe_process
from otel_tracead.telemetry import Telemetry

_OUTLET_SECONDS: Final = 25.0  # as long as the processor's own `shutdown_timeout`
_PAUSE: Final = 0.1


class AddressPasses(StartError):  # noqa: N818 (nothing is wrong)
    """A new component needs an address that one which is gone still listens on."""


class Service:
    """The components of a configuration, the metrics listener, and their life.

    `reload` goes on with another configuration: what did not change keeps running and keeps what it holds. What is new
    starts beside the old; then, in one moment, spans take the new way; then what is gone drains, with the flow, in the
    background. Whatever fails before that moment leaves everything as it was.

    Args:
        config: validated.
        telemetry: where everything counts.
        logger: what the components' loggers are bound from.
        fail: called with an error that a component cannot live with after the start.

    Attributes:
        config: the one in force.
        graph: its components.
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
        self.config = config
        self.telemetry = telemetry
        self.graph: Graph = build(config, telemetry, logger, fail)
        self.metrics = MetricsServer(config.telemetry.metrics.endpoints, telemetry, logger)
        self._logger = logger
        self._fail = fail
        self._started: dict[int, Component] = {}
        self._retiring: asyncio.Task[None] | None = None
        self._problems: list[str] = []

    def component(self, kind: Kind, id_: str) -> Component:
        """Give a component by kind and id.

        Raises:
            KeyError: there is none.
        """
        return self.graph.find(kind, id_)

    def overview(self) -> Overview:
        """Say how every component is."""
        graph, pipelines = self.graph, self.config.pipelines
        events = {(node.kind, node.id, node.pipeline): node.settings.health.event for node in graph.start_order()}
        names = {(node.kind, node.id): node.name for node in graph.start_order()}
        return Overview(
            {node.name: node.settings.health.event for node in graph.extensions},
            {
                str(pipeline): {
                    names[kind, id_]: events[kind, id_, pipeline if kind is Kind.PROCESSOR else None]
                    for kind, ids in lists.items()
                    for id_ in ids
                }
                for pipeline, lists in pipelines.items()
            },
        )

    async def start(self) -> None:
        """Start everything; whoever is started finds its consumer started.

        Raises:
            StartError: something cannot start; what had started was shut down again.
        """
        observe_process(self.telemetry)
        try:
            await self.metrics.start()
            for node in self.graph.start_order():
                await self._start(node)
        except BaseException:
            await self.shutdown()
            raise
        for watcher in self._watchers(self.graph):
            watcher.ready()

    async def reload(self, config: ServiceConfig) -> None:
        """Go on with *config*; returns when it is in force, and drains what is gone in the background.

        Raises:
            ConfigError: a component cannot be built.
            StartError: a component cannot start, or cannot take its new configuration. As before, nothing has changed.
            AddressPasses: the same, and the reason may be that a component which is to go still listens.
        """
        changes = plan(self.graph, self.config, config, self.telemetry, self._logger, self._fail)
        try:
            async with AsyncExitStack() as revisions:
                await revisions.enter_async_context(self.metrics.revision(config.telemetry.metrics.endpoints))
                for node in changes.new:
                    await self._start(node)
                for node in changes.revised:
                    await self._revise(node, revisions)
                for outlet, consumers in changes.turned:
                    outlet.turn(consumers)
        except BaseException as error:
            await self._shut_down(_only(changes.graph, changes.new))
            for node in changes.new:
                node.settings.telemetry.forget_observed()
            if _address_in_use(error) and (changes.gone.receivers or changes.gone.extensions):
                raise AddressPasses(str(error)) from error
            raise
        self.config, self.graph = config, changes.graph
        for watcher in self._watchers(_only(changes.graph, changes.new)):
            watcher.ready()
        self._retiring = asyncio.create_task(self._retire(changes, self._retiring))

    async def shutdown(self) -> list[str]:
        """Stop receivers, let every component hand on what it holds, stop the rest. Idempotent.

        Returns:
            what did not go well, one line each: spans left, components that failed.
        """
        for watcher in self._watchers(self.graph):
            watcher.not_ready()
        retiring, self._retiring = self._retiring, None
        if retiring is not None:
            await retiring
        self._problems += await self._shut_down(self.graph)
        await self.metrics.shutdown()
        problems, self._problems = self._problems, []
        return problems

    async def _start(self, node: Node) -> None:
        self._started[id(node.component)] = node.component  # also if it fails: half a start needs its shutdown too
        if isinstance(node.component, HealthWatcher):
            node.component.watch(self.overview)
        try:
            await node.component.start()
            node.settings.health.started()
        except Exception as error:
            raise StartError(f'failed to start "{node.id}" {node.kind.singular}: {error or repr(error)}') from error

    async def _revise(self, node: Node, revisions: AsyncExitStack) -> None:
        if not isinstance(node.component, Revisable):
            raise TypeError(f'"{node.id}" cannot be revised')
        try:
            await revisions.enter_async_context(node.component.revision(node.configured.config, node.settings))
        except Exception as error:
            text = f'the new configuration of "{node.id}" {node.kind.singular} cannot be taken: {error or repr(error)}'
            raise StartError(text) from error

    async def _retire(self, changes: Changes, earlier: "asyncio.Task[None] | None") -> None:
        """Drain what is gone, once what went earlier is drained: that may still hand on to it."""
        if earlier is not None:
            await earlier
        gone = changes.gone
        for watcher in self._watchers(gone):
            watcher.not_ready()
        handing = [self._hand_over(node, successor) for node, successor in changes.successors]
        leaving = asyncio.gather(*(outlet.leave(_OUTLET_SECONDS) for outlet, _ in changes.turned), *handing)
        self._problems += await self._shut_down(Graph(receivers=gone.receivers))
        left = sum(await leaving)
        if left:
            self._note(f"{left} spans could not be handed to components that are gone")
        self._problems += await self._shut_down(Graph(gone.extensions, gone.exporters, gone.processors))
        for node in gone.start_order():
            node.settings.telemetry.forget_observed()

    async def _hand_over(self, node: Node, successor: Node) -> int:
        """Give what an exporter could not send to the one that has taken its place; 0, the spans that are left."""
        if isinstance(node.component, HandsOver):
            consumer: Any = successor.component
            for consignment in await node.component.hand_over():
                spans = len(consignment.batch)
                await _offered(consumer, consignment)
                self._logger.info("spans go on to the successor of their exporter", id=str(node.id), spans=spans)
        return 0

    async def _shut_down(self, graph: Graph) -> list[str]:
        problems: list[str] = []
        for stage in graph.shutdown_stages():
            for found in await asyncio.gather(*(self._shutdown_chain(chain) for chain in stage)):
                problems += found
        return problems

    async def _shutdown_chain(self, chain: list[Node]) -> list[str]:
        return [problem for node in chain for problem in await self._shutdown(node)]

    async def _shutdown(self, node: Node) -> list[str]:
        if self._started.pop(id(node.component), None) is None:
            return []
        name = f'"{node.id}" {node.kind.singular}'
        problems: list[str] = []
        node.settings.health.stopping()
        try:
            await node.component.shutdown()
        except Exception as error:  # noqa: BLE001 (the others must still drain)
            problems.append(f"failed to shut down {name}: {error or repr(error)}")
        left = int(getattr(node.component, "undelivered", 0))
        if node.outlet is not None:
            left += await node.outlet.drain(_OUTLET_SECONDS)
        if left:
            problems.append(f"{name} could not hand on {left} spans")
        node.settings.health.stopped()
        for problem in problems:
            self._logger.error("shutdown incomplete", problem=problem)
        return problems

    def _note(self, problem: str) -> None:
        self._logger.error("shutdown incomplete", problem=problem)
        self._problems.append(problem)

    def _watchers(self, graph: Graph) -> list[PipelineWatcher]:
        components = (node.component for node in graph.extensions)
        return [found for found in components if id(found) in self._started and isinstance(found, PipelineWatcher)]


def _only(graph: Graph, nodes: list[Node]) -> Graph:
    def those(kind: list[Node]) -> list[Node]:
        return [node for node in kind if node in nodes]

    return Graph(those(graph.extensions), those(graph.exporters), those(graph.processors), those(graph.receivers))


def _address_in_use(error: BaseException) -> bool:
    cause = error.__cause__ if isinstance(error, StartError) else None
    return isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE


async def _offered(consumer: Consumer, consignment: Consignment) -> None:
    while True:
        try:
            await consumer.consume(consignment)
        except RetryableError as error:
            await asyncio.sleep(min(_PAUSE, error.retry_after or _PAUSE))
        except TraceadError:
            consignment.settle()
            return
        else:
            return
