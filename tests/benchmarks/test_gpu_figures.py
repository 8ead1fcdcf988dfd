"""The benchmark of the GPU where there is none: what it says, and its way through on a stand-in."""

import json
import math

import pytest
from click.testing import CliRunner

from benchmarks import gpu, gpu_network
from benchmarks.gpu import Target
from benchmarks.measure import Run
from benchmarks.nvidia import Busy, samples
from benchmarks.spans import simulated
from otel_tracead.detection import onnx_sessions
from tests.detection.host_device import cuda_on_host


def test_without_a_gpu_it_says_so_in_one_line(monkeypatch):
    monkeypatch.setattr("otel_tracead.detection.cuda.has_driver", lambda: False)
    done = CliRunner().invoke(gpu.main, [])
    assert done.exit_code == 1
    assert done.output == "No GPU to measure: there is no driver of NVIDIA here (libcuda.so.1).\n"


def test_what_nvidia_smi_says_is_read():
    said = "0, 512\n13, 1040\n[N/A], 1040\n7, 10\n0, 1"
    assert list(samples(said)) == [(0, 512), (13, 1040), (7, 10), (0, 1)]
    assert Busy([0, 0, 20, 0, 10, 0]).percent_at_work == 10
    assert math.isnan(Busy([0]).percent_at_work)


def test_a_target_says_whether_it_is_kept():
    assert Target("spans/s", 12e6, 10e6, at_least=True).held
    assert "MISSED" in Target("ratio", 1.2, 1.15).words
    assert Target("ratio", 1.15, 1.15).words.endswith("kept")


def measured(name, cpu_us):
    return Run(
        system=name,
        spans_per_request=512,
        rate=1,
        achieved=1,
        cpu_us=cpu_us,
        cores=1,
        rss_mib=1,
        sent=9,
        received=9,
        refused=0,
        p50_ms=1,
        p99_ms=1,
    )


@pytest.fixture
def on_host(monkeypatch):
    cuda, _ = cuda_on_host()
    monkeypatch.setattr(onnx_sessions, "cuda", cuda)
    monkeypatch.setattr(gpu_network, "_LARGE", 16)
    monkeypatch.setattr(gpu, "_SIZES", (1, 4))
    monkeypatch.setattr(gpu, "missing", lambda: "")
    monkeypatch.setattr(gpu, "gpu", lambda: "stand-in, 80 GiB, driver 0")
    monkeypatch.setattr(gpu, "source", lambda inputs, model: simulated())
    monkeypatch.setattr(
        gpu, "stage", lambda *_: ([measured("tracead", 6.0), measured("tracead-instant", 5.0)], [10.0, 12.0, 14.0])
    )
    monkeypatch.setattr(gpu, "trainings", lambda place: [("train --preset default on x", 61.0)])


def test_the_whole_way_on_a_stand_in(on_host, tmp_path):
    place = tmp_path / "gpu"
    done = CliRunner().invoke(gpu.main, ["--seconds", "0.05", "--spans", "2000", "--output", str(place)])
    assert done.exit_code == 0, done.output
    found = json.loads(place.with_suffix(".json").read_text())
    assert {target["name"]: target["held"] for target in found["targets"]} == {
        "network alone, large runs, spans/s": False,
        "stage on CUDA / with an instant network, CPU a span": False,
        "GPU's time meanwhile, %": True,
        "traces whose verdict is another than the CPU's, %": True,
        "train --preset default on x, s": False,
    }
    assert [(cost["provider"], cost["traces"]) for cost in found["costs"]] == [
        ("cuda", 1),
        ("cuda", 4),
        ("cpu", 1),
        ("cpu", 4),
    ]
    assert found["agreement"]["different"] == 0
    assert found["agreement"]["traces"] > 20
    assert found["gpu"] == "stand-in, 80 GiB, driver 0"
    text = place.with_suffix(".txt").read_text()
    assert "MISSED" in text
    assert "with packing and reading of results" in text
