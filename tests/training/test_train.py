"""Training from files to an artifact, with PyTorch: quality, repeatability, and what bad input gets."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from tiny_model import shop_traces

from otel_tracead.artifact import folder
from otel_tracead.detection.detector import load_detector
from otel_tracead.wire.batch import group
from otel_tracead.wire.files import TraceFileWriter

pytestmark = pytest.mark.train
pytest.importorskip("torch", reason="training needs the extra `train` (make test-peers)")

QUICK = "training: {steps: 120, folds: 2, device: cpu}\nmodel: {label_units: 16, time_units: 16}\n"


def train(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "otel_tracead", "train", *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def traffic(tmp_path_factory):
    path = tmp_path_factory.mktemp("traffic") / "normal.pb.zst"
    with TraceFileWriter(path) as writer:
        for trace in shop_traces(seed=11, duration_s=90.0):
            writer.write(group(trace.envelopes, trace.spans))
    return path


@pytest.fixture(scope="module")
def trained(traffic, tmp_path_factory):
    base = tmp_path_factory.mktemp("trained")
    (base / "quick.yaml").write_text(QUICK)
    done = train("--input", str(traffic), "--output", str(base / "shop"), "--config", str(base / "quick.yaml"))
    assert done.returncode == 0, done.stderr
    return base / "shop", done


def test_the_artifact_is_whole_and_its_card_says_what_was_found(trained) -> None:
    path, done = trained
    manifest = folder.load(path).manifest
    card = manifest.report_card
    assert card.passed, card.reasons
    assert "report card is passed" in done.stdout
    assert "\x1b" not in done.stderr, "no progress in a pipe"
    assert manifest.training["onnx_difference"] < 1e-4
    # Floors that a detector which guesses (recall = false alarms, AUC 0.5) fails by far.
    assert card.figures["auc"] > 0.9
    assert card.figures["clean_marked"] <= 0.03
    for kind in ("replaced", "extra", "swapped", "stall"):
        assert card.figures[f"recall_{kind}"] > 0.7, kind


def test_the_detector_separates_new_normal_traces_from_faulty_ones(trained) -> None:
    detector = load_detector(trained[0], execution_provider="cpu")
    verdicts = detector.judge(shop_traces(seed=12, duration_s=60.0))
    assert np.mean([verdict.anomalous for verdict in verdicts]) < 0.05
    assert all(verdict.unscored is None for verdict in verdicts)


def test_the_same_seed_and_input_give_the_same_artifact_but_for_its_time(trained, traffic, tmp_path) -> None:
    (tmp_path / "quick.yaml").write_text(QUICK)
    again = tmp_path / "shop"
    assert (
        train("--input", str(traffic), "--output", str(again), "--config", str(tmp_path / "quick.yaml")).returncode == 0
    )
    for name in (folder.NETWORK, folder.LABELS, folder.CALIBRATION, folder.REPORT):
        assert (again / name).read_bytes() == (trained[0] / name).read_bytes(), name
    one, other = (json.loads((path / folder.MANIFEST).read_text()) for path in (again, trained[0]))
    assert {key for key in one if one[key] != other[key]} <= {"created", "digest"}


def test_bad_input_is_a_clear_error(tmp_path, traffic) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    nothing = train("--input", str(empty), "--output", str(tmp_path / "m"))
    assert (nothing.returncode, "Traceback" in nothing.stderr) == (1, False)
    assert "empty" in nothing.stderr
    cut = tmp_path / "cut.pb.zst"
    cut.write_bytes(traffic.read_bytes()[:-200])
    broken = train("--input", str(cut), "--output", str(tmp_path / "m"))
    assert (broken.returncode, "Traceback" in broken.stderr) == (1, False)
    assert "cut.pb.zst:" in broken.stderr
    (tmp_path / "bad.yaml").write_text("training: {epoch: 3}\n")
    wrong = train("--input", str(traffic), "--output", str(tmp_path / "m"), "--config", str(tmp_path / "bad.yaml"))
    assert wrong.returncode == 1
    assert "training::epoch" in wrong.stderr
    assert not (tmp_path / "m").exists()
    few = tmp_path / "few.pb"
    with TraceFileWriter(few) as writer:
        for trace in shop_traces(seed=1, duration_s=1.0)[:10]:
            writer.write(group(trace.envelopes, trace.spans))
    little = train("--input", str(few), "--output", str(tmp_path / "m"))
    assert little.returncode == 1
    assert "too few" in little.stderr


def test_a_changed_artifact_is_refused(trained, tmp_path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained[0], copy)
    network = bytearray((copy / folder.NETWORK).read_bytes())
    network[100] ^= 1
    (copy / folder.NETWORK).write_bytes(bytes(network))
    with pytest.raises(folder.ArtifactError, match="checksum"):
        load_detector(copy)
