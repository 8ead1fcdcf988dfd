"""Which component types there are, and where their factories stand; a module is imported only when its type is named."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final

from otel_tracead.component import Factory, Kind

EXPORTER_GROUP: Final = "otel_tracead.exporters"
"""The entry point group in which a package may ship exporters."""

BUILT_IN: Final[Mapping[Kind, Mapping[str, str]]] = {
    Kind.RECEIVER: {
        "kafka": "otel_tracead.receivers.kafka:FACTORY",
        "otlp": "otel_tracead.receivers.otlp:FACTORY",
        "otlpjsonfile": "otel_tracead.receivers.otlpjsonfile:FACTORY",
        "zipkin": "otel_tracead.receivers.zipkin:FACTORY",
    },
    Kind.PROCESSOR: {
        "batch": "otel_tracead.processors.batch:FACTORY",
        "memory_limiter": "otel_tracead.processors.memory_limiter:FACTORY",
        "tracead": "otel_tracead.processors.tracead:FACTORY",
    },
    Kind.EXTENSION: {
        "basicauth": "otel_tracead.extensions.basicauth:FACTORY",
        "bearertokenauth": "otel_tracead.extensions.bearertokenauth:FACTORY",
        "file_storage": "otel_tracead.extensions.file_storage:FACTORY",
        "health_check": "otel_tracead.extensions.health_check:FACTORY",
    },
    Kind.EXPORTER: {},
}


class Registry:
    """Finds factories by kind and type.

    Args:
        factories: more factories; they win over built-in ones and plug-ins of the same type.
        built_in: the table of `module:attribute` by kind and type.
    """

    def __init__(
        self, factories: Iterable[Factory[Any]] = (), built_in: Mapping[Kind, Mapping[str, str]] = BUILT_IN
    ) -> None:
        self._given = {(factory.kind, factory.name): factory for factory in factories}
        self._built_in = built_in
        self._clashes: dict[str, set[str]] = {}  # exporters that several packages offer

    @cached_property
    def _places(self) -> dict[Kind, dict[str, str]]:
        places = {kind: dict(self._built_in.get(kind, {})) for kind in Kind}
        for entry in entry_points(group=EXPORTER_GROUP):
            known = places[Kind.EXPORTER].setdefault(entry.name, entry.value)
            if known != entry.value:
                self._clashes.setdefault(entry.name, {known}).add(entry.value)
        return places

    def names(self, kind: Kind) -> list[str]:
        """Give the types of *kind*, sorted, without their deprecated aliases."""
        return sorted({*self._places[kind], *(name for given, name in self._given if given is kind)})

    def find(self, kind: Kind, name: str) -> Factory[Any] | None:
        """Give the factory of a type or of a deprecated alias, None where there is none.

        Raises:
            ImportError: it is there, but its module cannot be loaded, or several packages offer it.
        """
        if name in self.names(kind):
            return self._load(kind, name)
        for known in self.names(kind):  # aliases stand in the factories themselves
            try:
                factory = self._load(kind, known)
            except ImportError:  # a broken plug-in must not hide the others
                continue
            if name in factory.aliases:
                return factory
        return None

    def _load(self, kind: Kind, name: str) -> Factory[Any]:
        given = self._given.get((kind, name))
        if given is not None:
            return given
        module, _, attribute = self._places[kind][name].partition(":")
        if kind is Kind.EXPORTER and name in self._clashes:
            raise ImportError(
                f"several packages offer it: {', '.join(sorted(self._clashes[name]))}; uninstall all but one"
            )
        try:
            factory = getattr(import_module(module), attribute, None)
        except ImportError:
            raise
        except Exception as error:  # whatever a plug-in does when it is imported
            raise ImportError(f"{module}: {type(error).__name__}: {error}") from error
        if not isinstance(factory, Factory) or factory.kind is not kind:
            raise ImportError(f"{module}:{attribute} is no factory of {kind.value}")
        self._given[kind, name] = factory
        return factory
