"""`train --preset paper` from files to an artifact that `score` takes."""

import json
import subprocess
import sys

import numpy as np
import pytest
from tiny_model import shop_traces

from otel_tracead.artifact import folder
from otel_tracead.detection.detector import DetectionSettings, load_detector
from otel_tracead.wire.batch import group
from otel_tracead.wire.files import TraceFileWriter

pytestmark = pytest.mark.train
pytest.importorskip("torch", reason="training needs the extra `train` (make test-peers)")

QUICK = """
training: {epochs: 15, batch: 64, learning_rate: 0.01, traces_per_length: 40, device: cpu}
model: {units: 24}
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "otel_tracead", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def store(path, traces):
    with TraceFileWriter(path) as writer:
        for trace in traces:
            writer.write(group(trace.envelopes, trace.spans))
    return path


@pytest.fixture(scope="module")
def traffic(tmp_path_factory):
    return store(tmp_path_factory.mktemp("traffic") / "normal.pb", shop_traces(seed=11, duration_s=60.0))


def train(base, traffic, text=QUICK):
    base.mkdir(exist_ok=True)
    (base / "paper.yaml").write_text(text)
    options = ["--preset", "paper", "--config", str(base / "paper.yaml")]
    return run("train", "--input", str(traffic), "--output", str(base / "shop"), *options)


@pytest.fixture(scope="module")
def trained(traffic, tmp_path_factory):
    base = tmp_path_factory.mktemp("trained")
    done = train(base, traffic)
    assert done.returncode == 0, done.stderr
    return base / "shop", done


def test_the_artifact_is_whole_and_its_card_is_honest(trained):
    path, done = trained
    manifest = folder.load(path).manifest
    assert manifest.detector == "paper"
    assert manifest.labels.order == "start"
    assert manifest.thresholds == {"false_positive_rate": 0.01, "top_k": 3.0, "confidence": 0.95}
    assert manifest.network.architecture["join"] == "second"
    assert manifest.training["onnx_difference"] < 1e-4
    card = manifest.report_card
    # A detector that guesses has an AUC of 0.5 and finds as many as it marks.
    assert card.figures["auc"] > 0.7
    assert card.figures["recall"] > card.figures["clean_marked"] + 0.3
    assert card.figures["recall_replaced"] > 0.8
    assert not card.passed, "95 % per event mark far more than 1 % of the traces"
    assert any("normal traces" in reason for reason in card.reasons)
    assert "NOT passed" in done.stdout
    assert "stand behind the first 20" in done.stderr


def test_run_and_score_refuse_it_unless_told_otherwise(trained, traffic, tmp_path):
    refused = run("score", "--model", str(trained[0]), "--input", str(traffic), "--output", str(tmp_path / "a.jsonl"))
    assert refused.returncode == 1
    assert "require_report_card" in refused.stderr
    new = store(tmp_path / "new.pb", shop_traces(seed=12, duration_s=20.0))
    out = tmp_path / "scored.jsonl"
    options = ["--model", str(trained[0]), "--no-require-report-card"]
    scored = run("score", *options, "--input", str(new), "--output", str(out))
    assert scored.returncode == 0, scored.stderr
    keys = {
        attribute["key"]
        for line in out.read_text().splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
        for attribute in span.get("attributes", [])
    }
    assert {"tracead.anomaly.type", "tracead.trace.anomalous", "tracead.structure.rank"} <= keys
    assert "tracead.response_time.upper_ms" in keys


def test_most_events_of_new_normal_traces_pass(trained):
    detector = load_detector(trained[0], require_report_card=False, execution_provider="cpu")
    traces = shop_traces(seed=13, duration_s=40.0)
    marked = sum(len(verdict.spans) for verdict in detector.judge(traces))
    spans = sum(min(len(trace.spans), 20) - 1 for trace in traces)
    assert 0 < marked / spans < 0.15
    settings = DetectionSettings(top_k=5, confidence=0.9999)
    lenient = load_detector(trained[0], settings=settings, require_report_card=False, execution_provider="cpu")
    shares = [np.mean([verdict.anomalous for verdict in one.judge(traces)]) for one in (lenient, detector)]
    assert shares[0] < shares[1] < 0.9


def test_the_same_seed_and_input_give_the_same_artifact_but_for_its_time(trained, traffic, tmp_path):
    assert train(tmp_path, traffic).returncode == 0
    for name in (folder.NETWORK, folder.LABELS, folder.CALIBRATION, folder.REPORT):
        assert (tmp_path / "shop" / name).read_bytes() == (trained[0] / name).read_bytes(), name
    one, other = (json.loads((path / folder.MANIFEST).read_text()) for path in (tmp_path / "shop", trained[0]))
    assert {key for key in one if one[key] != other[key]} <= {"created", "digest"}


def test_bad_input_is_a_clear_error(tmp_path, traffic):
    few = train(tmp_path, store(tmp_path / "few.pb", shop_traces(seed=1, duration_s=1.0)))
    assert (few.returncode, "Traceback" in few.stderr) == (1, False)
    assert "too few" in few.stderr
    assert "traces of at least 4 spans" in few.stderr
    wrong = train(tmp_path, traffic, "model: {label_units: 3}")
    assert wrong.returncode == 1
    assert "model::label_units" in wrong.stderr
    assert not (tmp_path / "shop").exists()
