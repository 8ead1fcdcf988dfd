"""What a configuration stands for: what the user wrote, and the certificates that it names as they are on disk now."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

Fingerprint = tuple[object, ...]
"""Equal if nothing has changed that a component would have to be started anew for."""


def fingerprint(config: BaseModel) -> Fingerprint:
    """Give what tells *config* from another one; certificates and keys that were renewed make another one of it."""
    files = {path for part in _parts(config) if _is_tls(part) for path in _parts(part) if isinstance(path, Path)}
    return (config, *((path, stamp(path)) for path in sorted(files)))


def names(config: BaseModel) -> frozenset[str]:
    """Give every string in *config*: the ids of the extensions that it refers to are among them."""
    return frozenset(part for part in _parts(config) if isinstance(part, str))


def _parts(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _parts(getattr(value, name))
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _parts(key)
            yield from _parts(inner)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for inner in value:
            yield from _parts(inner)


def _is_tls(part: Any) -> bool:
    return isinstance(part, BaseModel) and "cert_file" in type(part).model_fields


def stamp(path: Path) -> tuple[int, int, int]:
    """Give what differs once a file was written or replaced (links are followed); the same for every file that is not there."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_size, found.st_mtime_ns)
