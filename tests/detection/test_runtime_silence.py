"""ONNX Runtime keeps to itself what it sees: no identity of the machine and no events are kept for an upload."""

import os
import subprocess
import sys

from tests.source_tree import ROOT

_LOAD = """
import sys, time
from pathlib import Path
from otel_tracead.detection.detector import DetectionSettings, load_detector
load_detector(Path(sys.argv[1]), settings=DetectionSettings(), execution_provider="cpu", require_report_card=False)
time.sleep(1)
"""


def _load(home, **more):
    # On a build server it is silent by itself, and so it is where somebody asked for it.
    kept = {
        key: value for key, value in os.environ.items() if key not in {"CI", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"}
    }
    command = [sys.executable, "-c", _LOAD, str(ROOT / "model_artifacts/shop")]
    return {"args": command, "env": {**kept, "HOME": str(home), **more}}


def test_nothing_is_kept_for_an_upload(tmp_path):
    done = subprocess.run(**_load(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name.lower()] == []
