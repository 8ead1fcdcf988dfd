"""`storage-cost`: what a span costs in CPU time when everything that was accepted is on disk, too, beside the Collector's own way."""

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import click

from benchmarks import report
from benchmarks.cpu_per_span import packed
from benchmarks.measure import Load, Run, rate_of, run, words_of
from benchmarks.spans import source
from benchmarks.systems import System, collector, missing, stage
from benchmarks.traffic import Protocol
from tools.peers import otelcol


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured.

    Attributes:
        system: what runs.
        beside: the name of the same without a store; its own where it has none.
        fsync: whether the disk itself has every record before its sender hears of it.
    """

    system: System
    beside: str
    fsync: bool = False


def _subjects() -> Iterator[Subject]:
    ways = (
        ("tracead", "tracead", "whole traces, scored; the processor's and the queue's on disk", stage, lambda: None),
        ("tracead-plumbing", "tracead-plumbing", "without the processor; the queue on disk", stage, lambda: None),
        ("collector-forward", "collector", "the Collector, in and out; the queue on disk", collector, otelcol.binary),
    )
    for name, stored, words, start, available in ways:
        yield Subject(System(name, "no store", start(f"{name}.yaml"), available), name)
        for fsync in (False, True):
            full = f"{name}-stored" + ("-fsync" if fsync else "")
            found = System(full, words + (", fsync" if fsync else ""), start(f"{stored}-stored.yaml"), available)
            yield Subject(found, name, fsync)


SUBJECTS: Final = tuple(_subjects())
_METHOD: Final = """\
µs/span: user and system time of the whole process with its threads and children, over the measured interval and until the last span came
out, divided by the spans accepted in it. store: µs a span more than the same without one, medians. p50, p99: until a request was acknowledged;
with a store that is when it is on disk (without fsync: in the kernel's hands). spans/s: accepted; below what was asked for, it could not
follow. lost: accepted and not come out. The Collector keeps its queue on disk, and no processor's; it is beside tracead-plumbing."""


@contextmanager
def _store() -> Iterator[Path]:
    """A fresh folder on the disk of temporary files."""
    with TemporaryDirectory(prefix="otel-tracead-bench-store-") as folder:
        yield Path(folder)


def measure(subject: Subject, load: Load, model: Path, folder: Path) -> Run:
    """Measure *subject* once, with an empty store.

    Raises:
        RuntimeError: it did not start, or the sender failed.
    """
    with _store() as store:
        settings = {"BENCH_STORE": str(store), "BENCH_FSYNC": str(subject.fsync).lower()}
        return run(subject.system, load, model, folder, settings)


def table(runs: Sequence[Run]) -> str:
    """Put the runs of one setting into lines."""
    found = {one.system.name: [run for run in runs if run.system == one.system.name] for one in SUBJECTS}
    cpu = {name: median(run.cpu_us for run in own) for name, own in found.items() if own}
    head = (
        f"{'':<32}{'µs/span':>9}{'min-max':>14}{'store':>8}{'cores':>7}{'MiB':>6}{'p50 ms':>8}{'p99 ms':>8}"
        f"{'spans/s':>9}{'lost':>6}"
    )
    lines = [head]
    for one in SUBJECTS:
        own = found[one.system.name]
        if not own:
            continue
        spread = f"{min(run.cpu_us for run in own):.2f}-{max(run.cpu_us for run in own):.2f}"
        more = cpu[one.system.name] - cpu[one.beside] if one.beside in cpu else math.nan
        lines.append(
            f"{one.system.name:<32}{cpu[one.system.name]:>9.2f}{spread:>14}"
            f"{f'{more:+.2f}' if one.system.name != one.beside else '':>8}{median(run.cores for run in own):>7.2f}"
            f"{median(run.rss_mib for run in own):>6.0f}{median(run.p50_ms for run in own):>8.1f}"
            f"{median(run.p99_ms for run in own):>8.1f}{median(run.achieved for run in own):>9,.0f}"
            f"{sum(run.lost for run in own):>6}"
        )
    return "\n".join(lines)


def ratios(runs: Sequence[Run]) -> dict[str, float]:
    """Give each stored system's median cost beside the Collector's with a store on the same terms."""
    cpu: dict[tuple[int, str], list[float]] = {}
    for one in runs:
        cpu.setdefault((one.spans_per_request, one.system), []).append(one.cpu_us)
    found = {}
    for (size, name), own in cpu.items():
        stored = name.partition("-stored")
        peer = cpu.get((size, f"collector-forward{stored[1]}{stored[2]}"))
        if peer and not name.startswith("collector"):
            found[f"{size}/{name}"] = median(own) / median(peer)
    return found


@click.command(context_settings={"show_default": True})
@click.option("--rate", "rates", multiple=True, default=["20000"], help="spans a second, or max for full speed")
@click.option("--per-request", "sizes", multiple=True, type=int, default=[512, 50], help="spans a request")
@click.option("--seconds", type=float, default=4, help="of each measured interval")
@click.option("--repeats", type=int, default=3)
@click.option("--only", multiple=True, type=click.Choice([one.system.name for one in SUBJECTS]))
@click.option("--output", type=click.Path(path_type=Path), default=report.RESULTS / "storage-cost")
def main(
    rates: tuple[str, ...], sizes: tuple[int, ...], seconds: float, repeats: int, only: tuple[str, ...], output: Path
) -> None:
    """Measure what a store costs; write OUTPUT.txt and OUTPUT.json."""
    told = report.header("benchmarks.endurance", sys.argv[1:])
    origin = source()
    subjects = [one for one in SUBJECTS if not only or one.system.name in only]
    for one in subjects:
        if reason := missing(one.system):
            click.echo(f"without {one.system.name}: {reason}", err=True)
    subjects = [one for one in subjects if not missing(one.system)]
    runs: list[Run] = []
    with TemporaryDirectory(prefix="otel-tracead-bench-") as temporary:
        folder = Path(temporary)
        files = packed(origin, 60_000, sizes, Protocol.OTLP, folder)
        for turn in range(repeats):
            for size in sizes:
                for rate in map(rate_of, rates):
                    load = Load(traffic=files[size][0], spans_per_request=size, rate=rate, seconds=seconds, warm_up=1.5)
                    for one in subjects:
                        runs.append(measure(one, load, origin.model, folder))
                        click.echo(
                            f"turn {turn + 1}  {size:>4} a request  {one.system.name:<30}{runs[-1].cpu_us:8.2f} µs/span  "
                            f"lost {runs[-1].lost}",
                            err=True,
                        )
    setting = f"{origin.words(60_000)}, model {origin.model.name}; medians of {repeats} turns"
    sections = [setting]
    for size in sizes:
        for rate in map(rate_of, rates):
            part = [one for one in runs if (one.spans_per_request, one.rate) == (size, rate)]
            sections += [f"{size} spans a request of {files[size][1]:.0f} bytes a span, {words_of(rate)}", table(part)]
    what = "\n".join(f"{one.system.name:<32}{one.system.description}" for one in subjects)
    lost = sum(abs(one.lost) for one in runs)
    document: dict[str, Any] = {
        **told,
        "setting": setting,
        "ratios": ratios(runs),
        "lost": lost,
        "runs": [{**asdict(one), "rate": "max" if one.rate == math.inf else one.rate} for one in runs],
    }
    trouble = f"{lost} spans were lost or doubled" if lost else ""
    report.conclude(output, "What a store costs", document, [*sections, what, _METHOD], trouble)
