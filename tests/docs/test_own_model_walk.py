"""The way to a model of one's own, as its page has it: every command is run, on other ports and with less traffic."""

import os
import re
import sys
from pathlib import Path

import pytest

from tests.docs.walk import blocks, walk
from tests.source_tree import ROOT
from tools.peers import free_port

PAGE = ROOT / "docs/own-model.md"
SMALLER = {"--duration 30m": "--duration 6m", "--duration 10m": "--duration 4m"}


def test_the_page_has_what_the_walk_replaces():
    text = "".join(block.body for block in blocks(PAGE))
    assert all(old in text for old in (*SMALLER, "localhost:4317", "localhost:13133", "run --config stage.yaml"))


@pytest.mark.train
@pytest.mark.peers
@pytest.mark.slow
def test_the_page_can_be_walked(tmp_path):
    pytest.importorskip("torch")
    ports = {"localhost:4317": f"localhost:{free_port()}", "localhost:13133": f"localhost:{free_port()}"}
    quiet = {"run --config stage.yaml": "run --config stage.yaml --set service.telemetry.metrics.level=none"}
    (yaml,) = (block.body for block in blocks(PAGE) if block.language == "yaml")
    for old, new in ports.items():
        yaml = yaml.replace(old, new)
    (tmp_path / "stage.yaml").write_text(yaml)
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    steps = walk(PAGE, tmp_path, {**ports, **quiet, **SMALLER}, env, patience=500)
    output = {step.section: step.output for step in steps}
    assert (tmp_path / "my-model/report.html").exists()
    assert re.search(r"model loaded.*my-model", (tmp_path / "step-0").read_text())
    assert int(output["Put it to work"].split()[-1]) > 0
    for step in steps:
        print(f"{step.section}: {step.seconds:.0f} s")  # noqa: T201 (for the page's table)
