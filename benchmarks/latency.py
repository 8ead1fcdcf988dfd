"""`python -m benchmarks.latency`: how long a released trace takes to be judged and handed on, at a light load.

From the stage's own metric, so that nothing is added by who measures.
"""

import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import click

from benchmarks import report
from benchmarks.cpu_per_span import packed
from benchmarks.measure import Load, standing
from benchmarks.spans import source
from benchmarks.stage_metrics import histogram, quantile
from benchmarks.systems import named
from benchmarks.traffic import Protocol
from otel_tracead.metrics import RELEASE_LATENCY, SCORING_DURATION

_SHARES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
_METHOD: Final = """\
From a trace's release to its handing on to the next consumer, by the stage's own histogram (otelcol_processor_tracead_release_latency,
interpolated within its buckets): judged, annotated and packed in between. scoring: a batch in the scoring thread."""


def measure(load: Load, model: Path, folder: Path) -> dict[str, float]:
    """Give milliseconds by quantile, and the spans that were lost."""
    with standing(named("tracead"), model, folder) as stand:
        port = stand.place.metrics_port
        warm = stand.send(load, load.warm_up)
        stand.wait(warm.spans)
        before = histogram(port, RELEASE_LATENCY), histogram(port, SCORING_DURATION)
        sent = stand.send(load, load.seconds)
        stand.wait(warm.spans + sent.spans)
        after = histogram(port, RELEASE_LATENCY), histogram(port, SCORING_DURATION)
        stand.process.stop()
        found = {name: 1000 * quantile(before[0], after[0], share) for name, share in _SHARES.items()}
        scoring = {f"scoring {name}": 1000 * quantile(before[1], after[1], share) for name, share in _SHARES.items()}
        return {**found, **scoring, "lost": warm.spans + sent.spans - stand.received()}


@click.command(context_settings={"show_default": True})
@click.option("--rate", type=float, default=10_000, help="spans a second")
@click.option("--per-request", "sizes", multiple=True, type=int, default=[512, 50], help="spans a request")
@click.option("--seconds", type=float, default=8)
@click.option("--repeats", type=int, default=2)
@click.option("--output", type=click.Path(path_type=Path), default=report.RESULTS / "latency")
def main(rate: float, sizes: tuple[int, ...], seconds: float, repeats: int, output: Path) -> None:
    """Measure latency; write OUTPUT.txt and OUTPUT.json."""
    told = report.header("benchmarks.latency", sys.argv[1:])
    origin = source()
    found: dict[int, list[dict[str, float]]] = {size: [] for size in sizes}
    with TemporaryDirectory(prefix="otel-tracead-bench-") as temporary:
        files = packed(origin, 60_000, sizes, Protocol.OTLP, Path(temporary))
        for _ in range(repeats):
            for size in sizes:
                load = Load(traffic=files[size][0], spans_per_request=size, rate=rate, seconds=seconds, warm_up=1.5)
                found[size].append(measure(load, origin.model, Path(temporary)))
                click.echo(f"{size} spans a request: {found[size][-1]}", err=True)
    middle = {size: {name: median(run[name] for run in runs) for name in runs[0]} for size, runs in found.items()}
    columns = [name for name in next(iter(middle.values())) if name != "lost"]
    rows = (
        f"{'milliseconds':<22}" + "".join(f"{name:>13}" for name in columns),
        *(
            f"{size:>4} spans a request  " + "".join(f"{row[name]:>13.1f}" for name in columns)
            for size, row in middle.items()
        ),
    )
    setting = (
        f"{rate:,.0f} spans a second, {origin.words(60_000)}, model {origin.model.name}; medians of {repeats} runs"
    )
    lost = sum(abs(run["lost"]) for runs in found.values() for run in runs)
    document: dict[str, Any] = {**told, "rate": rate, "milliseconds": middle, "runs": found, "lost": lost}
    trouble = f"{lost:.0f} spans were lost or doubled" if lost else ""
    report.conclude(
        output, "Latency added after a trace's release", document, [setting, "\n".join(rows), _METHOD], trouble
    )


if __name__ == "__main__":
    main()
