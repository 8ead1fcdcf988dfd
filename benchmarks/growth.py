"""`python -m benchmarks.growth`: does a span cost more when more traces are open, traces are longer, or there are more labels?

Traffic and models are made for it. A stage is sent a steady rate; once as many traces are open as ever will be, its CPU time
is taken over an interval and divided by the spans that came out in it.
"""

import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import click

from benchmarks import report
from benchmarks.accounting import rss
from benchmarks.made import Shape, spans, write_model
from benchmarks.measure import Load, standing
from benchmarks.stage_metrics import value
from benchmarks.systems import named
from benchmarks.traffic import pack
from otel_tracead.metrics import TRACES_ANOMALOUS, TRACES_OPEN, TRACES_SCORED, TRACES_UNSCORED

_PER_REQUEST: Final = 512
_POOL: Final = 61_440  # spans
_NUM_TRACES: Final = 200_000
_OPEN: Final = Shape(labels=50, spans=5)
_LONG: Final = (Shape(labels=50, spans=50), Shape(labels=50, spans=5000))
_LABELS: Final = tuple(Shape(labels=labels, spans=50) for labels in (50, 1000, 5000))
_SETTLED: Final = 1.5  # seconds after the first trace was released
_MARGIN: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row.

    Attributes:
        group: what is varied; ratios are to the first case of its group.
        name: says what is different.
        shape: of the traces.
        model: which of the models.
        wait: seconds, the processor's `wait_duration`.
    """

    group: str
    name: str
    shape: Shape
    model: str
    wait: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What was measured.

    Attributes:
        cpu_us: CPU microseconds a span.
        open_traces: at the end of the interval.
        rss_mib: resident memory then.
        scored: share of the traces that were scored.
        anomalous: share of these that were marked.
        lost: spans that did not come out.
    """

    cpu_us: float
    open_traces: float
    rss_mib: float
    scored: float
    anomalous: float
    lost: int


def cases(rate: float) -> list[Case]:
    """Give the cases: as many open traces as a wait makes of the traces a second."""
    traces_a_second = rate / _OPEN.spans
    return [
        *(
            Case(group="open traces", name=f"{count:,}", shape=_OPEN, model="short", wait=count / traces_a_second)
            for count in (1_000, 10_000, 100_000)
        ),
        *(Case(group="spans a trace", name=f"{one.spans:,}", shape=one, model="long") for one in _LONG),
        *(Case(group="labels", name=f"{one.labels:,}", shape=one, model=f"labels-{one.labels}") for one in _LABELS),
    ]


def write_models(folder: Path) -> None:
    """Make the models that the cases name."""
    write_model(folder / "short", (_OPEN, 1_000))
    write_model(folder / "long", (_LONG[0], 200), (_LONG[1], 20))
    for shape in _LABELS:
        write_model(folder / f"labels-{shape.labels}", (shape, max(100, 10 * shape.kinds)))


def measure(case: Case, traffic: Path, rate: float, seconds: float, folder: Path) -> Cost:
    """Run one case; *seconds* of it are measured."""
    settings = {"BENCH_WAIT": f"{case.wait:g}s", "BENCH_NUM_TRACES": str(_NUM_TRACES)}
    before = case.wait + _SETTLED
    load = Load(traffic=traffic, spans_per_request=_PER_REQUEST, rate=rate, seconds=seconds, warm_up=before)
    with standing(named("tracead"), folder / case.model, folder, settings) as stand:
        with stand.sending(load, before + seconds + _MARGIN) as sending:
            while not stand.received():  # the sender has to start first, and the first trace to be released
                time.sleep(0.05)
            time.sleep(_SETTLED)
            begun = stand.cpu_seconds(), stand.received()
            time.sleep(seconds)
            ended = stand.cpu_seconds(), stand.received()
            port = stand.place.metrics_port
            open_traces, resident = value(port, TRACES_OPEN), rss(stand.process.pid)
            counts = [value(port, metric) for metric in (TRACES_SCORED, TRACES_UNSCORED, TRACES_ANOMALOUS)]
            sent = sending.result()
        stand.process.stop()  # drains what is open
        return Cost(
            cpu_us=1e6 * (ended[0] - begun[0]) / max(1, ended[1] - begun[1]),
            open_traces=open_traces,
            rss_mib=resident / 2**20,
            scored=counts[0] / max(1.0, counts[0] + counts[1]),
            anomalous=counts[2] / max(1.0, counts[0]),
            lost=sent.spans - stand.received(),
        )


def _table(found: dict[Case, list[Cost]]) -> str:
    rows = [
        f"{'':<24}{'µs/span':>9}{'min-max':>14}{'ratio':>7}{'open traces':>13}{'MiB':>7}{'scored':>8}{'marked':>8}{'lost':>6}"
    ]
    for group, by_case in _groups(found).items():
        first = median(cost.cpu_us for cost in next(iter(by_case.values())))
        for case, costs in by_case.items():
            cpu = [cost.cpu_us for cost in costs]
            rows.append(
                f"{f'{case.name} {group}':<24}{median(cpu):>9.2f}{f'{min(cpu):.2f}-{max(cpu):.2f}':>14}"
                f"{median(cpu) / first:>7.2f}{median(cost.open_traces for cost in costs):>13,.0f}"
                f"{median(cost.rss_mib for cost in costs):>7.0f}{median(cost.scored for cost in costs):>8.1%}"
                f"{median(cost.anomalous for cost in costs):>8.1%}{sum(cost.lost for cost in costs):>6}"
            )
    return "\n".join(rows)


def _groups(found: dict[Case, list[Cost]]) -> dict[str, dict[Case, list[Cost]]]:
    groups: dict[str, dict[Case, list[Cost]]] = {}
    for case, costs in found.items():
        groups.setdefault(case.group, {})[case] = costs
    return groups


def _ratios(found: dict[Case, list[Cost]]) -> dict[str, float]:
    ratios: dict[str, float] = {}
    for group, by_case in _groups(found).items():
        cpu = {case.name: median(cost.cpu_us for cost in costs) for case, costs in by_case.items()}
        first = next(iter(cpu.values()))
        ratios |= {f"{group}/{name}": value / first for name, value in cpu.items()}
    return ratios


_METHOD: Final = """\
Ratios are to the first row of each group. Traces are a root and groups of a call with the calls that it makes; up to 50 labels in one,
each kind of trace with labels of its own. The models were learned from such traces, with networks of the default's size and random
weights. open traces: when the interval ended, by the stage's own metric. marked: of the scored traces, anomalous."""


@click.command(context_settings={"show_default": True})
@click.option("--rate", type=float, default=20_000, help="spans a second")
@click.option("--seconds", type=float, default=5, help="of each measured interval")
@click.option("--repeats", type=int, default=5)
@click.option("--group", "groups", multiple=True, help="only this one (open traces, spans a trace, labels)")
@click.option("--output", type=click.Path(path_type=Path), default=report.RESULTS / "growth")
def main(rate: float, seconds: float, repeats: int, groups: tuple[str, ...], output: Path) -> None:
    """Measure growth; write OUTPUT.txt and OUTPUT.json."""
    told = report.header("benchmarks.growth", sys.argv[1:])
    wanted = [case for case in cases(rate) if not groups or case.group in groups]
    found: dict[Case, list[Cost]] = {case: [] for case in wanted}
    with TemporaryDirectory(prefix="otel-tracead-bench-") as temporary:
        folder = Path(temporary)
        click.echo("making models", err=True)
        write_models(folder)
        files = {}
        for shape in {case.shape for case in wanted}:
            files[shape] = folder / f"{shape.labels}-{shape.spans}.npz"
            pack(spans(shape, _POOL // shape.spans), _PER_REQUEST).save(files[shape])
        for turn in range(repeats):
            for case in wanted:
                cost = measure(case, files[case.shape], rate, seconds, folder)
                found[case].append(cost)
                click.echo(f"turn {turn + 1}  {case.name} {case.group}: {cost.cpu_us:.2f} µs/span", err=True)
    lost = sum(abs(cost.lost) for costs in found.values() for cost in costs)
    document: dict[str, Any] = {
        **told,
        "rate": rate,
        "ratios": _ratios(found),
        "lost": lost,
        "runs": [{**asdict(case), **asdict(cost)} for case, costs in found.items() for cost in costs],
    }
    setting = f"{rate:,.0f} spans a second in requests of {_PER_REQUEST}; medians of {repeats} turns"
    trouble = f"{lost} spans were lost or doubled" if lost else ""
    report.conclude(output, "Growth of the CPU time a span", document, [setting, _table(found), _METHOD], trouble)


if __name__ == "__main__":
    main()
