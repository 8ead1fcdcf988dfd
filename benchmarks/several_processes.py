"""`python -m benchmarks.several_processes`: what a span costs when the load is shared by several processes of one machine.

As behind the Collector's load-balancing exporter: each process gets all spans of its traces. They are started together, and
drained together by SIGTERM, as the target in deploy/systemd does it.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final
from zlib import crc32

import click

from benchmarks import report
from benchmarks.accounting import peak_rss
from benchmarks.measure import Load, Stand, standing
from benchmarks.spans import source
from benchmarks.systems import named
from benchmarks.traffic import pack

_TRACE_ID: Final = slice(2, 18)  # of a span that begins with its trace id, as packed ones do
_METHOD: Final = """\
Each process gets the spans of its own traces, cut by a checksum of the trace id as a load balancer cuts them, in requests of the
same size. µs/span: CPU time of all processes together, over the spans that they took. together: started at once, and ended by SIGTERM
at once when all had answered; nothing may be lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a number of processes used.

    Attributes:
        processes: how many there were.
        rate: spans a second, of all of them.
        cpu_us: CPU microseconds a span.
        rss_mib: resident memory of all of them.
        lost: spans that did not come out.
    """

    processes: int
    rate: float
    cpu_us: float
    rss_mib: float
    lost: int


def split(pool: list[Any], parts: int) -> list[list[Any]]:
    """Cut (envelope, span) pairs into *parts*, each with whole traces."""
    found: list[list[Any]] = [[] for _ in range(parts)]
    for pair in pool:
        found[crc32(pair[1][_TRACE_ID]) % parts].append(pair)
    return found


def measure(loads: list[Load], model: Path, folder: Path) -> Cost:
    """Start a process for each load, send to all at once, drain all at once."""
    with ExitStack() as running, ThreadPoolExecutor(len(loads)) as threads:
        stands: list[Stand] = list(
            threads.map(
                lambda number: running.enter_context(
                    standing(named("tracead"), model, folder, name=f"replica-{number}")
                ),
                range(len(loads)),
            )
        )
        pairs = list(zip(stands, loads, strict=True))
        warm = list(threads.map(lambda pair: pair[0].send(pair[1], pair[1].warm_up), pairs))
        for stand, sent in zip(stands, warm, strict=True):
            stand.wait(sent.spans)
        before = sum(stand.cpu_seconds() for stand in stands)
        main = list(threads.map(lambda pair: pair[0].send(pair[1], pair[1].seconds), pairs))
        expected = [first.spans + second.spans for first, second in zip(warm, main, strict=True)]
        for stand, spans in zip(stands, expected, strict=True):
            stand.wait(spans)
        cpu = sum(stand.cpu_seconds() for stand in stands) - before
        rss = sum(peak_rss(stand.process.pid) for stand in stands)
        codes = list(threads.map(lambda stand: stand.process.stop(), stands))
        if any(codes):
            raise RuntimeError(f"exit codes {codes}; logs in {folder}")
        spans = sum(sent.spans for sent in main)
        return Cost(
            processes=len(loads),
            rate=sum(load.rate for load in loads),
            cpu_us=1e6 * cpu / spans,
            rss_mib=rss / 2**20,
            lost=sum(expected) - sum(stand.received() for stand in stands),
        )


def _row(name: str, costs: list[Cost], beside: float) -> str:
    cpu = [cost.cpu_us for cost in costs]
    return (
        f"{name:<44}{median(cpu):>9.2f}{f'{min(cpu):.2f}-{max(cpu):.2f}':>14}{median(cpu) / beside:>7.2f}"
        f"{median(cost.rss_mib for cost in costs):>7.0f}{sum(cost.lost for cost in costs):>6}"
    )


@click.command(context_settings={"show_default": True})
@click.option("--processes", type=int, default=2)
@click.option("--rate", type=float, default=25_000, help="spans a second for each process")
@click.option("--per-request", type=int, default=512, help="spans a request")
@click.option("--seconds", type=float, default=4)
@click.option("--repeats", type=int, default=3)
@click.option("--output", type=click.Path(path_type=Path), default=report.RESULTS / "several-processes")
def main(processes: int, rate: float, per_request: int, seconds: float, repeats: int, output: Path) -> None:
    """Measure processes side by side; write OUTPUT.txt and OUTPUT.json."""
    told = report.header("benchmarks.several_processes", sys.argv[1:])
    origin = source()
    pool = origin.spans(60_000)
    with TemporaryDirectory(prefix="otel-tracead-bench-") as temporary:
        folder = Path(temporary)

        def load(name: str, spans: list[Any], its_rate: float) -> Load:
            path = folder / f"{name}.npz"
            pack(spans, per_request).save(path)
            return Load(traffic=path, spans_per_request=per_request, rate=its_rate, seconds=seconds, warm_up=1.5)

        parts = split(pool, processes)
        cases = {
            f"one process, {rate:,.0f} spans a second": [load("one", pool, rate)],
            f"{processes} processes, {rate:,.0f} spans a second each": [
                load(f"part-{number}", part, rate) for number, part in enumerate(parts)
            ],
            f"one process, {processes * rate:,.0f} spans a second": [load("all", pool, processes * rate)],
        }
        found: dict[str, list[Cost]] = {name: [] for name in cases}
        for turn in range(repeats):
            for name, loads in cases.items():
                found[name].append(measure(loads, origin.model, folder))
                click.echo(f"turn {turn + 1}  {name}: {found[name][-1].cpu_us:.2f} µs/span", err=True)
    single, several, busy = (median(cost.cpu_us for cost in costs) for costs in found.values())
    lost = sum(abs(cost.lost) for costs in found.values() for cost in costs)
    document: dict[str, Any] = {
        **told,
        "processes": processes,
        "ratios": {"several/one, same load each": several / single, "several/one, same load in all": several / busy},
        "lost": lost,
        "runs": {name: [asdict(cost) for cost in costs] for name, costs in found.items()},
    }
    header = f"{'':<44}{'µs/span':>9}{'min-max':>14}{'ratio':>7}{'MiB':>7}{'lost':>6}"
    setting = (
        f"{origin.words(60_000)}, model {origin.model.name}, requests of {per_request}; medians of {repeats} turns"
    )
    table = "\n".join((header, *(_row(name, costs, single) for name, costs in found.items())))
    trouble = f"{lost} spans were lost or doubled" if lost else ""
    report.conclude(output, "Several processes on one machine", document, [setting, table, _METHOD], trouble)


if __name__ == "__main__":
    main()
