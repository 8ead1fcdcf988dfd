"""What becomes of the running components when the configuration changes: who goes on, who comes, who goes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from otel_tracead.component import Consumer, Kind, Revisable, Settings
from otel_tracead.fingerprint import fingerprint, names
from otel_tracead.service.config import Configured, ServiceConfig
from otel_tracead.service.graph import Graph, Node, build
from otel_tracead.service.ids import Id
from otel_tracead.service.outlet import Outlet
from otel_tracead.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Changes:
    """From one graph to the next.

    Attributes:
        graph: the next one.
        revised: nodes that go on with another configuration.
        turned: outlets of nodes that go on with other consumers, and those.
        new: nodes to be started, in order.
        gone: nodes to be shut down.
        successors: of components that are gone, those of the same id that have taken their places.
    """

    graph: Graph
    revised: list[Node] = field(default_factory=list)
    turned: list[tuple[Outlet, tuple[Consumer, ...]]] = field(default_factory=list)
    new: list[Node] = field(default_factory=list)
    gone: Graph = field(default_factory=Graph)
    successors: list[tuple[Node, Node]] = field(default_factory=list)


def plan(
    running: Graph,
    old: ServiceConfig,
    new: ServiceConfig,
    telemetry: Telemetry,
    logger: Any,
    fail: Callable[[BaseException], None],
) -> Changes:
    """Build what *new* has and *old* had not, and say what is to be done with the rest; changes nothing.

    A component with the same id, in the same pipeline, goes on if it is `Revisable`; others only if they have the same
    configuration (and certificates), and the extensions that they name go on, too.

    Raises:
        ConfigError: something cannot be built.
    """
    reuse = _Reuse(running, same_base=old.base == new.base)
    graph = build(new, telemetry, logger, fail, reuse)
    kept = {id(node.component) for node in reuse.kept}
    gone = _without(running, kept)
    places = {_place(node): node for node in graph.start_order()}
    successors = [(node, places[_place(node)]) for node in gone.start_order() if _place(node) in places]
    return Changes(
        graph,
        revised=reuse.revised,
        turned=[*reuse.turned, *_turned(gone, successors)],
        new=[node for node in graph.start_order() if id(node.component) not in kept],
        gone=gone,
        successors=successors,
    )


def _place(node: Node) -> tuple[Kind, Id, Id | None]:
    return node.kind, node.id, node.pipeline


def _turned(gone: Graph, successors: list[tuple[Node, Node]]) -> Iterator[tuple[Outlet, tuple[Consumer, ...]]]:
    """Have what is gone drain into the successors of those that it handed its spans to."""
    of: dict[int, Any] = {id(node.component): successor.component for node, successor in successors}
    for node in gone.start_order():
        if node.outlet is not None:
            yield node.outlet, tuple(of.get(id(consumer), consumer) for consumer in node.outlet.consumers)


class _Reuse:
    def __init__(self, running: Graph, *, same_base: bool) -> None:
        self.kept: list[Node] = []
        self.revised: list[Node] = []
        self.turned: list[tuple[Outlet, tuple[Consumer, ...]]] = []
        self._running = {_place(node): node for node in running.start_order()}
        self._same_base = same_base
        self._new_extensions: set[str] = set()

    def __call__(
        self, configured: Configured, settings: Settings, pipeline: Id | None, consumers: Sequence[Consumer]
    ) -> Node | None:
        node = self._next(configured, settings, pipeline)
        if node is None:
            if settings.kind is Kind.EXTENSION:
                self._new_extensions.add(settings.id)
            return None
        self.kept.append(node)
        if node.outlet is not None and node.outlet.consumers != tuple(consumers):
            self.turned.append((node.outlet, tuple(consumers)))
        return node

    def _next(self, configured: Configured, settings: Settings, pipeline: Id | None) -> Node | None:
        node = self._running.get((settings.kind, configured.id, pipeline))
        if node is None or node.configured.factory is not configured.factory or not self._same_base:
            return None
        standing = fingerprint(configured.config)
        same = standing == node.fingerprint and not names(configured.config) & self._new_extensions
        if not isinstance(node.component, Revisable):
            return node if same else None
        # Asked even where the configuration is the same: a model may have been replaced.
        own = replace(settings, telemetry=node.settings.telemetry, health=node.settings.health)
        revised = replace(node, configured=configured, settings=own, fingerprint=standing)
        self.revised.append(revised)
        return revised


def _without(graph: Graph, kept: set[int]) -> Graph:
    def rest(nodes: list[Node]) -> list[Node]:
        return [node for node in nodes if id(node.component) not in kept]

    return Graph(rest(graph.extensions), rest(graph.exporters), rest(graph.processors), rest(graph.receivers))
