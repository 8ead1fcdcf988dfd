"""`python -m benchmarks`: measure, print the table, write it to docs/results/. Options also as BENCH_… variables."""

import gzip
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from benchmarks import report
from benchmarks.measure import Load, Run, run
from benchmarks.systems import SYSTEMS, System
from benchmarks.traffic import pack
from otel_tracead.generator import Scenario, requests, simulate
from otel_tracead.wire import otlp, otlp_json
from otel_tracead.wire.batch import Envelope
from otel_tracead.wire.otlp import Envelopes
from tools.peers import Unavailable

_ROOT = Path(__file__).parent.parent
# 2026-01-05, a Monday, 09:00 UTC: an ordinary hour of the simulated shop.
_START_UNIX_NANO = 1_767_603_600_000_000_000


def _simulated(seed: int) -> Iterator[tuple[Envelope, bytes]]:
    """The shop in an ordinary hour, without faults, as its services' SDKs export."""
    scenario = Scenario(seed=seed, start_unix_nano=_START_UNIX_NANO, duration_s=3600, traces_per_second=50)
    envelopes = Envelopes()
    for _, body in requests(simulate(scenario)):
        yield from otlp.decode_request(body, envelopes)


def _stored(paths: Iterable[Path]) -> Iterator[tuple[Envelope, bytes]]:
    """Spans of OTLP JSON lines, plain or gzipped, in the order of the files."""
    envelopes = Envelopes()
    for path in paths:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            for line in lines:
                yield from otlp_json.decode_request(line, envelopes)


def _chosen(names: tuple[str, ...]) -> list[System]:
    """The systems that were asked for and that this machine has."""
    chosen = []
    for system in SYSTEMS:
        if names and system.name not in names:
            continue
        try:
            system.available()
        except Unavailable as missing:
            click.echo(f"without {system.name}: {missing}", err=True)
        else:
            chosen.append(system)
    return chosen


@click.command(context_settings={"auto_envvar_prefix": "BENCH", "show_default": True})
@click.option("--system", "systems", multiple=True, type=click.Choice([system.name for system in SYSTEMS]))
@click.option("--rate", "rates", multiple=True, type=float, default=[20_000], help="spans a second")
@click.option("--per-request", "sizes", multiple=True, type=int, default=[512, 50], help="spans a request")
@click.option("--seconds", type=float, default=10, help="of each measured interval")
@click.option("--warm-up", type=float, default=3, help="seconds before it")
@click.option("--repeats", type=int, default=3)
@click.option("--spans", type=int, default=60_000, help="different spans; they are sent again with other trace ids")
@click.option("--input", "inputs", multiple=True, type=click.Path(path_type=Path, exists=True), help="OTLP JSON lines")
@click.option("--model", type=click.Path(path_type=Path, exists=True), default=_ROOT / "model_artifacts" / "shop")
@click.option("--output", type=click.Path(path_type=Path), default=_ROOT / "docs" / "results" / "cpu-per-span")
def main(
    systems: tuple[str, ...],
    rates: tuple[float, ...],
    sizes: tuple[int, ...],
    seconds: float,
    warm_up: float,
    repeats: int,
    spans: int,
    inputs: tuple[Path, ...],
    model: Path,
    output: Path,
) -> None:
    """Measure what a span costs; write OUTPUT.txt and OUTPUT.json."""
    machine = report.machine()
    pool = list(islice(_stored(inputs) if inputs else _simulated(seed=1), spans))
    runs: list[Run] = []
    bytes_per_span = {}
    with TemporaryDirectory(prefix="otel-tracead-bench-") as temporary:
        folder = Path(temporary)
        loads = []
        for size in sizes:
            traffic = pack(pool, size)
            bytes_per_span[size] = traffic.bytes_per_span
            path = folder / f"traffic-{size}.npz"
            traffic.save(path)
            loads += [
                Load(traffic=path, spans_per_request=size, rate=rate, seconds=seconds, warm_up=warm_up)
                for rate in rates
            ]
        chosen = _chosen(systems)
        for turn in range(repeats):
            for load in loads:
                for system in chosen:
                    measured = run(system, load, model, folder)
                    runs.append(measured)
                    click.echo(
                        f"{turn + 1}/{repeats}  {system.name:<24}{load.spans_per_request:>5} spans a request  "
                        f"{measured.cpu_us:6.2f} µs/span  lost {measured.lost}",
                        err=True,
                    )
    setting = report.Setting(
        command="python -m benchmarks " + " ".join(sys.argv[1:]),
        commit=report.commit(),
        machine=machine,
        traffic=f"{len(pool):,} spans of {', '.join(path.name for path in inputs) or 'the simulated shop'}",
        bytes_per_span=bytes_per_span,
        model=model.name,
        repeats=repeats,
    )
    text = report.as_text(setting, runs)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.with_suffix(".txt").write_text(text)
    output.with_suffix(".json").write_text(report.as_json(setting, runs))
    click.echo(f"\n{text}")
    if any(measured.lost for measured in runs):
        raise click.ClickException("spans were lost or doubled: see the column `lost`")


if __name__ == "__main__":
    main()
