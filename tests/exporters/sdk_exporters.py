"""Exporters of the SDK for tests, installed as packages are: by metadata on the path that declares entry points."""

import asyncio
import json
import threading
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tests.contract.exporter_contract import BackendState

BACKENDS: dict[str, "SdkBackend"] = {}
CALLS: dict[str, list[str]] = {}


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, group: str, package: str, **entries: str) -> None:
    """Make a distribution *package* that declares *entries* in *group*."""
    metadata = folder / f"{package}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = "".join(f"{name} = {value}\n" for name, value in entries.items())
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{lines}")
    monkeypatch.syspath_prepend(folder)


class SdkBackend(BackendState):
    """Both kinds of refusal are FAILURE: the SDK knows no other; `data` is an exception."""

    async def start(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.endpoint = self.endpoint or f"backend {id(self)}"
        BACKENDS[self.endpoint] = self

    async def stop(self) -> None:
        BACKENDS.pop(self.endpoint, None)


class BackendExporter(SpanExporter):
    """Gives spans to the `SdkBackend` of the test, from the thread in which it is called."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self.threads = {threading.get_ident()}

    def export(self, spans):
        self.threads.add(threading.get_ident())
        assert len(self.threads) == 1, "made in one thread, used in another"
        backend = BACKENDS.get(self.backend)
        if backend is None:
            raise ConnectionError("secret address")
        taking = asyncio.run_coroutine_threadsafe(backend.take([span.name for span in spans]), backend.loop)
        refusal = taking.result()
        if refusal is not None and refusal.kind == "data":
            raise ValueError("secret value")
        return SpanExportResult.SUCCESS if refusal is None else SpanExportResult.FAILURE


class KeepingExporter(SpanExporter):
    """Writes down what it is called with."""

    def __init__(self, path: str, **more: object) -> None:
        self.calls = CALLS.setdefault(path, [])
        self.calls.append(json.dumps(more, sort_keys=True))

    def export(self, spans):
        self.calls.append(f"export {spans[0].resource.attributes.get('service.name')} {len(spans)}")
        return SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis=30000):
        self.calls.append("flush")
        return True

    def shutdown(self):
        self.calls.append("shutdown")


def broken(**_arguments: object) -> SpanExporter:
    raise RuntimeError("the key is hunter2")
