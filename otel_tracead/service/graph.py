"""Pipelines to connected components: receivers and exporters are shared, processors belong to one pipeline."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from otel_tracead.component import Component, Consumer, Kind, Settings
from otel_tracead.errors import ConfigError, TraceadError
from otel_tracead.fingerprint import Fingerprint, fingerprint
from otel_tracead.metrics import FANOUT_DROPPED
from otel_tracead.service.config import SIGNAL, Configured, ServiceConfig
from otel_tracead.service.ids import Id
from otel_tracead.service.outlet import Outlet
from otel_tracead.telemetry import Telemetry


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A built component.

    Attributes:
        configured: its name and what the user wrote.
        kind: its section.
        component: itself.
        settings: what it was given.
        fingerprint: what the configuration stood for when it was built.
        pipeline: the pipeline of a processor, None for what is shared.
        outlet: where a receiver or a processor hands its spans to.
    """

    configured: Configured
    kind: Kind
    component: Component
    settings: Settings
    fingerprint: Fingerprint
    pipeline: Id | None = None
    outlet: Outlet | None = None

    @property
    def id(self) -> Id:
        """Its name in the YAML."""
        return self.configured.id

    @property
    def name(self) -> str:
        """Its kind and its name: `exporter:file/2`."""
        return f"{self.kind.singular}:{self.id}"


Reuse = Callable[[Configured, Settings, Id | None, Sequence[Consumer]], Node | None]
"""Gives the running node that goes on as a component of the configuration, or None: asked with what is configured, the
settings, the pipeline of a processor, and the consumers."""


@dataclass(frozen=True, slots=True)
class Graph:
    """Everything that was built, in the order in which it starts.

    Attributes:
        extensions: in the order of the YAML.
        exporters: each once.
        processors: of each pipeline, the last one first.
        receivers: each once.
    """

    extensions: list[Node] = field(default_factory=list)
    exporters: list[Node] = field(default_factory=list)
    processors: list[Node] = field(default_factory=list)
    receivers: list[Node] = field(default_factory=list)

    def start_order(self) -> Iterator[Node]:
        """Walk against the flow: whoever is started finds its consumer started."""
        yield from self.extensions
        yield from self.exporters
        yield from self.processors
        yield from self.receivers

    def shutdown_stages(self) -> Iterator[list[list[Node]]]:
        """Walk with the flow, so that each can drain into a consumer that still works; extensions last.

        Yields:
            one stage after the other: chains that may be shut down side by side, each from its first node to its last.
            A backend that is gone and makes its exporter wait does not take the time of the others.
        """
        yield [[node] for node in self.receivers]
        pipelines = dict.fromkeys(node.pipeline for node in self.processors)
        yield [[node for node in reversed(self.processors) if node.pipeline == pipeline] for pipeline in pipelines]
        yield [[node] for node in self.exporters]
        yield [list(reversed(self.extensions))]

    def find(self, kind: Kind, id_: str) -> Component:
        """Give a component by kind and id.

        Raises:
            KeyError: there is none.
        """
        for node in self.start_order():
            if node.kind is kind and str(node.id) == id_:
                return node.component
        raise KeyError(id_)


def build(
    config: ServiceConfig,
    telemetry: Telemetry,
    logger: Any,
    fail: Callable[[BaseException], None] = lambda _error: None,
    reuse: Reuse = lambda *_: None,
) -> Graph:
    """Build every component that the configuration uses and connect them; nothing is started.

    Args:
        config: validated.
        telemetry: where all of them count.
        logger: bound for each with its id and kind.
        fail: what components call when they cannot go on.
        reuse: what is running already and need not be built.

    Raises:
        ConfigError: every component that could not be built, with its path.
    """
    return _Builder(config, telemetry, logger, fail, reuse).build()


class _Builder:
    def __init__(
        self,
        config: ServiceConfig,
        telemetry: Telemetry,
        logger: Any,
        fail: Callable[[BaseException], None],
        reuse: Reuse,
    ) -> None:
        self._config = config
        self._telemetry = telemetry
        self._logger = logger
        self._fail = fail
        self._reuse = reuse
        self._built: list[Node] = []
        self._problems: list[str] = []
        self._extensions: dict[str, Component] = {}
        self._graph = Graph()

    def build(self) -> Graph:
        for id_ in self._config.extensions:
            node = self._node(Kind.EXTENSION, id_, [])
            if node is not None:
                self._graph.extensions.append(node)
                self._extensions[str(id_)] = node.component
        exporters = {id_: self._node(Kind.EXPORTER, id_, []) for id_ in self._all(Kind.EXPORTER)}
        self._graph.exporters.extend(node for node in exporters.values() if node is not None)
        entries: dict[Id, list[Consumer]] = {}
        for pipeline, lists in self._config.pipelines.items():
            built = (exporters[id_] for id_ in lists[Kind.EXPORTER])
            consumers = [_consumer(node) for node in built if node is not None]
            for id_ in reversed(lists[Kind.PROCESSOR]):
                node = self._node(Kind.PROCESSOR, id_, consumers, pipeline)
                if node is not None:
                    self._graph.processors.append(node)
                    consumers = [_consumer(node)]
            for id_ in lists[Kind.RECEIVER]:
                entries.setdefault(id_, []).extend(consumers)
        for id_, consumers in entries.items():
            node = self._node(Kind.RECEIVER, id_, consumers)
            if node is not None:
                self._graph.receivers.append(node)
        if self._problems:
            self._forget()
            raise ConfigError(self._problems)
        return self._graph

    def _forget(self) -> None:
        for node in self._built:
            node.settings.telemetry.forget_observed()

    def _all(self, kind: Kind) -> list[Id]:
        return list(dict.fromkeys(id_ for lists in self._config.pipelines.values() for id_ in lists[kind]))

    def _node(self, kind: Kind, id_: Id, consumers: list[Consumer], pipeline: Id | None = None) -> Node | None:
        configured: Configured = self._config.components[kind][id_]
        logger = self._logger.bind(**{"otelcol.component.id": str(id_), "otelcol.component.kind": kind.singular})
        if kind is not Kind.EXTENSION:
            logger = logger.bind(**{"otelcol.signal": SIGNAL})
        if pipeline is not None:
            logger = logger.bind(**{"otelcol.pipeline.id": str(pipeline)})
        telemetry = self._telemetry.part()
        settings = Settings(
            id=str(id_),
            kind=kind,
            telemetry=telemetry,
            logger=logger,
            extensions=self._extensions,
            base=self._config.base,
            pipeline="" if pipeline is None else str(pipeline),
            fail=self._fail,
        )
        if not consumers and kind in {Kind.RECEIVER, Kind.PROCESSOR}:
            return None  # what it would feed could not be built, and that was said
        running = self._reuse(configured, settings, pipeline, consumers)
        if running is not None:
            return running
        outlet = Outlet(consumers, logger, telemetry.counter(FANOUT_DROPPED, str(id_))) if consumers else None
        try:
            component = configured.factory.build(configured.config, settings, outlet)
        except (TraceadError, OSError, ValueError) as error:
            telemetry.forget_observed()
            self._problems += [
                f"{kind.value}::{id_}: {line}" for line in str(error).splitlines() or ["cannot be built"]
            ]
            return None
        node = Node(configured, kind, component, settings, fingerprint(configured.config), pipeline, outlet)
        self._built.append(node)
        return node


def _consumer(node: Node) -> Consumer:
    component: Any = node.component  # factories of exporters and processors build consumers
    return component  # type: ignore[no-any-return]
