"""Every field of a configuration as a user writes it: its key, what it means, and the marks that it carries."""

import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from otel_tracead.config_types import NotHere, WithoutEffect

MarkT = TypeVar("MarkT")

_ATTRIBUTE: Final = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


@dataclass(frozen=True)
class ConfigField:
    """One field.

    Attributes:
        key: the way to it, `a::b::c`.
        name: in Python.
        info: as pydantic knows it.
        model: the section it stands in.
        section: the section it is, if it is one.
        meaning: what the docstring, the description or the mark says.
    """

    key: str
    name: str
    info: FieldInfo
    model: type[BaseModel]
    section: type[BaseModel] | None
    meaning: str

    def mark(self, kind: type[MarkT]) -> MarkT | None:
        """Give its mark of *kind*."""
        return next((found for found in self.info.metadata if isinstance(found, kind)), None)


def fields(
    model: type[BaseModel], path: str = "", closed: frozenset[type[BaseModel]] = frozenset()
) -> Iterator[ConfigField]:
    """Walk over all fields of *model*, its own before those of its bases, sections before what is in them.

    Args:
        model: a configuration.
        path: what stands before the keys.
        closed: sections that are not walked into.
    """
    meanings = meanings_of(model)
    own = [name for name in model.model_fields if name in model.__annotations__]
    for name in dict.fromkeys((*own, *model.model_fields)):
        info = model.model_fields[name]
        key = f"{path}{info.alias or name}"
        section = section_of(info.annotation)
        yield ConfigField(key, name, info, model, section, _meaning(name, info, meanings))
        if section is not None and section not in closed:
            yield from fields(section, f"{key}::", closed)


def meanings_of(model: type[BaseModel]) -> dict[str, str]:
    """Give what the docstrings of *model* and its bases say of each field."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        _, _, attributes = (base.__dict__.get("__doc__") or "").partition("Attributes:\n")
        lines = (re.sub(r"^ {4}", "", line) for line in attributes.splitlines())
        found |= {name: " ".join(text.split()) for name, text in _ATTRIBUTE.findall("\n".join(lines))}
    return found


def _meaning(name: str, info: FieldInfo, meanings: dict[str, str]) -> str:
    for mark in info.metadata:
        if isinstance(mark, NotHere):
            return f"Not in otel-tracead: {mark.reason}."
        if isinstance(mark, WithoutEffect):
            return f"No effect: {mark.reason}."
    section = section_of(info.annotation)
    if name not in meanings and section is not None and is_marked(section):
        return "Nothing of it has an effect."
    text = meanings[name] if info.description is None else info.description
    return f"{text[:1].upper()}{text[1:]}"


def is_marked(section: type[BaseModel]) -> bool:
    """Say whether each field in a section is not here or has no effect."""
    infos = section.model_fields.values()
    return all(any(isinstance(mark, (NotHere, WithoutEffect)) for mark in info.metadata) for info in infos)


def alternatives(annotation: Any) -> Iterator[Any]:
    """Walk over the alternatives of an annotation, without what is annotated to them."""
    if get_origin(annotation) is Annotated:
        yield from alternatives(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for choice in get_args(annotation):
            yield from alternatives(choice)
    elif get_origin(annotation) is tuple:
        yield from alternatives(get_args(annotation)[0])
    else:
        yield annotation


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Give the section that a field of this annotation is, None if it is none."""
    parts = alternatives(annotation)
    return next((part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)), None)
