"""The example, from its first run to a model that was learned from what it recorded."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from otel_tracead.traces.offline import gather
from otel_tracead.wire.files import expand, read_file
from tests.source_tree import ROOT
from tests.tiny_model import learned, write_artifact


def example(*arguments: object) -> list[str]:
    command = [sys.executable, str(ROOT / "examples/in_process.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_recorded_learned_and_found_again(tmp_path: Path) -> None:
    if not (ROOT / "model_artifacts/shop/model.onnx").exists():
        pytest.skip("model_artifacts/shop holds no model: `make model` trains it")
    (summary,) = example("--requests", 400, "--trouble", 0, "--record", tmp_path / "traffic")
    assert summary == "2000 spans, 400 traces unscored: unknown_traffic"
    traces = list(gather(batch for path in expand([str(tmp_path / "traffic")]) for _, batch in read_file(path)))
    assert len(traces) == 400
    write_artifact(tmp_path / "model", learned(traces))
    *found, summary = example("--requests", 100, "--trouble", 0.2, "--model", tmp_path / "model")
    spans = int(re.match(r"(\d+) spans, ", summary)[1])
    forgotten = 500 - spans
    assert forgotten > 3
    missing = [line for line in found if "shop reserve stock" in line]
    assert len(missing) > forgotten / 2  # a busy machine may stall another step of the same request for longer
    assert all(re.match(r"POST /checkout: (structural|both), ", line) for line in missing)
