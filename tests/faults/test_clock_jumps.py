"""Nothing waits, expires or is measured by the wall clock: whatever it says, every span goes its way."""

import ast
import random
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from otel_tracead.health import Status
from tests.exporters.backends import HttpBackend
from tests.faults.pipeline import names, request, stage, until
from tests.faults.test_backend_faults import arrived, at, exporter
from tests.peers.independent import from_json, spans_of
from tests.source_tree import ROOT

# Who looks at the wall clock, and what for; docs/reliability.md says what a jump does to it.
LOOKS = {
    "otel_tracead/cli/generate.py": "the times of simulated spans",
    "otel_tracead/cli/model_options.py": "`--last`",
    "otel_tracead/evaluation/provenance.py": "the date on a page",
    "otel_tracead/extensions/health_check/extension.py": "since when, for people",
    "otel_tracead/extensions/file_storage/salvage.py": "names of files",
    "otel_tracead/health.py": "since when, for people",
    "otel_tracead/processors/tracead/recording.py": "names of files",
    "otel_tracead/processors/tracead/supply.py": "the metric of the model's age",
    "otel_tracead/service/logs.py": "the time of a log line",
    "otel_tracead/status.py": "Retry-After as a date",
    "otel_tracead/training/writing.py": "when a model was made",
    "exporters/otel_tracead_exporters/file/rotating.py": "names of files, max_days",
}
SERVING = [
    "otel_tracead.extensions.health_check.extension",
    "otel_tracead.processors.tracead.recording",
    "otel_tracead.service.logs",
    "otel_tracead.status",
    "otel_tracead_exporters.file.rotating",
]
CALLS = {
    ("time", "time"),
    ("time", "time_ns"),
    ("time", "localtime"),
    ("time", "gmtime"),
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("date", "today"),
}


def looks_at_the_clock(path: Path) -> bool:
    text = path.read_text(encoding="utf-8")
    if not any(f"{module}.{name}" in text for module, name in CALLS):
        return False
    tree = ast.parse(text)
    return any(
        isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and (node.value.id, node.attr) in CALLS
        for node in ast.walk(tree)
    )


def test_who_looks_at_the_wall_clock_is_known() -> None:
    sources = [*ROOT.glob("otel_tracead/**/*.py"), *ROOT.glob("exporters/**/*.py")]
    found = {str(path.relative_to(ROOT)) for path in sources if looks_at_the_clock(path)}
    assert found - LOOKS.keys() == set(), "measure with time.monotonic(), or say here what the wall clock is for"
    assert LOOKS.keys() - found == set()


class Jumping(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return datetime.fromtimestamp(time.time(), tz)


@pytest.fixture
def jumps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the wall clock finds it years ahead or behind."""
    chance, really = random.Random(1), time.time
    year = 365 * 24 * 3600

    def jumping() -> float:
        return really() + chance.choice([-10 * year, -3600, -1, 0, 1, 3600, 10 * year])

    monkeypatch.setattr("time.time", jumping)
    monkeypatch.setattr("time.time_ns", lambda: int(jumping() * 1e9))
    for module in SERVING:
        monkeypatch.setattr(f"{module}.datetime", Jumping)


async def test_a_clock_that_jumps_back_and_forth_moves_nothing(
    tiny_artifact: Path, tmp_path: Path, jumps: None
) -> None:
    one: Any = HttpBackend()
    await one.start()
    path = tmp_path / "copy.jsonl"
    try:
        out = exporter("otlp_http", at(one)) | {"file": {"path": str(path), "rotation": {"max_megabytes": 1}}}
        async with stage(tiny_artifact, out, record=str(tmp_path / "record")) as running:
            size = 1000
            for trace in range(300):
                await running.send(request(trace, size=size))
            await until(lambda: sum(arrived(one).values()) == 900)
            await until(lambda: running.books.sent("file") == 900)
            assert running.health("exporter:otlp_http").status is Status.OK
            running.books.check("otlp_http", "file")
        assert arrived(one) == names(range(300))
        files = list(tmp_path.glob("copy*.jsonl"))  # noqa: ASYNC240 (nobody waits)
        assert len(files) >= 2
        lines = [line for file in files for line in file.read_bytes().splitlines()]
        assert Counter(span.name for span in spans_of(map(from_json, lines))) == names(range(300))
        assert list((tmp_path / "record").glob("*.zst"))
    finally:
        await one.stop()


async def test_a_date_to_come_back_at_is_not_believed_for_years(
    tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend whose clock, or ours, is ten years off: the wait is that of a long hint, not of ten years."""
    from otel_tracead.exporting import backoff

    monkeypatch.setattr(backoff, "_LONGEST_HINT", 0.2)
    one: Any = HttpBackend()
    await one.start()
    try:
        async with stage(tiny_artifact, exporter("otlp_http", at(one))) as running:
            later = datetime(2099, 1, 1, tzinfo=UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
            one.response = lambda: web.Response(status=503, headers={"Retry-After": later})
            await running.send(request(1))
            await until(lambda: running.books.total("otelcol_exporter_tracead_retries") == 2)
            one.response = web.Response
            await until(lambda: running.books.sent("otlp_http") == 3)
    finally:
        await one.stop()
