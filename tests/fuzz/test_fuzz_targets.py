"""Every fuzz target on its seeds, on what was found once, and on some hundred changes of them; without atheris."""

import asyncio
import gzip
import zlib
from collections.abc import Iterator
from itertools import chain
from random import Random
from typing import Any

import pytest

from fuzz import mutation, targets
from fuzz.target import CASES, Target
from otel_tracead.artifact import arrays
from otel_tracead.http2 import reading
from otel_tracead.receivers import compression
from otel_tracead.service import yaml_text
from otel_tracead.wire import _zipkin_text, attributes

COUNTS = {"artifact": 30, "bodies": 150, "configuration": 60, "traces": 120}
USUAL = 250
KEPT = 0.1  # of the changed inputs are changed again


def changes(target: Target, count: int) -> Iterator[bytes]:
    random = Random(zlib.crc32(target.name.encode()))
    pool = [*target.seeds(), *target.cases()]
    for _ in range(count):
        data = random.choice(pool)
        for _ in range(random.choice((1, 1, 2, 3))):
            data = (target.mutate if random.random() < 0.8 else mutation.any_bytes)(data, random)
        if len(data) < 8192 and random.random() < KEPT:
            pool.append(data)
        yield data


@pytest.fixture(autouse=True)
def no_loop_is_left() -> Iterator[None]:
    """Targets that need an event loop make one of their own."""
    asyncio.set_event_loop(None)
    yield
    asyncio.set_event_loop(None)


@pytest.mark.parametrize("name", targets.MODULES)
def test_nothing_is_found(name: str) -> None:
    target = targets.find(name)
    for data in (*target.seeds(), *target.cases()):
        target.check(data)
    for data in changes(target, COUNTS.get(name, USUAL)):
        try:
            target.check(data)
        except Exception as error:
            raise AssertionError(f"{name}: {data!r}") from error


def test_cases_belong_to_targets() -> None:
    assert {folder.name for folder in CASES.iterdir() if folder.is_dir()} <= set(targets.MODULES)


def _first_key(pair: bytes) -> bytes:
    fields = attributes._fields(pair)
    return next((pair[start:end] for number, kind, _, start, end in fields if (number, kind) == (1, 2)), b"")


def _unlooked_at(self: arrays.Arrays, name: str, *_: int | None, **__: str) -> Any:
    return self._arrays[name]


def _without_bound(body: bytes, _limit: int) -> bytes:
    return gzip.decompress(body)


def _forgets_what_is_short(self: reading.FrameReader, data: bytes, read: Any = reading.FrameReader.read) -> None:
    read(self, data)
    self._rest = self._rest if len(self._rest) > 4 else b""


# A mistake of each kind that once was made, or nearly, and how many changes at most it takes to find it.
PLANTED: dict[str, tuple[str, int, object, str, object]] = {
    "own attributes whose key is written twice": ("spans", 3000, attributes, "_key", _first_key),
    "Zipkin spans in which a key stands twice": ("zipkin_json", 300, _zipkin_text, "_as_read", lambda text, _: text),
    "a bomb": ("bodies", 0, compression._DECODERS, "gzip", _without_bound),
    "frames that are cut in their first bytes": (
        "http2_server",
        100,
        reading.FrameReader,
        "read",
        _forgets_what_is_short,
    ),
    "numbers of a model that are taken on trust": ("artifact", 100, arrays.Arrays, "take", _unlooked_at),
    "aliases without bound": ("configuration", 0, yaml_text, "_measure", lambda *_: 1),
}


@pytest.mark.parametrize("mistake", PLANTED)
def test_a_planted_mistake_is_found(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, most, where, what, instead = PLANTED[mistake]
    if isinstance(where, dict):
        monkeypatch.setitem(where, what, instead)
    else:
        monkeypatch.setattr(where, what, instead)
    target = targets.find(name)

    def all_is_well() -> None:
        for data in chain(target.seeds(), changes(target, most)):
            target.check(data)

    with pytest.raises(Exception):  # noqa: B017 (whatever the mistake makes of it)
        all_is_well()
