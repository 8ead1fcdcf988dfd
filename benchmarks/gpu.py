"""`python -m benchmarks.gpu`: what CUDA is worth, on a machine that has it; elsewhere it says so and ends with 1.

The network alone, the whole stage beside the same one with an instant network, the GPU's time, verdicts beside the CPU's,
and training. Options also as BENCH_… variables.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import click

from benchmarks import report
from benchmarks.gpu_network import Cost, Network, agreement
from benchmarks.measure import Load, Run, run
from benchmarks.nvidia import gpu, watched
from benchmarks.spans import Source, source
from benchmarks.systems import named
from benchmarks.targets.traffic import folder as real_traces
from benchmarks.traffic import Protocol, pack
from otel_tracead.detection import cuda

_SIZES: Final = (1, 16, 128, 1024, 4096)  # traces in a run
_SYSTEMS: Final = ("tracead", "tracead-instant")
_CUDA: Final = {"BENCH_PROVIDER": "cuda"}
_PAPER: Final = "training: {epochs: 400, patience: 400}\n"  # the paper does not stop early


@dataclass(frozen=True, slots=True)
class Target:
    """A number that was promised.

    Attributes:
        name: what it is of.
        found: what was measured.
        bound: what was promised.
        at_least: whether more is better.
    """

    name: str
    found: float
    bound: float
    at_least: bool = False

    @property
    def held(self) -> bool:
        """Whether it is kept."""
        return self.found >= self.bound if self.at_least else self.found <= self.bound

    @property
    def words(self) -> str:
        """One line."""
        sign = ">=" if self.at_least else "<="
        return f"{self.name:<58}{self.found:>16,.2f}   {sign} {self.bound:<14,.2f}{'kept' if self.held else 'MISSED'}"


def stage(origin: Source, load: Load, place: Path, repeats: int) -> tuple[list[Run], list[float]]:
    """Measure the stage on CUDA and with an instant network, in turns; gives the GPU's time of the former, too."""
    runs, busy = [], []
    for turn in range(repeats):
        for name in _SYSTEMS:
            with watched() as seen:
                runs.append(run(named(name), load, origin.model, place, _CUDA))
            if name == "tracead":
                busy.append(seen.percent_at_work)
            click.echo(
                f"[{turn + 1}/{repeats}] {name:<18}{runs[-1].cpu_us:6.2f} µs/span  lost {runs[-1].lost}", err=True
            )
    return runs, busy


def trainings(place: Path) -> Iterator[tuple[str, float]]:
    """Train on Online Boutique where its traces are, else on the simulated shop, and give how many seconds each took."""
    traces, system = place / "normal.jsonl.zst", "online_boutique"
    if (real_traces() / system).is_dir():
        _module("benchmarks.normal_traces", system, str(traces))
    else:
        system = "the simulated shop"
        _module("otel_tracead", "generate", "--duration", "8m", "--seed", "1", "--output", str(traces))
    (place / "paper.yaml").write_text(_PAPER)
    for preset, more in (("default", []), ("paper", ["--config", str(place / "paper.yaml")])):
        begun = time.perf_counter()
        _module(
            "otel_tracead", "train", "--input", str(traces), "--output", str(place / preset), "--preset", preset, *more
        )
        yield f"train --preset {preset} on {system}", time.perf_counter() - begun


def _module(name: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", name, *arguments], check=True, stdout=subprocess.DEVNULL)


def missing() -> str:
    """Say why nothing can be measured here, if so."""
    if not cuda.has_driver():
        return "there is no driver of NVIDIA here (libcuda.so.1)"
    return "" if gpu() else "nvidia-smi finds no GPU here"


@click.command(context_settings={"auto_envvar_prefix": "BENCH", "show_default": True})
@click.option("--rate", type=float, default=50_000, help="spans a second through the stage")
@click.option("--per-request", type=int, default=512, help="spans a request")
@click.option("--seconds", type=float, default=10, help="of each measured interval")
@click.option("--repeats", type=int, default=3)
@click.option("--spans", type=int, default=60_000, help="different spans; they are sent again with other trace ids")
@click.option("--input", "inputs", multiple=True, type=click.Path(path_type=Path, exists=True), help="OTLP JSON lines")
@click.option("--model", type=click.Path(path_type=Path, exists=True), help="of these spans")
@click.option("--train/--no-train", default=True, help="needs PyTorch")
@click.option("--output", type=click.Path(path_type=Path), default=report.RESULTS / "gpu", help="without its ending")
def main(
    rate: float,
    per_request: int,
    seconds: float,
    repeats: int,
    spans: int,
    inputs: tuple[Path, ...],
    model: Path | None,
    train: bool,
    output: Path,
) -> None:
    """Measure; write OUTPUT.txt and OUTPUT.json."""
    if reason := missing():
        click.echo(f"No GPU to measure: {reason}.", err=True)
        raise SystemExit(1)
    told = report.header("benchmarks.gpu", sys.argv[1:])
    origin = source(inputs, model)
    network = Network(origin.model)
    sessions = [network.session("cuda"), network.session("cpu")]
    alone = network.spans_a_second(sessions[0], seconds)
    scored = network.scored_a_second("cuda", seconds)
    costs = [cost for session in sessions for cost in network.costs(session, _SIZES)]
    agreed = agreement(origin, spans, ("cpu", "cuda"))
    with TemporaryDirectory(prefix="otel-tracead-bench-") as temporary:
        place = Path(temporary)
        traffic = pack(origin.spans(spans), per_request, Protocol.OTLP)
        traffic.save(place / "traffic.npz")
        load = Load(traffic=place / "traffic.npz", spans_per_request=per_request, rate=rate, seconds=seconds, warm_up=3)
        runs, busy = stage(origin, load, place, repeats)
        took = dict(trainings(place)) if train else {}
    cpu_us = {name: median(one.cpu_us for one in runs if one.system == name) for name in _SYSTEMS}
    ratio = cpu_us["tracead"] / cpu_us["tracead-instant"]
    targets = [
        Target("network alone, large runs, spans/s", alone, 10e6, at_least=True),
        Target("stage on CUDA / with an instant network, CPU a span", ratio, 1.15),
        Target("GPU's time meanwhile, %", median(busy), 20),
        Target("traces whose verdict is another than the CPU's, %", 100 * agreed.different / agreed.traces, 0.1),
        *(Target(f"{name}, s", used, 300 if "paper" in name else 60) for name, used in took.items()),
    ]
    document: dict[str, Any] = {
        **told,
        "gpu": gpu(),
        "traffic": origin.words(spans),
        "model": origin.model.name,
        "targets": [asdict(target) | {"held": target.held} for target in targets],
        "scored_a_second": scored,
        "costs": [asdict(cost) for cost in costs],
        "agreement": asdict(agreed),
        "runs": [asdict(one) for one in runs],
        "gpu_percent": busy,
        "training_s": took,
        "ratios": {"stage on CUDA / instant": ratio},
        "lost": sum(abs(one.lost) for one in runs),
    }
    setting = "\n".join(f"{key:<9} {document[key]}" for key in ("gpu", "traffic", "model"))
    trouble = "spans were lost or doubled" if document["lost"] else ""
    report.conclude(
        output, "Scoring and training on CUDA", document, [setting, *_sections(document, targets, costs)], trouble
    )


def _sections(document: dict[str, Any], targets: list[Target], costs: list[Cost]) -> Iterator[str]:
    yield "\n".join(target.words for target in targets)
    lines = ["one run, traces of 45 spans", f"{'provider':<10}{'traces':>8}{'CPU µs':>10}{'µs':>10}{'CPU µs/span':>14}"]
    lines += [
        f"{cost.provider:<10}{cost.traces:>8}{cost.cpu_us:>10.0f}{cost.wall_us:>10.0f}{cost.cpu_us_span:>14.3f}"
        for cost in costs
    ]
    yield "\n".join(lines)
    agreed = document["agreement"]
    yield (
        f"with packing and reading of results, one thread: {document['scored_a_second']:,.0f} spans/s\n"
        f"verdicts beside the CPU's: {agreed['traces']} traces, {agreed['anomalous']} anomalous, {agreed['different']} "
        f"different; largest difference of a score {agreed['score']:.4f} decades"
    )


if __name__ == "__main__":
    main()
