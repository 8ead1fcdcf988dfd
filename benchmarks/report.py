"""What was measured, as text and as JSON, with the machine and the commit."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import Run
from benchmarks.systems import SYSTEMS

# Beside what everything else is put: the Collector that only forwards.
REFERENCE = "collector-forward"
_HEADER = (
    f"{'system':<24}{'µs/span':>9}{'min-max':>14}{'ratio':>7}{'cores':>7}{'MiB':>7}"
    f"{'p50 ms':>8}{'p99 ms':>8}{'spans/s':>9}{'lost':>6}{'refused':>9}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How it was measured.

    Attributes:
        command: the command line.
        commit: of the checkout; ends in `-dirty` when files differed from it.
        machine: processor, its cores here, memory, kernel and Python.
        traffic: where the spans came from.
        bytes_per_span: by spans per request.
        model: the model of the stage that scored.
        repeats: of each system, taken in turns.
    """

    command: str
    commit: str
    machine: str
    traffic: str
    bytes_per_span: dict[int, float]
    model: str
    repeats: int


def commit() -> str:
    """Name the commit of the checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return done.stdout.strip() or "unknown"


def machine() -> str:
    """Describe the machine without naming it, and how busy others keep it: to be asked before the first run."""
    cpu = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?"
    )
    memory = next((int(line.split()[1]) / 2**20 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    cores = len(os.sched_getaffinity(0))
    return f"{cpu}, {cores} cores, {memory:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"


def header(module: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Say what was run, of which commit and where: to be asked before the first run."""
    command = " ".join(("python -m", module, *arguments))
    return {"command": command, "commit": commit(), "machine": machine()}


def write(place: Path, title: str, document: dict[str, Any], sections: Sequence[str]) -> None:
    """Write *sections* under *title* and a header to *place*.txt, and the whole *document* to *place*.json."""
    told = [f"{key:<9} {document[key]}" for key in ("command", "commit", "machine")]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.with_suffix(".txt").write_text("\n\n".join([title, "\n".join(told), *sections]).rstrip() + "\n")
    place.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")


def as_json(setting: Setting, runs: Sequence[Run]) -> str:
    """Write everything down, each run by itself."""
    document: dict[str, Any] = {**asdict(setting), "runs": [{**asdict(run), "lost": run.lost} for run in runs]}
    return json.dumps(document, indent=1) + "\n"


def as_text(setting: Setting, runs: Sequence[Run]) -> str:
    """Make the tables: medians over the repeats, and the ratio to the reference in the same run."""
    lines = [
        "CPU time a span of a pipeline stage: OTLP over gRPC in, OTLP over gRPC out, no compression",
        "",
        f"command   {setting.command}",
        f"commit    {setting.commit}",
        f"machine   {setting.machine}",
        f"traffic   {setting.traffic}",
        f"model     {setting.model}",
        f"repeats   {setting.repeats}, taken in turns; medians, ratio of the CPU time to {REFERENCE}'s",
    ]
    for size, rate in sorted({(run.spans_per_request, run.rate) for run in runs}, reverse=True):
        these = [run for run in runs if (run.spans_per_request, run.rate) == (size, rate)]
        bytes_per_span = setting.bytes_per_span[size]
        lines += [
            "",
            f"{size} spans a request, {rate:,.0f} spans a second, {bytes_per_span:.0f} bytes a span",
            "",
            _HEADER,
        ]
        reference = [run.cpu_us for run in these if run.system == REFERENCE]
        lines += [
            _row([run for run in these if run.system == system.name], median(reference) if reference else None)
            for system in SYSTEMS
            if any(run.system == system.name for run in these)
        ]
    lines += ["", *(f"{system.name:<24}{system.description}" for system in SYSTEMS)]
    lines += ["", _METHOD]
    return "\n".join(lines)


_METHOD = """\
µs/span: user and system time of the whole process with its threads and children, from the kernel, over the measured
interval and the silence after it, divided by the spans accepted in it. MiB: resident memory at its peak. p50, p99: until
a request was answered. spans/s: accepted; below what was asked for, the system could not follow. lost: accepted and not
come out, warm-up included (negative: came out twice). refused: requests that the sender was told to send again.
"""


def _row(runs: Sequence[Run], reference: float | None) -> str:
    cpu = [run.cpu_us for run in runs]
    spread = f"{min(cpu):.2f}-{max(cpu):.2f}"
    ratio = f"{median(cpu) / reference:.2f}" if reference else "-"
    return (
        f"{runs[0].system:<24}{median(cpu):>9.2f}{spread:>14}{ratio:>7}{median(run.cores for run in runs):>7.2f}"
        f"{median(run.rss_mib for run in runs):>7.0f}{median(run.p50_ms for run in runs):>8.1f}"
        f"{median(run.p99_ms for run in runs):>8.1f}{median(run.achieved for run in runs):>9.0f}"
        f"{sum(run.lost for run in runs):>6}{sum(run.refused for run in runs):>9}"
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
