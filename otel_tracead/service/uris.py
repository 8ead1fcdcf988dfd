"""Configuration URIs to one tree: `--config` after `--config`, maps merged deeply, lists replaced, `--set` last."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from otel_tracead.errors import ConfigError
from otel_tracead.redaction import without_secrets
from otel_tracead.service.expansion import environment, expand, split_scheme
from otel_tracead.service.yaml_text import MOST_BYTES, load_yaml

SCHEMES = ("env", "file", "yaml")


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a configuration comes from; loaded again at a reload.

    Attributes:
        uris: as `--config` gave them, in order.
        overrides: as `--set` gave them, in order; they win over every URI.
        variables: the environment.
    """

    uris: Sequence[str]
    overrides: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @property
    def base(self) -> Path:
        """The folder that relative paths start from: that of the first file, else the working directory."""
        for uri in self.uris:
            scheme, rest = split_scheme(uri)
            if scheme in {"", "file"}:
                return Path(rest).expanduser().resolve().parent
        return Path.cwd()

    def load(self, warn: Callable[[str], None]) -> dict[str, Any]:
        """Retrieve, merge and expand.

        Args:
            warn: gets a message for what works but is probably a mistake.

        Returns:
            the whole configuration; fields that were a reference are `Expanded`.

        Raises:
            ConfigError: whatever cannot be read, all of it.
        """
        read_environment = environment(self.variables, warn)
        merged: dict[str, Any] = {}
        problems: list[str] = []
        for given, is_override in [*((uri, False) for uri in self.uris), *((text, True) for text in self.overrides)]:
            try:
                uri = _as_uri(given) if is_override else given
                merged = merge(merged, unfold(_mapping(uri, read_environment)))
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(problems)
        if not merged:
            raise ConfigError(["configuration: empty configuration file"])
        return expand(merged, lambda scheme, rest: _retrieve(scheme, rest, read_environment))


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay *over* on *under*: maps merge, everything else (lists, null) is replaced."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def unfold(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Turn keys such as `a::b` into maps, at every depth; what meets at one place merges, the later wins."""
    unfolded: dict[str, Any] = {}
    for key, value in tree.items():
        inner: Any = unfold(value) if isinstance(value, dict) else value
        first, *rest = key.split("::")
        for part in reversed(rest):
            inner = {part: inner}
        unfolded = merge(unfolded, {first: inner})
    return unfolded


def _as_uri(override: str) -> str:
    key, equals, value = override.partition("=")
    if not equals:
        named = re.split(r"[^A-Za-z0-9_./-]", key.strip(), maxsplit=1)[0]  # what follows may be meant as the value
        raise ConfigError([f'--set "{named}": missing equal sign'])
    if not key.strip():
        raise ConfigError(["--set: missing key before the equal sign"])
    return f"yaml:{key.strip().replace('.', '::')}: {value.strip()}"


def _mapping(uri: str, read_environment: Callable[[str], str]) -> dict[str, Any]:
    scheme, rest = split_scheme(uri)
    try:
        text = _retrieve(scheme or "file", rest, read_environment)
    except ValueError as error:
        raise ConfigError([f'cannot retrieve the configuration "{_named(uri)}": {error}']) from None
    content = load_yaml(text, rest if scheme in {"", "file"} else _named(uri))
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError([f"{_named(uri)}: must be a map of sections, such as receivers and service"])
    return content


def _named(uri: str) -> str:
    """Name a URI in messages: the text of a `yaml:` one may hold secrets, its first key will do."""
    scheme, rest = split_scheme(uri)
    key, colon, _ = rest.partition(": ")
    return f"yaml:{key[:80] if colon else ''}" if scheme == "yaml" else without_secrets(uri)


def _retrieve(scheme: str, rest: str, read_environment: Callable[[str], str]) -> str:
    if scheme == "env":
        return read_environment(rest)
    if scheme == "yaml":
        return rest
    if scheme == "file":
        return _read_file(Path(rest).expanduser())
    if scheme.lower() in {"http", "https"}:
        raise ValueError("a configuration is not fetched from the network: download it, look at it, and give its path")
    raise ValueError(f'scheme "{scheme}" is not supported (valid values: [{" ".join(SCHEMES)}])')


def _read_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ValueError(f"unable to read the file {path}: {error.strerror}") from None
    if len(content) > MOST_BYTES:
        raise ValueError(f"the file {path} is larger than {MOST_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"the file {path} is not UTF-8 at byte {error.start}") from None
