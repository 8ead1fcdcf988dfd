"""Validation of one piece of configuration by its pydantic model, every problem in the Collector's words."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from otel_tracead.component import ComponentConfig
from otel_tracead.errors import ConfigError
from otel_tracead.service.expansion import Expanded, Path, dotted, original_at, plain

ConfigT = TypeVar("ConfigT", bound=ComponentConfig)

_YAML_TYPES: Mapping[type, str] = {
    bool: "a boolean",
    dict: "a map",
    float: "a number",
    int: "an integer",
    list: "a list",
    str: "a string",
    type(None): "null",
}


def validate(model: type[ConfigT], body: Any, path: Path) -> ConfigT:
    """Validate *body*, whose place is *path*.

    Args:
        model: what it should be.
        body: as `expand` gave it; None stands for all defaults.
        path: the keys that lead to it.

    Returns:
        the validated configuration.

    Raises:
        ConfigError: every problem, each with its path.
    """
    tree = plain(body)
    for _ in range(_references(body) + 1):  # each round gives at least one string field the text of its reference
        try:
            return model.model_validate({} if tree is None else tree)
        except ValidationError as error:
            problems = error.errors(include_url=False)
            wanted = [original_at(body, found["loc"]) for found in problems if found["type"] == "string_type"]
            if sum(_put(tree, *original) for original in wanted if original is not None) == 0:
                raise ConfigError(_worded(problems, model, path)) from None
    raise AssertionError("a reference was replaced twice")


def _references(tree: Any) -> int:
    if isinstance(tree, dict):
        return sum(map(_references, tree.values()))
    if isinstance(tree, list):
        return sum(map(_references, tree))
    return 1 if isinstance(tree, Expanded) else 0


def _put(tree: Any, path: Path, text: str) -> bool:
    """Set the value at *path*; say whether that changed anything."""
    if not path:
        return False
    for step in path[:-1]:
        tree = tree[step]
    changed = bool(tree[path[-1]] != text)
    tree[path[-1]] = text
    return changed


def _worded(problems: Sequence[ErrorDetails], model: type[BaseModel], path: Path) -> list[str]:
    unknown: dict[Path, list[str]] = {}
    lines: list[str] = []
    for problem in problems:
        place: Path = (*path, *problem["loc"])
        if problem["type"] == "extra_forbidden":
            if place[:-1] not in unknown:
                lines.append("")  # filled in below, where the first one stood
            unknown.setdefault(place[:-1], []).append(str(place[-1]))
        else:
            lines.append(f"{dotted(place)}: {_message(problem)}")
    keys = _keys(model)
    texts = iter(
        f"{dotted(place)}: has invalid keys: {', '.join(names)}{_suggestion(names, keys)}"
        for place, names in unknown.items()
    )
    return [line or next(texts) for line in lines]


def _message(problem: ErrorDetails) -> str:
    kind, message = problem["type"], problem["msg"]
    if kind == "missing":
        return "must be specified"
    if kind in {"model_type", "model_attributes_type", "dict_type"}:
        message = "must be a map"
    if kind == "tuple_type":
        message = "must be a list"
    message = (
        message.replace("Input should be", "must be").replace("String should", "must").removeprefix("Value error, ")
    )
    if kind.endswith("_type"):
        return f"{message}, not {_YAML_TYPES.get(type(problem['input']), 'this')}"
    return message


def _keys(model: type[BaseModel], seen: frozenset[type] = frozenset()) -> set[str]:
    """Collect the keys of *model* and of the sections in it, to guess what was meant."""
    keys: set[str] = set()
    for name, info in model.model_fields.items():
        keys.add(info.alias or name)
        for choice in (info.annotation, *getattr(info.annotation, "__args__", ())):
            if isinstance(choice, type) and issubclass(choice, BaseModel) and choice not in seen:
                keys |= _keys(choice, seen | {model})
    return keys


def _suggestion(names: Sequence[str], keys: set[str]) -> str:
    guesses = [guess for name in names for guess in get_close_matches(name, keys, 1, 0.75)]
    return f" (did you mean {', '.join(guesses)}?)" if guesses else ""
