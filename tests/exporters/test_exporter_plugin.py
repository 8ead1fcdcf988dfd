"""The plug-in of the examples, from its own wheel; what a broken one does to the others, and two of one name."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_tracead.cli import invoke
from otel_tracead.component import Kind
from otel_tracead.service.registry import EXPORTER_GROUP, Registry
from tests.exporters.sdk_exporters import install
from tests.receivers.samples import otlp_json
from tests.source_tree import ROOT
from tools.peers import Process, free_port
from tools.peers.process import HOST, listening

EXAMPLE = ROOT / "examples" / "exporter-plugin"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the wheel of the example is installed."""
    folder = tmp_path_factory.mktemp("plugin")
    source, wheels, installed = folder / "source", folder / "wheels", folder / "site"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels), str(source)]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = wheels.iterdir()
    subprocess.run([*pip, "--target", str(installed), str(wheel)], check=True, capture_output=True)
    return installed


@pytest.fixture
def tracead(
    site: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The commands, with the plug-in installed; gives exit code, stdout and stderr."""
    monkeypatch.syspath_prepend(site)

    def call(*arguments: object) -> tuple[int, str, str]:
        code = invoke(list(map(str, arguments)))
        return (code, *capfd.readouterr())

    return call


def stage(folder: Path, exporters: dict[str, Any], metrics: int = 0) -> Path:
    document = {
        "receivers": {"otlpjsonfile": {"include": [str(folder / "*.jsonl")], "start_at": "beginning"}},
        "exporters": exporters,
        "service": {
            "telemetry": {
                "metrics": {"readers": [{"pull": {"exporter": {"prometheus": {"host": HOST, "port": metrics}}}}]}
            },
            "pipelines": {"traces": {"receivers": ["otlpjsonfile"], "exporters": list(exporters)}},
        },
    }
    path = folder / "stage.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_the_example_is_found_and_validated(tracead, tmp_path: Path) -> None:
    code, listed, errors = tracead("components")
    assert (code, errors) == (0, "")
    exporters = {found["name"]: found["module"] for found in yaml.safe_load(listed)["exporters"]}
    assert exporters["names"] == "tracead_names_exporter v1.0"
    assert tracead("validate", "--config", stage(tmp_path, {"names": {"path": "names"}})) == (0, "", "")
    code, _, errors = tracead("validate", "--config", stage(tmp_path, {"names": {"paths": "names"}}))
    assert code == 1
    assert "exporters::names: " in errors
    assert "paths" in errors


def test_the_example_gets_spans_and_so_does_the_sdks_console(site: Path, tmp_path: Path) -> None:
    (tmp_path / "traces.jsonl").write_bytes(otlp_json(3, "an operation") + b"\n")
    metrics, written, log = free_port(), tmp_path / "names", tmp_path / "log"
    config = stage(tmp_path, {"names": {"path": str(written)}, "sdk": {"exporter": "console"}}, metrics)
    command = [sys.executable, "-m", "otel_tracead", "run", "--config", config]
    env = {**os.environ, "PYTHONPATH": str(site)}
    with Process(command, log=log, ready=listening(metrics), env=env) as running:
        deadline = time.monotonic() + 20
        while not (written.exists() and log.read_text().count('"an operation"') == 3):
            assert time.monotonic() < deadline, running.tail()
            time.sleep(0.05)
        assert running.stop() == 0, running.tail()
    assert written.read_text() == "shop an operation\n" * 3
    assert '"service.name": "shop"' in log.read_text()  # as the SDK's console exporter prints it


def test_a_broken_one_is_named_and_hides_no_other(tracead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken"
    install(broken, monkeypatch, EXPORTER_GROUP, "broken-exporter", broken="broken_exporter:FACTORY")
    (broken / "broken_exporter.py").write_text("import no_such_library\n")
    code, listed, errors = tracead("components")
    assert code == 1
    assert "Error: exporter \"broken\" cannot be loaded: No module named 'no_such_library'" in errors
    assert "names" in {found["name"] for found in yaml.safe_load(listed)["exporters"]}
    assert tracead("validate", "--config", stage(tmp_path, {"names": {"path": "names"}})) == (0, "", "")
    code, _, errors = tracead("validate", "--config", stage(tmp_path, {"broken": {}}))
    assert code == 1
    assert "no_such_library" in errors


def test_two_of_one_name_are_refused_and_the_others_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("one", "two"):
        install(tmp_path / package, monkeypatch, EXPORTER_GROUP, package, twin=f"{package}:FACTORY")
    install(tmp_path / "three", monkeypatch, EXPORTER_GROUP, "three", debug="otel_tracead_exporters.debug:FACTORY")
    found = Registry()
    assert "twin" in found.names(Kind.EXPORTER)
    with pytest.raises(ImportError, match="several packages offer it: one:FACTORY, two:FACTORY; uninstall all but one"):
        found.find(Kind.EXPORTER, "twin")
    assert found.find(Kind.EXPORTER, "debug")  # twice the same is once
    assert found.find(Kind.EXPORTER, "otlphttp")  # an alias, found past the twins
