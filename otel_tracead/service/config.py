"""The whole configuration, validated: every problem at once, each with its `a::b::c` path."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field

from otel_tracead.component import ComponentConfig, Factory, Kind, Settings
from otel_tracead.errors import ConfigError
from otel_tracead.service.expansion import Path as Place
from otel_tracead.service.expansion import dotted, plain
from otel_tracead.service.ids import Id
from otel_tracead.service.marked import unresolved, without_effect
from otel_tracead.service.problems import ConfigT, validate
from otel_tracead.service.registry import Registry
from otel_tracead.service.telemetry_config import TelemetryConfig

SIGNAL: Final = "traces"
_CONNECTORS: Final = "connectors"
_SECTIONS: Final = ("receivers", "processors", "exporters", _CONNECTORS, "extensions", "service")
_SERVICE_KEYS: Final = ("extensions", "pipelines", "telemetry")


_Ids = Annotated[tuple[str, ...], Field(strict=False)]


class PipelineConfig(ComponentConfig):
    """One pipeline: ids of components.

    Attributes:
        receivers: where spans come from.
        processors: what is done with them, in this order.
        exporters: where they go; each gets all of them.
    """

    receivers: _Ids = ()
    processors: _Ids = ()
    exporters: _Ids = ()


class _ExtensionList(ComponentConfig):
    extensions: _Ids = ()


@dataclass(frozen=True, slots=True)
class Configured:
    """A component that the YAML defines.

    Attributes:
        id: its name.
        factory: what makes it.
        config: what the user wrote, validated.
    """

    id: Id
    factory: Factory[Any]
    config: ComponentConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """A configuration without problems.

    Attributes:
        components: by kind and id, referenced or not.
        extensions: ids, in order of their start.
        pipelines: by id; what they name is in `components`.
        telemetry: own metrics and logs.
        base: the folder that relative paths start from.
        warnings: what works but should be written differently.
    """

    components: Mapping[Kind, Mapping[Id, Configured]]
    extensions: tuple[Id, ...]
    pipelines: Mapping[Id, Mapping[Kind, tuple[Id, ...]]]
    telemetry: TelemetryConfig
    base: Path
    warnings: tuple[str, ...] = ()

    def used(self) -> list[Configured]:
        """Give every component that the service would build, each once."""
        ids = {(Kind.EXTENSION, id_) for id_ in self.extensions}
        ids |= {(kind, id_) for lists in self.pipelines.values() for kind, names in lists.items() for id_ in names}
        return [self.components[kind][id_] for kind, id_ in sorted(ids) if id_ in self.components[kind]]


def decode(tree: Mapping[str, Any], registry: Registry, base: Path) -> ServiceConfig:
    """Validate a whole configuration.

    Args:
        tree: as `Sources.load` gave it.
        registry: the component types there are.
        base: the folder that relative paths start from.

    Raises:
        ConfigError: every problem.
    """
    return _Decoder(tree, registry, base).decode()


def check(config: ServiceConfig) -> None:
    """Ask the factories of all used components for problems outside the configuration, such as a missing file.

    Raises:
        ConfigError: every problem.
    """
    problems: list[str] = []
    for used in config.used():
        kind = used.factory.kind
        settings = Settings(id=str(used.id), kind=kind, base=config.base)
        problems += [f"{kind.value}::{used.id}: {problem}" for problem in used.factory.check(used.config, settings)]
    if problems:
        raise ConfigError(problems)


@dataclass
class _Decoder:
    tree: Mapping[str, Any]
    registry: Registry
    base: Path
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    defined: dict[Kind, set[Id]] = field(default_factory=lambda: {kind: set() for kind in Kind})
    connectors: set[Id] = field(default_factory=set)

    def decode(self) -> ServiceConfig:
        self._no_other_keys(self.tree, _SECTIONS, ())
        self._no_connectors()
        components = {kind: self._section(kind) for kind in Kind}
        service = self._map(self.tree.get("service"), ("service",))
        self._no_other_keys(service, _SERVICE_KEYS, ("service",))
        extensions = self._extensions(service)
        pipelines = self._pipelines(service)
        telemetry = self._validated(TelemetryConfig, service.get("telemetry"), ("service", "telemetry"))
        telemetry = telemetry or TelemetryConfig()
        if telemetry.metrics.address is not None:
            self.warnings.append("service::telemetry::metrics::address is deprecated: use readers")
        self.warnings += without_effect(telemetry, ("service", "telemetry"))
        decoded = ServiceConfig(
            components=components,
            extensions=extensions,
            pipelines=pipelines,
            telemetry=telemetry,
            base=self.base,
        )
        self._look_at_used(decoded)
        if self.problems:
            raise ConfigError(self.problems)
        return replace(decoded, warnings=tuple(self.warnings))

    def _no_connectors(self) -> None:
        """Name each connector: there are none here."""
        for text in self._map(self.tree.get(_CONNECTORS), (_CONNECTORS,)):
            id_ = self._id(text, (_CONNECTORS,))
            if id_ is not None:
                self.connectors.add(id_)
                self.problems.append(f'{_CONNECTORS}: unknown type: "{id_.type}" for id: "{id_}" (valid values: [])')

    def _look_at_used(self, decoded: ServiceConfig) -> None:
        """Find what cannot be seen in one section alone, of the components that the service would build."""
        started = frozenset(map(str, decoded.extensions))
        defined = frozenset(map(str, self.defined[Kind.EXTENSION]))
        for found in decoded.used():
            path = (found.factory.kind.value, str(found.id))
            self.problems += unresolved(found.config, path, started, defined)
            self.warnings += without_effect(found.config, path)

    def _section(self, kind: Kind) -> dict[Id, Configured]:
        bodies = self._map(self.tree.get(kind.value), (kind.value,))
        if not bodies and kind in {Kind.RECEIVER, Kind.EXPORTER}:
            self.problems.append(f"{kind.value}: no {kind.singular} configuration specified in config")
        section: dict[Id, Configured] = {}
        for text, body in bodies.items():
            id_ = self._id(text, (kind.value,))
            if id_ is None:
                continue
            if id_ in self.defined[kind]:
                self.problems.append(f'{kind.value}: duplicate name "{id_}" after trimming spaces')
            self.defined[kind].add(id_)
            component = self._component(kind, id_, text, body)
            if component is not None:
                section[id_] = component
        return section

    def _component(self, kind: Kind, id_: Id, text: str, body: Any) -> Configured | None:
        try:
            factory = self.registry.find(kind, id_.type)
        except ImportError as error:
            self.problems.append(f"{kind.value}::{text}: cannot be loaded: {error}")
            return None
        if factory is None:
            valid = " ".join(self.registry.names(kind))
            self.problems.append(f'{kind.value}: unknown type: "{id_.type}" for id: "{id_}" (valid values: [{valid}])')
            return None
        if factory.name != id_.type:
            self.warnings.append(f'{kind.value}::{id_}: "{id_.type}" is a deprecated alias of "{factory.name}"')
        config = self._validated(factory.config, body, (kind.value, text))
        return None if config is None else Configured(id_, factory, config)

    def _extensions(self, service: Mapping[str, Any]) -> tuple[Id, ...]:
        body = {"extensions": service.get("extensions")}
        found = self._validated(_ExtensionList, body, ("service",))
        return self._references(found.extensions if found else (), Kind.EXTENSION, ("service", "extensions"))

    def _pipelines(self, service: Mapping[str, Any]) -> dict[Id, dict[Kind, tuple[Id, ...]]]:
        place = ("service", "pipelines")
        bodies = self._map(service.get("pipelines"), place)
        if not bodies:
            self.problems.append("service::pipelines: service must have at least one pipeline")
        pipelines: dict[Id, dict[Kind, tuple[Id, ...]]] = {}
        for text, body in bodies.items():
            id_ = self._id(text, place)
            if id_ is None:
                continue
            if id_.type != SIGNAL:
                self.problems.append(
                    f'service::pipelines::{text}: unknown signal "{id_.type}": pipelines here carry {SIGNAL} only'
                )
                continue
            lists = self._validated(PipelineConfig, body, (*place, text))
            if lists is not None:
                pipelines[id_] = self._pipeline(lists, (*place, text))
        return pipelines

    def _pipeline(self, lists: PipelineConfig, place: Place) -> dict[Kind, tuple[Id, ...]]:
        at = dotted(place)
        for kind, names in ((Kind.RECEIVER, lists.receivers), (Kind.EXPORTER, lists.exporters)):
            if not names:
                self.problems.append(f"{at}: must have at least one {kind.singular}")
        repeated = {name for name in lists.processors if lists.processors.count(name) > 1}
        self.problems += [f'{at}: references processor "{name}" multiple times' for name in sorted(repeated)]
        return {
            Kind.RECEIVER: self._references(lists.receivers, Kind.RECEIVER, place),
            Kind.PROCESSOR: self._references(lists.processors, Kind.PROCESSOR, place),
            Kind.EXPORTER: self._references(lists.exporters, Kind.EXPORTER, place),
        }

    def _references(self, names: tuple[str, ...], kind: Kind, place: Place) -> tuple[Id, ...]:
        found: dict[Id, None] = {}
        for name in names:
            id_ = self._id(name, place)
            if id_ is None:
                continue
            connects = kind in {Kind.RECEIVER, Kind.EXPORTER} and id_ in self.connectors
            if id_ not in self.defined[kind] and not connects:
                at = dotted(place)
                self.problems.append(f'{at}: references {kind.singular} "{id_}" which is not configured')
            found[id_] = None
        return tuple(found)

    def _id(self, text: str, place: Place) -> Id | None:
        try:
            return Id.parse(text)
        except ValueError as error:
            self.problems.append(f"{dotted(place)}: {error}")
            return None

    def _map(self, body: Any, place: Place) -> Mapping[str, Any]:
        while not isinstance(body, dict):  # a reference to a whole section
            value = plain(body)
            if not isinstance(value, dict):
                if value is not None:
                    self.problems.append(f"{dotted(place)}: must be a map")
                return {}
            body = value
        return body

    def _no_other_keys(self, body: Mapping[str, Any], known: tuple[str, ...], place: Place) -> None:
        unknown = [key for key in body if key not in known]
        if unknown:
            at = dotted(place) or "configuration"
            self.problems.append(f"{at}: has invalid keys: {', '.join(unknown)} (valid keys: [{' '.join(known)}])")

    def _validated(self, model: type[ConfigT], body: Any, place: Place) -> ConfigT | None:
        try:
            return validate(model, body, place)
        except ConfigError as error:
            self.problems += error.problems
            return None
