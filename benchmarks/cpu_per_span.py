"""`python -m benchmarks.cpu_per_span`: what a span costs in CPU time, for our stage and for others in the same place, in one run.

Options also as BENCH_… variables.
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from benchmarks import cpu_table, plots, report
from benchmarks.measure import Load, Run, rate_of, run
from benchmarks.spans import Source, source
from benchmarks.systems import REFERENCES, SYSTEMS, System, missing
from benchmarks.traffic import Protocol, pack

_TITLES = {
    Protocol.OTLP: "CPU time a span of a pipeline stage: OTLP over gRPC in, OTLP over gRPC out, no compression",
    Protocol.ZIPKIN: "CPU time a span of a pipeline stage: Zipkin JSON over HTTP in, OTLP over gRPC out, no compression",
}
_NAMES = {Protocol.OTLP: "cpu-per-span", Protocol.ZIPKIN: "cpu-per-span-zipkin"}


def chosen(names: Sequence[str], takes: Protocol) -> list[System]:
    """Give the systems that take *takes*, those named or the usual ones, and that this machine has."""
    found = []
    for system in SYSTEMS:
        if system.takes is not takes or (system.name not in names if names else not system.usual):
            continue
        if reason := missing(system):
            click.echo(f"without {system.name}: {reason}", err=True)
        else:
            found.append(system)
    return found


def packed(
    origin: Source, spans: int, sizes: Sequence[int], takes: Protocol, folder: Path
) -> dict[int, tuple[Path, float]]:
    """Pack up to *spans* spans for each size of a request; gives files and bytes a span."""
    pool = origin.spans(spans)
    found = {}
    for size in sizes:
        traffic = pack(pool, size, takes)
        path = folder / f"{takes}-{size}.npz"
        traffic.save(path)
        found[size] = (path, traffic.bytes_per_span)
    return found


@click.command(context_settings={"auto_envvar_prefix": "BENCH", "show_default": True})
@click.option("--takes", type=click.Choice([one.value for one in Protocol]), default="otlp", help="what comes in")
@click.option("--system", "systems", multiple=True, type=click.Choice([system.name for system in SYSTEMS]))
@click.option("--rate", "rates", multiple=True, default=["50000", "max"], help="spans a second, or max for full speed")
@click.option("--per-request", "sizes", multiple=True, type=int, default=[512, 50], help="spans a request")
@click.option("--seconds", type=float, default=3, help="of each measured interval")
@click.option("--warm-up", type=float, default=1, help="seconds before it")
@click.option("--repeats", type=int, default=3)
@click.option("--spans", type=int, default=60_000, help="different spans; they are sent again with other trace ids")
@click.option("--input", "inputs", multiple=True, type=click.Path(path_type=Path, exists=True), help="OTLP JSON lines")
@click.option("--model", type=click.Path(path_type=Path, exists=True), help="of these spans")
@click.option("--output", type=click.Path(path_type=Path), help="without its ending; by default under docs/results")
def main(
    takes: str,
    systems: tuple[str, ...],
    rates: tuple[str, ...],
    sizes: tuple[int, ...],
    seconds: float,
    warm_up: float,
    repeats: int,
    spans: int,
    inputs: tuple[Path, ...],
    model: Path | None,
    output: Path | None,
) -> None:
    """Measure what a span costs; write OUTPUT.txt, OUTPUT.json and OUTPUT.svg.

    Real spans under $TRACEAD_DATA are taken where there is a model of them in build/online-boutique (`make bench-model`),
    else those of the simulated shop.
    """
    told = report.header("benchmarks.cpu_per_span", sys.argv[1:])
    protocol = Protocol(takes)
    origin = source(inputs, model)
    runs: list[Run] = []
    with TemporaryDirectory(prefix="otel-tracead-bench-") as temporary:
        folder = Path(temporary)
        files = packed(origin, spans, sizes, protocol, folder)
        loads = [
            Load(traffic=files[size][0], spans_per_request=size, rate=rate, seconds=seconds, warm_up=warm_up)
            for size in sizes
            for rate in map(rate_of, rates)
        ]
        subjects = chosen(systems, protocol)
        turns = [
            (turn, load, system)
            for turn in range(repeats)
            for load in loads
            for system in subjects
            if load.rate < math.inf or system.at_full_speed
        ]
        for done, (turn, load, system) in enumerate(turns, 1):
            measured = run(system, load, origin.model, folder)
            runs.append(measured)
            words = cpu_table.Setting(protocol, load.spans_per_request, load.rate).words
            click.echo(
                f"[{done}/{len(turns)}] turn {turn + 1}  {system.name:<24}{words:<46}"
                f"{measured.cpu_us:6.2f} µs/span  lost {measured.lost}",
                err=True,
            )
    sizes_of = {f"{takes}/{size}": bytes_per_span for size, (_, bytes_per_span) in files.items()}
    lost = cpu_table.lost(runs)
    document = {
        **told,
        "traffic": origin.words(spans),
        "model": origin.model.name,
        "repeats": repeats,
        "bytes_per_span": sizes_of,
        "medians": cpu_table.medians(runs),
        "ratios": cpu_table.ratios(runs),
        "lost": lost["ours"],
        "lost by peers": lost["peers"],
        "runs": cpu_table.as_json(runs),
    }
    setting = (
        f"traffic   {document['traffic']}\nmodel     {document['model']}\n"
        f"repeats   {repeats}, taken in turns; medians, ratio of the CPU time to {REFERENCES[protocol]}'s"
    )
    place = output or report.RESULTS / (_NAMES[protocol] + ("-real" if origin.real else ""))
    plots.bars(place, cpu_table.panels(runs), "CPU µs a span")
    sections = [setting, *cpu_table.tables(runs, sizes_of), cpu_table.METHOD]
    trouble = "spans were lost or doubled: see the column `lost`" if lost["ours"] else ""
    report.conclude(place, _TITLES[protocol], document, sections, trouble)


if __name__ == "__main__":
    main()
