"""ONNX Runtime's own CUDA provider on no device: what it takes, copies and waits for, and what it says when it fails."""

import json
import os
import subprocess
import sys

import pytest

from tests import cuda_stand_in
from tests.source_tree import ROOT

pytestmark = pytest.mark.skipif(cuda_stand_in.unavailable() != "", reason=cuda_stand_in.unavailable() or "-")
BUNDLED = ROOT / "model_artifacts" / "shop" / "model.onnx"


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    return cuda_stand_in.build(tmp_path_factory.mktemp("cuda"))


@pytest.fixture(scope="module")
def found(libraries):
    command = [sys.executable, "-m", "tests.cuda_stand_in.walk", str(BUNDLED)]
    env = {**os.environ, "LD_LIBRARY_PATH": str(libraries)}
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_cuda_takes_every_node_and_nothing_is_copied_between_providers(found):
    assert list(found["placed"]) == ["CUDAExecutionProvider"]
    assert not {"MemcpyFromHost", "MemcpyToHost"} & set(found["placed"]["CUDAExecutionProvider"])


@pytest.mark.parametrize("rows", [16, 128])
def test_inputs_and_outputs_are_not_copied_and_nobody_spins(found, rows):
    run = found[f"run of {rows}"]
    assert run["device_waits"] == 0
    assert run["event_waits"] == 1
    assert run["pinned"] <= 1  # what ONNX Runtime hands to its own kernels
    # What is left: lengths and addresses for cuDNN's layers and for splitting, and copies within the device.
    assert run["copied"] < run["bytes of input"] / 2
    assert run["launches"] < 100


def test_copies_do_not_become_more_with_rows(found):
    assert found["run of 16"]["copies"] == found["run of 128"]["copies"]


def test_a_stream_waits_once_a_run(found):
    assert found["stream of 5"]["event_waits"] == 5
    assert found["stream of 5"]["device_waits"] == 0


def test_a_run_without_memory_is_made_in_halves_on_cuda(found):
    step = found["without memory"]
    assert step["rows"] == 600
    assert step["most"] is not None
    assert (step["execution_provider"], step["trouble"]) == ("cuda", "")


def test_a_device_that_fails_leaves_it_to_the_cpu(found):
    step = found["failed"]
    assert step["equal"]
    assert step["execution_provider"] == "cpu"
    assert "illegal memory access" in step["trouble"]


def test_a_device_that_has_failed_is_not_taken_again(found):
    assert found["loaded after"]["execution_provider"] == "cpu"
    assert "illegal memory access" in found["loaded after"]["trouble"]


def test_numbers_that_the_cpu_does_not_confirm_are_not_taken(found):
    assert found["unconfirmed"]["execution_provider"] == "cpu"
    assert "off what the CPU says" in found["unconfirmed"]["trouble"]
