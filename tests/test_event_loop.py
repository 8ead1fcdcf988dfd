"""Which event loop a stage runs on."""

import asyncio
import sys

import pytest

from otel_tracead import event_loop


async def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_uvloop_where_it_is_installed() -> None:
    uvloop = pytest.importorskip("uvloop")
    assert isinstance(event_loop.run(_loop()), uvloop.Loop)


def test_python_s_own_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert isinstance(event_loop.run(_loop()), asyncio.SelectorEventLoop)
