"""`python -m benchmarks.training`: how long the default model takes to train on the real traces, on the CPU.

Writes the model where the other benchmarks look for it. Needs the real traces and PyTorch.
"""

import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click

from benchmarks import report
from benchmarks.spans import REAL_MODEL
from benchmarks.targets.traffic import folder as real_traces

_SYSTEM: Final = "online_boutique"
_ON_THE_CPU: Final = "training: {device: cpu}\n"


def train(traces: Path, model: Path, place: Path) -> dict[str, float]:
    """Train in a process of its own; gives seconds of the clock and of the CPU, and MiB at the peak.

    Raises:
        CalledProcessError: it failed.
    """
    config = place / "train.yaml"
    config.write_text(_ON_THE_CPU)
    shutil.rmtree(model, ignore_errors=True)
    words = ["train", "--input", str(traces), "--output", str(model), "--config", str(config)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "otel_tracead", *words], check=True, stdin=subprocess.DEVNULL)
    seconds = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"training_seconds": seconds, "cpu_seconds": cpu, "peak_mib": after.ru_maxrss / 1024}


@click.command(context_settings={"show_default": True})
@click.option("--model", type=click.Path(path_type=Path), default=REAL_MODEL, help="where it is written; replaced")
@click.option("--output", type=click.Path(path_type=Path), default=report.RESULTS / "training")
def main(model: Path, output: Path) -> None:
    """Train and take the time; write OUTPUT.txt and OUTPUT.json."""
    if not (real_traces() / _SYSTEM).is_dir():
        raise click.ClickException(f"there are no real traces under {real_traces()}: set TRACEAD_DATA")
    told = report.header("benchmarks.training", sys.argv[1:])
    with TemporaryDirectory(prefix="otel-tracead-bench-") as temporary:
        traces = Path(temporary) / f"{_SYSTEM}.jsonl.zst"
        subprocess.run([sys.executable, "-m", "benchmarks.normal_traces", _SYSTEM, str(traces)], check=True)
        found = train(traces, model, Path(temporary))
    cores = len(os.sched_getaffinity(0))
    document: dict[str, Any] = {**told, "system": _SYSTEM, "cores": cores, **found}
    rows = (
        f"`otel-tracead train` on the normal minutes of {_SYSTEM}, {cores} CPU cores",
        f"{'seconds':<16}{found['training_seconds']:>8.0f}",
        f"{'CPU seconds':<16}{found['cpu_seconds']:>8.0f}",
        f"{'MiB at its peak':<16}{found['peak_mib']:>8.0f}",
    )
    report.conclude(output, "Training of the default model", document, ["\n".join(rows)])


if __name__ == "__main__":
    main()
