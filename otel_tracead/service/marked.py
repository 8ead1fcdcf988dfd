"""The fields of a validated configuration that carry a mark (`config_types`), with their paths; pure."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from otel_tracead.config_types import ExtensionReference, WithoutEffect
from otel_tracead.service.expansion import Path, dotted
from otel_tracead.service.ids import Id

MarkT = TypeVar("MarkT")


def marked(config: BaseModel, mark: type[MarkT], path: Path) -> Iterator[tuple[Path, MarkT, Any]]:
    """Walk over *config*, whose place is *path*.

    Yields:
        place, mark and value of every marked field that the user wrote.
    """
    for name, info in type(config).model_fields.items():
        value = getattr(config, name)
        place = (*path, info.alias or name)
        if name in config.model_fields_set and value is not None:
            yield from ((place, found, value) for found in info.metadata if isinstance(found, mark))
        for step, section in _sections(value):
            yield from marked(section, mark, (*place, *step))


def _sections(value: Any) -> Iterator[tuple[Path, BaseModel]]:
    if isinstance(value, BaseModel):
        yield (), value
    elif isinstance(value, (tuple, list)):
        yield from (((index,), item) for index, item in enumerate(value) if isinstance(item, BaseModel))
    elif isinstance(value, Mapping):
        yield from (((key,), item) for key, item in value.items() if isinstance(item, BaseModel))


def without_effect(config: BaseModel, path: Path) -> list[str]:
    """Say which keys of the Collector the user wrote that change nothing here."""
    return [f"{dotted(place)} has no effect: {mark.reason}" for place, mark, _ in marked(config, WithoutEffect, path)]


def unresolved(config: BaseModel, path: Path, started: frozenset[str], defined: frozenset[str]) -> list[str]:
    """Say which extensions are named that the service does not start.

    Args:
        config: of one component.
        path: its place.
        started: ids of the extensions that the service starts.
        defined: ids of the extensions that there are.
    """
    problems: list[str] = []
    for place, mark, value in marked(config, ExtensionReference, path):
        try:
            id_ = str(Id.parse(value))
        except ValueError as error:
            problems.append(f"{dotted(place)}: {error}")
            continue
        if id_ not in started:
            hint = "; add it to service::extensions" if id_ in defined else ""
            problems.append(f'{dotted(place)}: failed to resolve {mark.role} "{id_}": {mark.role} not found{hint}')
    return problems
