"""`outage`: the backend is away for minutes while spans keep coming; what is missing, what it takes, how long it takes to recover."""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
import numpy as np

from benchmarks import report
from benchmarks.endurance.account import Account, answers, latencies
from benchmarks.endurance.curves import Curve, Span, draw
from benchmarks.endurance.rig import Load, Rig, rig, started
from benchmarks.endurance.samples import Sampler, Series
from benchmarks.endurance.sender import Sent
from benchmarks.endurance.stage import Setup
from benchmarks.spans import BUNDLED

_MIB: Final = 1 << 20
_QUEUE: Final = "otelcol_exporter_queue_size"
_LAG: Final = 1.25
"""Recovered, when no more spans are under way than this many times those before the outage."""
_USUAL: Final = 2.0
"""Latency is normal again when it is at most so many times that before."""
_SILENCE: Final = 20.0  # seconds after which nothing more is expected
_RECOVERY: Final = 600.0  # seconds, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is done.

    Attributes:
        setup: of the stage.
        load: all the time.
        before: seconds with the backend there, of which the second half is what is usual.
        away: seconds without it.
        after: seconds after the recovery.
    """

    setup: Setup
    load: Load
    before: float
    away: float
    after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One of the three parts of the run.

    Attributes:
        name: of it.
        seconds: how long it was.
        accepted: spans.
        rss_mib: the most resident memory.
        cpu_us: CPU microseconds for each span accepted in it.
        cores: CPU seconds a second.
        latency_ms: median and 99th percentile from a trace's release to its verdict at the backend; of traces begun in it.
    """

    name: str
    seconds: float
    accepted: int
    rss_mib: float
    cpu_us: float
    cores: float
    latency_ms: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it.

    Attributes:
        account: of all spans.
        sent: what the sender did.
        phases: before, away, recovery, after.
        limit_mib: of the memory limiter.
        rss_mib: the most there was.
        disk_mib: the most that the store took.
        waiting: spans accepted and not out when the backend came back.
        first_out: seconds from then until the first span came out.
        recovered: seconds from then until the queue was empty and no more was under way than before.
        normal: seconds from then until traces begun have their usual latency.
        answer_ms: median and 99th percentile until a request was acknowledged, over the whole run.
        exit_code: of the stage, asked to end.
        began: monotonic seconds; start of the run, of the outage, its end, the recovery, the end.
        series: what was sampled.
    """

    account: Account
    sent: Sent
    phases: tuple[Phase, ...]
    limit_mib: int
    rss_mib: float
    disk_mib: float
    waiting: int
    first_out: float
    recovered: float
    normal: float
    answer_ms: tuple[float, float]
    exit_code: int
    began: tuple[float, ...]
    series: Series

    def trouble(self) -> str:
        """Say what was promised and does not hold, or nothing."""
        wrong = {
            "acknowledged spans are missing": self.account.missing,
            "spans came out twice": self.account.twice,
            "spans came out that were never sent": self.account.foreign,
            "requests were never acknowledged": self.sent.given_up,
            "traces have different verdicts": self.account.differing,
            "traces were judged in part": self.account.in_part,
        }
        found = [f"{number:,} {what}" for what, number in wrong.items() if number]
        if self.rss_mib > self.limit_mib:
            found.append(f"memory reached {self.rss_mib:.0f} MiB of {self.limit_mib}")
        if math.isnan(self.recovered):
            found.append("it did not recover")
        if self.exit_code:
            found.append(f"exit code {self.exit_code}")
        return ", ".join(found)


def run(plan: Plan, folder: Path, tell: Callable[[str], None] = lambda _: None) -> Outcome:
    """Do what *plan* says, with files in *folder*.

    Raises:
        RuntimeError: the stage did not start, or the sender failed.
    """
    with rig(folder, plan.load, plan.setup) as around:
        stage = started(around.stage)
        gauges = {
            "queue": lambda: around.stage.metrics().get(_QUEUE, math.nan),
            "disk": lambda: float(around.stage.stored_bytes()),
            "accepted": lambda: float(around.accepted()),
            "out": lambda: float(around.ledger.out()),
        }
        try:
            with Sampler(gauges, 0.5) as sampler, around.sending() as sending:
                sampler.pid = stage.pid

                def until(end: float, done: Callable[[], bool] = lambda: False) -> bool:
                    while (now := time.monotonic()) < end and not done():
                        sending.check()
                        if stage.exit_code is not None:
                            raise RuntimeError(f"the stage ended with {stage.exit_code}:\n{stage.tail()}")
                        time.sleep(min(0.1, end - now))
                    return done()

                marks = [time.monotonic()]
                until(marks[0] + plan.before)
                usual = _usual(sampler.series, marks[0] + plan.before / 2)
                marks.append(time.monotonic())
                around.network.gone()
                until(marks[1] + plan.away)
                marks.append(time.monotonic())
                out = around.ledger.out()
                waiting = around.accepted() - out
                tell(f"back after {marks[2] - marks[1]:.0f} s; {waiting:,} spans wait")
                around.network.back()
                until(marks[2] + _RECOVERY, lambda: around.ledger.out() > out)
                first_out = time.monotonic() - marks[2]
                back = until(marks[2] + _RECOVERY, lambda: _recovered(sampler.series, usual, marks[2]))
                recovered = time.monotonic() - marks[2] if back else math.nan
                marks.append(time.monotonic())
                tell(f"recovered after {recovered:.1f} s")
                until(marks[3] + plan.after + plan.setup.wait)
                sent = sending.result()
                marks.append(time.monotonic())
                around.settle(_SILENCE + plan.setup.wait, 120)
                sampler.pid = None
            code = stage.stop()
        finally:
            stage.stop()
        return _outcome(plan, around, sampler.series, marks, sent, (waiting, first_out, recovered), code)


def _usual(series: Series, since: float) -> tuple[float, float]:
    """Spans under way and fill of the queue while all is well: the most there were."""
    _, accepted = series.between("accepted", since)
    _, out = series.between("out", since)
    _, queue = series.between("queue", since)
    return max(np.subtract(accepted, out), default=0.0), max(queue, default=0.0)


def _recovered(series: Series, usual: tuple[float, float], since: float) -> bool:
    if not series.at or series.at[-1] < since + 1:
        return False
    latest = {name: column[-1] for name, column in series.columns.items()}
    return bool(latest["accepted"] - latest["out"] <= _LAG * usual[0] and latest["queue"] <= max(2 * usual[1], 20_000))


def _outcome(
    plan: Plan,
    around: Rig,
    series: Series,
    marks: list[float],
    sent: Sent,
    back: tuple[int, float, float],
    code: int,
) -> Outcome:
    begun, taken = latencies(around.traffic, around.ledger, plan.setup.wait)
    names = ("before", "away", "recovery", "after")
    phases = tuple(
        _phase(name, series, begun, taken, since, until)
        for name, since, until in zip(names, marks, marks[1:], strict=False)
    )
    # Of traces that were released while the backend was still there, and after the stage had warmed up.
    quiet = (begun >= marks[0] + plan.before / 4) & (begun < marks[1] - plan.setup.wait - 1)
    usual = _percentiles(1000 * taken[quiet])
    phases = (replace(phases[0], latency_ms=usual), *phases[1:])
    waits = 1000 * answers(around.ledger)
    return Outcome(
        account=around.account(),
        sent=sent,
        phases=phases,
        limit_mib=plan.setup.memory_mib or 0,
        rss_mib=max(phase.rss_mib for phase in phases),
        disk_mib=max(series.columns["disk"]) / _MIB,
        waiting=back[0],
        first_out=back[1],
        recovered=back[2],
        normal=_normal(begun, taken, usual[1] / 1000, marks[2]),
        answer_ms=_percentiles(waits),
        exit_code=code,
        began=tuple(marks),
        series=series,
    )


def _phase(name: str, series: Series, begun: Any, taken: Any, since: float, until: float) -> Phase:
    inside = (begun >= since) & (begun < until)
    _, rss = series.between("rss", since, until)
    at, cpu = series.between("cpu", since, until)
    _, accepted = series.between("accepted", since, until)
    used = cpu[-1] - cpu[0] if len(cpu) > 1 else math.nan
    spans = accepted[-1] - accepted[0] if len(accepted) > 1 else 0
    return Phase(
        name=name,
        seconds=until - since,
        accepted=int(spans),
        rss_mib=max(rss, default=math.nan) / _MIB,
        cpu_us=1e6 * used / spans if spans else math.nan,
        cores=used / (at[-1] - at[0]) if len(at) > 1 else math.nan,
        latency_ms=_percentiles(1000 * taken[inside]),
    )


def _percentiles(values: Any) -> tuple[float, float]:
    return (float(np.median(values)), float(np.percentile(values, 99))) if len(values) else (math.nan, math.nan)


def _normal(begun: Any, taken: Any, usual: float, since: float) -> float:
    """Seconds after *since* from which on traces begun in any second have at most twice the usual 99th percentile."""
    seconds = np.floor(begun[begun >= since] - since).astype(int)
    slow = taken[begun >= since] > _USUAL * max(usual, 0.05)
    if not len(seconds):
        return math.nan
    share = np.bincount(seconds, weights=slow) / np.maximum(1, np.bincount(seconds))
    bad = np.flatnonzero(share > 0.01)
    return float(bad.max() + 1) if len(bad) else 0.0


def table(outcome: Outcome) -> str:
    """Put an outcome into lines."""
    head = (
        f"{'':<10}{'s':>8}{'accepted':>12}{'most MiB':>10}{'µs/span':>9}{'cores':>7}{'latency ms: p50':>17}{'p99':>10}"
    )
    phases = (
        f"{one.name:<10}{one.seconds:>8.1f}{one.accepted:>12,}{one.rss_mib:>10.0f}{one.cpu_us:>9.1f}{one.cores:>7.2f}"
        f"{one.latency_ms[0]:>17,.0f}{one.latency_ms[1]:>10,.0f}"
        for one in outcome.phases
    )
    counts = outcome.account
    rows = {
        "spans acknowledged": f"{counts.accepted:,}",
        "of these missing": f"{counts.missing:,}",
        "came out twice": f"{counts.twice:,}",
        "traces; with two verdicts, judged in part": f"{counts.traces:,}; {counts.differing:,}, {counts.in_part:,}",
        "requests refused and sent again": f"{outcome.sent.refused:,}",
        "ms until acknowledged: p50, p99": f"{outcome.answer_ms[0]:.1f}, {outcome.answer_ms[1]:.1f}",
        "most resident memory, of its limit": f"{outcome.rss_mib:.0f} of {outcome.limit_mib} MiB",
        "most disk": f"{outcome.disk_mib:,.0f} MiB",
        "spans waiting when the backend came back": f"{outcome.waiting:,}",
        "s from then until the first came out": f"{outcome.first_out:.1f}",
        "s until the queue was empty": f"{outcome.recovered:.1f}",
        "s until traces begun have the usual latency": f"{outcome.normal:.0f}",
    }
    return "\n".join([head, *phases, "", *(f"{name:<46}{value:>24}" for name, value in rows.items())])


def picture(outcome: Outcome, place: Path) -> None:
    """Draw memory, disk and what waits over time."""
    series, begun = outcome.series, outcome.began[0]
    seconds = [at - begun for at in series.at]
    under_way = list(np.subtract(series.columns["accepted"], series.columns["out"]) / 1e6)

    def scaled(name: str) -> list[float]:
        return [value / _MIB for value in series.columns[name]]

    draw(
        place,
        [
            Curve("resident memory, MiB", seconds, scaled("rss"), outcome.limit_mib),
            Curve("spans accepted and not yet out, millions", seconds, under_way),
            Curve("store on disk, MiB", seconds, scaled("disk")),
        ],
        [Span(outcome.began[1] - begun, outcome.began[2] - begun)],
    )


_METHOD: Final = """\
The backend's port is closed and opened again; the sender keeps to its rate. latency: from a trace's release (first span sent +
wait_duration) to its verdict at the backend, of traces begun in that while (before: released in it, too). The queue is empty when no more spans are accepted and not out than 1.25 times
the most before. Exporter's retry intervals are the defaults (5 s, growing to 30 s): until one of them ends, nothing is sent.
most MiB, µs/span, cores: of the stage's process; the sender, the network and the sink share the machine's cores with it."""


@click.command(context_settings={"show_default": True})
@click.option("--minutes", type=float, default=5.0, help="without a backend")
@click.option("--rate", type=float, default=10_000, help="spans a second")
@click.option("--per-request", type=int, default=200, help="spans a request, at most")
@click.option("--before", type=float, default=40.0, help="seconds with the backend, before")
@click.option("--after", type=float, default=30.0, help="seconds after the recovery")
@click.option("--wait", type=float, default=10.0, help="wait_duration, seconds")
@click.option("--memory-mib", type=int, default=512, help="limit_mib of memory_limiter")
@click.option("--storage/--no-storage", default=True, help="file_storage on the processor and the queue")
@click.option("--fsync", is_flag=True, help="of file_storage")
@click.option("--model", type=click.Path(path_type=Path, exists=True), default=BUNDLED)
@click.option("--keep", type=click.Path(path_type=Path), help="a folder for logs, the ledger and the store")
@click.option("--output", type=click.Path(path_type=Path), default=report.RESULTS / "outage")
def main(
    minutes: float,
    rate: float,
    per_request: int,
    before: float,
    after: float,
    wait: float,
    memory_mib: int,
    storage: bool,
    fsync: bool,
    model: Path,
    keep: Path | None,
    output: Path,
) -> None:
    """Take the backend away for a while; write OUTPUT.txt, OUTPUT.json and OUTPUT.svg."""
    told = report.header("benchmarks.endurance", sys.argv[1:])
    away = 60 * minutes
    setup = Setup(
        model=model,
        wait=wait,
        storage=storage,
        fsync=fsync,
        memory_mib=memory_mib,
        queue_spans=int(3 * rate * (away + 60)),
    )
    load = Load(rate=rate, seconds=before + away + after + wait + _RECOVERY, per_request=per_request)
    plan = Plan(setup=setup, load=load, before=before, away=away, after=after)
    with TemporaryDirectory(prefix="otel-tracead-bench-") as temporary:
        outcome = run(plan, keep or Path(temporary), lambda line: click.echo(line, err=True))
    picture(outcome, output)
    setting = f"{rate:,.0f} spans a second of the simulated shop over OTLP/gRPC, OTLP/HTTP and Zipkin, requests of up to {per_request}; {setup.words()}"
    kept = {key: value for key, value in asdict(outcome).items() if key != "series"}
    document: dict[str, Any] = {**told, "setting": setting, **kept, "series": outcome.series.thinned()}
    title = f"The backend is away for {minutes:g} minutes"
    report.conclude(output, title, document, [setting, table(outcome), _METHOD], outcome.trouble())
