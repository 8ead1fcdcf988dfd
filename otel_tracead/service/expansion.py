"""`${env:X}` in configuration values: whole fields keep their YAML type, inline use is textual, `$$` is a dollar.

Pure: what a reference stands for is asked of a function, so that tests need no environment.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from otel_tracead.errors import ConfigError
from otel_tracead.service.yaml_text import MOST_BYTES, load_yaml

Path = tuple[str | int, ...]
Retrieve = Callable[[str, str], str]
"""(scheme, rest of the reference) to the text that it stands for. Raises ValueError where it stands for none."""

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]+):(.*)", re.DOTALL)
_MOST_EXPANSIONS: Final = 10_000
_MOST_DEPTH: Final = 100


@dataclass(frozen=True, slots=True)
class Expanded:
    """A field that was one reference as a whole, whose YAML is not a string.

    Attributes:
        value: what its text means as YAML.
        original: the text itself, which a string field gets (`0123` stays `0123`).
    """

    value: Any
    original: str


def dotted(path: Path) -> str:
    """Write a path as the Collector does: `receivers::otlp::protocols`."""
    return "::".join(map(str, path))


def plain(tree: Any) -> Any:
    """Give *tree* with every `Expanded` as its value."""
    if isinstance(tree, Expanded):
        return plain(tree.value)
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [plain(value) for value in tree]
    return tree


def expand(tree: Mapping[str, Any], retrieve: Retrieve) -> dict[str, Any]:
    """Replace every reference in the values of *tree*.

    Args:
        tree: merged configuration, as YAML gave it.
        retrieve: what a reference stands for.

    Returns:
        a new tree; values that came from a reference as a whole and are no strings are `Expanded`.

    Raises:
        ConfigError: every reference that could not be replaced, with its path.
    """
    expander = _Expander(retrieve)
    expanded: dict[str, Any] = {key: expander.walk(value, (key,), 0) for key, value in tree.items()}
    if expander.problems:
        raise ConfigError(expander.problems)
    return expanded


class _Expander:
    def __init__(self, retrieve: Retrieve) -> None:
        self.problems: list[str] = []
        self._retrieve = retrieve
        self._left = _MOST_EXPANSIONS

    def walk(self, value: Any, path: Path, depth: int) -> Any:
        if isinstance(value, dict):
            return {key: self.walk(item, (*path, key), depth) for key, item in value.items()}
        if isinstance(value, list):
            return [self.walk(item, (*path, index), depth) for index, item in enumerate(value)]
        if not isinstance(value, str):
            return value
        try:
            return self._text(value, path, depth)
        except ValueError as error:
            self.problems.append(f"{dotted(path)}: {error}")
            return None

    def _text(self, text: str, path: Path, depth: int) -> Any:
        begin = 0
        while (found := find_reference(text, begin)) is not None:
            begin, start, end = found
            original = self._look_up(text[start + 2 : end - 1], depth)
            if (start, end) == (0, len(text)):
                value = _typed(original)
                if isinstance(value, str):
                    text, depth, begin = value, depth + 1, 0
                    continue
                return Expanded(self.walk(value, path, depth + 1), _unescape(original))
            text, depth = text[:start] + original + text[end:], depth + 1
            if len(text) > MOST_BYTES:
                raise ValueError("too long once its references are expanded")
        return _unescape(text)

    def _look_up(self, reference: str, depth: int) -> str:
        self._left -= 1
        if self._left < 0 or depth > _MOST_DEPTH:
            raise ValueError(f'"${{{reference}}}": too many recursive expansions')
        scheme, rest = split_scheme(reference)
        if not scheme or rest.startswith("-"):  # `X:-default` is no scheme X
            scheme, rest = "env", reference
        return self._retrieve(scheme, rest)


def split_scheme(uri: str) -> tuple[str, str]:
    """Split `scheme:rest`; the scheme is empty where there is none."""
    found = _SCHEME.fullmatch(uri)
    return (found[1], found[2]) if found else ("", uri)


def find_reference(text: str, begin: int = 0) -> tuple[int, int, int] | None:
    """Find the first innermost `${...}` that is not escaped by `$$`.

    Args:
        text: to be searched, in time that grows as it does.
        begin: a place that no reference lies before, or over.

    Returns:
        The last such place before the reference, its start and its end.
    """
    while (close := text.find("}", begin)) >= 0:
        start = text.rfind("${", begin, close)
        if start >= 0:
            dollar = start
            while dollar > begin and text[dollar - 1] == "$":
                dollar -= 1
            if (start - dollar) % 2 == 0:
                return begin, start, close + 1
        begin = close + 1
    return None


def environment(variables: Mapping[str, str], warn: Callable[[str], None]) -> Callable[[str], str]:
    """Give the function that reads `X` and `X:-default` from *variables*.

    Args:
        variables: the environment.
        warn: gets a message for a variable that is not set and has no default.
    """

    def read(reference: str) -> str:
        name, has_default, default = reference.partition(":-")
        if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name, re.ASCII):
            raise ValueError(
                f'environment variable "{name}" has invalid name: must match regex ^[a-zA-Z_][a-zA-Z0-9_]*$'
            )
        if name in variables:
            return variables[name]
        if not has_default:
            warn(f'environment variable "{name}" is not set: the value is empty')
        return default

    return read


def _typed(original: str) -> Any:
    """Read *original* as YAML; what is no YAML, or a string, stays as it is."""
    try:
        value = load_yaml(original, "")
    except ConfigError:
        return original
    return original if isinstance(value, str) else value


def _unescape(text: str) -> str:
    return text.replace("$$", "$")


def original_at(tree: Any, path: Sequence[str | int]) -> tuple[Path, str] | None:
    """Find the reference that a validation error at *path* may be about; give its own path and its text."""
    for depth, step in enumerate(path):
        if isinstance(tree, Expanded):
            return tuple(path[:depth]), tree.original
        try:
            tree = tree[step]
        except (KeyError, IndexError, TypeError):
            return None
    return (tuple(path), tree.original) if isinstance(tree, Expanded) else None
