"""YAML text to plain data as the Collector reads it (YAML 1.2 scalars), with bounds on size, depth and aliases."""

import math
import re
from typing import Any, ClassVar, Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from otel_tracead.errors import ConfigError

MOST_BYTES: Final = 1 << 20
_MOST_NODES: Final = 100_000
_MOST_DEPTH: Final = 100
_LONGEST_NUMBER: Final = 64

_INT: Final = re.compile(r"[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_QUOTES: Final = re.compile(
    r"(found undefined alias|found duplicate anchor|could not determine a constructor for the tag|.*found undefined tag handle)"
)
_STR: Final = "tag:yaml.org,2002:str"


class _Loader(yaml.SafeLoader):
    """Knows null, true/false, numbers, strings, lists and maps; everything else in the text is a string or an error.

    What SafeLoader adds from YAML 1.1 would surprise: `on` as true, `1:30` as 90, dates.
    """

    yaml_constructors: ClassVar[dict[str | None, Any]] = {}

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """Compose as usual, but not deeper than the bound."""
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise yaml.composer.ComposerError(None, None, "nested too deeply", None)
        node: Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def get_single_node(self) -> Node | None:
        """Compose the document and refuse aliases that would unfold without bound."""
        node: Node | None = super().get_single_node()
        if node is not None:
            _measure(node, {})
        return node

    def mapping(self, node: MappingNode) -> dict[str, Any]:
        """Build a map; keys are their text; a key that stands twice is an error."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a string", key.start_mark)
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f'mapping key "{key.value}" already defined', key.start_mark
                )
            seen.add(key.value)
        self.flatten_mapping(node)
        return {key.value: self.construct_object(value, deep=True) for key, value in node.value}

    def number(self, node: ScalarNode) -> float:
        """Read a finite number."""
        value = float(node.value)
        if not math.isfinite(value):
            raise yaml.constructor.ConstructorError(None, None, "the number is too large", node.start_mark)
        return value

    def integer(self, node: ScalarNode) -> int:
        """Read an integer in any of YAML's bases; a leading zero is octal, as in Go."""
        text = node.value.replace("_", "")
        digits = text.lstrip("+-")
        legacy_octal = len(digits) > 1 and digits[0] == "0" and digits.isdecimal()
        try:
            return int(text, 8 if legacy_octal else 0)
        except ValueError as error:
            raise yaml.constructor.ConstructorError(None, None, "not a valid integer", node.start_mark) from error


def _measure(node: Node, sizes: dict[int, int]) -> int:
    """Count the nodes that *node* unfolds to, aliases included."""
    known = sizes.get(id(node))
    if known is not None:
        if known < 0:
            raise yaml.composer.ComposerError(None, None, "an alias must not contain itself", node.start_mark)
        return known
    sizes[id(node)] = -1
    size = 1
    if isinstance(node, SequenceNode):
        size += sum(_measure(item, sizes) for item in node.value)
    elif isinstance(node, MappingNode):
        size += sum(_measure(key, sizes) + _measure(value, sizes) for key, value in node.value)
    if size > _MOST_NODES:
        raise yaml.composer.ComposerError(None, None, "too large once its aliases are unfolded", node.start_mark)
    sizes[id(node)] = size
    return size


def _scalar_tag(text: str) -> str:
    if text in {"", "~", "null", "Null", "NULL"}:
        return "tag:yaml.org,2002:null"
    if text in {"true", "True", "TRUE", "false", "False", "FALSE"}:
        return "tag:yaml.org,2002:bool"
    if text == "<<":
        return "tag:yaml.org,2002:merge"
    if len(text) <= _LONGEST_NUMBER and _INT.fullmatch(text):
        return "tag:yaml.org,2002:int"
    if len(text) <= _LONGEST_NUMBER and _FLOAT.fullmatch(text):
        return "tag:yaml.org,2002:float"
    return _STR


def _resolve(self: _Loader, kind: type[Node], value: str, implicit: tuple[bool, bool]) -> str:
    if kind is ScalarNode:
        return _scalar_tag(value) if implicit[0] else _STR
    return str(yaml.resolver.BaseResolver.resolve(self, kind, value, implicit))  # type: ignore[no-untyped-call]


_Loader.resolve = _resolve  # type: ignore[method-assign, assignment]
_Loader.yaml_constructors = {
    "tag:yaml.org,2002:null": lambda _loader, _node: None,
    "tag:yaml.org,2002:bool": lambda _loader, node: node.value.lower() == "true",
    "tag:yaml.org,2002:int": _Loader.integer,
    "tag:yaml.org,2002:float": _Loader.number,
    _STR: lambda _loader, node: node.value,
    "tag:yaml.org,2002:seq": lambda loader, node: [loader.construct_object(item, deep=True) for item in node.value],
    "tag:yaml.org,2002:map": _Loader.mapping,
    None: yaml.SafeLoader.construct_undefined,
}


def load_yaml(text: str, source: str) -> Any:
    """Read one YAML document.

    Args:
        text: the document.
        source: where it came from, for the message.

    Returns:
        None, booleans, numbers, strings, lists and dicts with string keys.

    Raises:
        ConfigError: not YAML, or over a bound; the message starts with `source:line:column`.
    """
    if len(text) > MOST_BYTES:
        raise ConfigError([f"{source}: larger than {MOST_BYTES} bytes"])
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
        said = ", ".join(filter(None, (error.context, error.problem)))
        if (quoting := _QUOTES.match(said)) is not None:  # what is quoted may be half a password
            said = f"{quoting[1]}; put a text that begins with *, & or ! in quotes"
        raise ConfigError([f"{place}: {said}"]) from None
    except yaml.YAMLError as error:
        raise ConfigError([f"{source}: {' '.join(str(error).split())}"]) from None
