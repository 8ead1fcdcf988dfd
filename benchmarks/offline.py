"""`python -m benchmarks.offline`: how many spans a second `otel-tracead score` annotates on a core, and in how much memory.

The same spans with other trace ids fill a file of one size and one four times as large. What the larger one costs more,
divided by the spans that it has more, is the cost of a span: starting and loading the model are in both.
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import click

from benchmarks import report
from benchmarks.spans import source
from otel_tracead.wire.batch import Envelope, group
from otel_tracead.wire.files import TraceFileWriter
from tools.peers import guarded

FORMATS: Final = {"OTLP protobuf": ".pb", "OTLP JSON lines": ".jsonl"}
_TIMES: Final = 4
_TOGETHER: Final = 512  # spans of a line or message
_OPEN_TRACES: Final = 1000
_METHOD: Final = f"""\
spans/s: (spans of the large file - spans of the small one) / (CPU seconds, user and system and of all threads, that it took longer).
whole run: the large file's spans by all its CPU seconds, start included. MiB: resident memory at its peak. Files hold {_TOGETHER} spans a
line or message; what is written has the format of what is read; --num-traces {_OPEN_TRACES}, less than the files hold: memory is that of
the traces that are open at a time. growth: peak of the large file by that of the small one."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one call of `score` took.

    Attributes:
        spans: in its file.
        cpu_s: CPU seconds, of all threads.
        rss_mib: resident memory at its peak.
    """

    spans: int
    cpu_s: float
    rss_mib: float


def fill(path: Path, spans: Sequence[tuple[Envelope, bytes]], copies: int) -> int:
    """Write *spans* that often to *path*, each time with trace ids of their own; gives how many these are."""
    with TraceFileWriter(path) as file:
        copied = _copied(spans, copies)
        while part := list(islice(copied, _TOGETHER)):
            file.write(group([envelope for envelope, _ in part], [span for _, span in part]))
    return len(spans) * copies


def score(model: Path, traces: Path, spans: int) -> Cost:
    """Score *traces*, which hold *spans*; raises RuntimeError if that does not put out as many."""
    output = traces.with_name(f"scored{traces.suffix}")
    command = [sys.executable, "-m", "otel_tracead", "score", "--model", str(model), "--execution-provider", "cpu"]
    command += ["--num-traces", str(_OPEN_TRACES), "--no-require-report-card"]
    command += ["--input", str(traces), "--output", str(output)]
    with guarded(subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)) as process:
        said = process.stderr.read() if process.stderr else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0 or f": {spans} spans, " not in said:
        raise RuntimeError(f"`score` ended with {process.returncode} and not {spans} spans:\n{said}")
    output.unlink()
    return Cost(spans, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def per_second(small: Cost, large: Cost) -> float:
    """Give the spans that a CPU second is good for, once started."""
    return (large.spans - small.spans) / (large.cpu_s - small.cpu_s)


def _copied(spans: Sequence[tuple[Envelope, bytes]], copies: int) -> Iterator[tuple[Envelope, bytes]]:
    for copy in range(copies):
        salt = copy.to_bytes(4, "big")
        for envelope, span in spans:
            yield envelope, span[:2] + salt + span[6:]  # the first half of a trace id that its other half tells apart


def _row(name: str, pairs: Iterable[tuple[Cost, Cost]]) -> dict[str, Any]:
    found = list(pairs)
    small, large = (median(cost.rss_mib for cost in costs) for costs in zip(*found, strict=True))
    return {
        "format": name,
        "spans_per_second": median(per_second(*pair) for pair in found),
        "spans_per_second_of_all_runs": [per_second(*pair) for pair in found],
        "whole_run": median(pair[1].spans / pair[1].cpu_s for pair in found),
        "spans": [found[0][0].spans, found[0][1].spans],
        "peak_mib": [small, large],
        "growth": large / small,
    }


def _line(row: dict[str, Any]) -> str:
    speeds, (small, large) = row["spans_per_second_of_all_runs"], row["peak_mib"]
    spread = f"{min(speeds):,.0f}-{max(speeds):,.0f}"
    return (
        f"{row['format']:<18}{row['spans_per_second']:>10,.0f}{spread:>20}{row['whole_run']:>11,.0f}"
        f"{small:>8.0f}{large:>8.0f}{row['growth']:>8.2f}"
    )


@click.command(context_settings={"show_default": True})
@click.option("--spans", type=int, default=60_000, help="different spans")
@click.option("--copies", type=int, default=3, help="of them in the small file; the large one has four times as many")
@click.option("--repeats", type=int, default=3)
@click.option("--input", "inputs", multiple=True, type=click.Path(path_type=Path, exists=True), help="OTLP JSON lines")
@click.option("--model", type=click.Path(path_type=Path, exists=True), default=None)
@click.option("--output", type=click.Path(path_type=Path), default=report.RESULTS / "offline")
def main(spans: int, copies: int, repeats: int, inputs: tuple[Path, ...], model: Path | None, output: Path) -> None:
    """Measure `score`; write OUTPUT.txt and OUTPUT.json."""
    told = report.header("benchmarks.offline", sys.argv[1:])
    origin = source(inputs, model)
    pool = origin.spans(spans)
    found: dict[str, list[tuple[Cost, Cost]]] = {name: [] for name in FORMATS}
    with TemporaryDirectory(prefix="otel-tracead-bench-") as temporary:
        files = {}
        for name, suffix in FORMATS.items():
            small, large = (Path(temporary) / f"{size}{suffix}" for size in ("small", "large"))
            files[name] = [(path, fill(path, pool, many)) for path, many in ((small, copies), (large, _TIMES * copies))]
        for _ in range(repeats):
            for name in FORMATS:
                first, second = (score(origin.model, path, count) for path, count in files[name])
                found[name].append((first, second))
                click.echo(f"{name}: {per_second(first, second):,.0f} spans/s, {second.rss_mib:.0f} MiB", err=True)
    rows = [_row(name, pairs) for name, pairs in found.items()]
    counts = " and ".join(f"{count:,}" for count in rows[0]["spans"])
    setting = f"{origin.words(len(pool))}, in files of {counts}; model {origin.model.name}; medians of {repeats} runs"
    columns = f"{'format':<18}{'spans/s':>10}{'min-max':>20}{'whole run':>11}{'MiB':>8}{'MiB x4':>8}{'growth':>8}"
    table = "\n".join((columns, *map(_line, rows)))
    report.conclude(output, "Scoring files on one core", {**told, "rows": rows}, [setting, table, _METHOD])


if __name__ == "__main__":
    main()
