"""`soak`: an hour and more at half of what it can, with faults at random: spans in are spans out, and nothing grows."""

import heapq
import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks import report
from benchmarks.endurance.account import answers, latencies
from benchmarks.endurance.faults import Fault, Kind, all_struck, drawn, events
from benchmarks.endurance.rig import Load, Rig, Sending, rig, started
from benchmarks.endurance.samples import Sampler, Series, trend
from benchmarks.endurance.sender import Sent
from benchmarks.endurance.soak_report import METHOD, Outcome, picture, table
from benchmarks.endurance.stage import Setup
from benchmarks.endurance.strikes import Strikes, log_lines, waiting
from benchmarks.spans import BUNDLED

_MIB: Final = 1 << 20
_SETTLE: Final = 20.0  # seconds after a fault until latencies count as calm
_SILENCE: Final = 60.0  # seconds after which nothing more is expected: longer than any retry waits
_SETTLED: Final = 60.0  # seconds after the first fault of the last kind until nothing may grow
_TELLING: Final = 600.0  # seconds of steady running below which no slope says anything
_PERCENTILES: Final = (50, 90, 99, 99.9)
_COLUMNS: Final = ("rss", "fds", "threads")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is done.

    Attributes:
        setup: of the stage.
        load: all the time.
        faults: what happens to it.
        warm_up: seconds from the start that latencies are not looked at.
        seed: of what faults do not say.
    """

    setup: Setup
    load: Load
    faults: Sequence[Fault]
    warm_up: float
    seed: int

    @property
    def steady(self) -> float:
        """Seconds from the start after which nothing may grow any longer: every kind of fault has struck, and a minute is over."""
        return max(self.warm_up, all_struck(self.faults) + _SETTLED)

    @property
    def kills(self) -> bool:
        """Whether the stage is killed in it."""
        return any(fault.kind is Kind.KILLED for fault in self.faults)


def capacity(setup: Setup, folder: Path, seconds: float = 15.0, pace: float = 20_000, per_request: int = 512) -> float:
    """Measure how many spans a second come out at full speed, where sender and backend share the machine.

    Raises:
        RuntimeError: the stage did not start, or the sender failed.
    """
    load = Load(rate=math.inf, pace=pace, seconds=seconds, per_request=per_request)
    with rig(folder, load, replace(setup, wait=1.0)) as around:
        stage = started(around.stage)
        try:
            with around.sending() as sending:
                while not around.ledger.sent.any():
                    sending.check()
                    time.sleep(0.05)
                begun = time.monotonic()
                waiting(sending.check)(seconds)
                sending.result()
                around.settle(10, 60, sending.check)
                return around.ledger.out() / (float(around.ledger.last[0]) - begun)
        finally:
            stage.stop()


def run(plan: Plan, folder: Path, tell: Callable[[str], None] = lambda _: None) -> Outcome:
    """Do what *plan* says, with files in *folder*.

    Raises:
        RuntimeError: the stage did not start or ended by itself, or the sender failed.
    """
    with rig(folder, plan.load, plan.setup) as around:
        gauges = {
            "accepted": lambda: float(around.accepted()),
            "out": lambda: float(around.ledger.out()),
            "disk": lambda: float(around.stage.stored_bytes()),
        }
        strikes = Strikes(around, started(around.stage), plan.seed)
        try:
            with Sampler(gauges) as sampler, around.sending(patience=120) as sending:
                begun = time.monotonic()

                def check() -> None:
                    sending.check()
                    stage = strikes.stage
                    sampler.pid = stage.pid
                    if stage.exit_code is not None:
                        raise RuntimeError(f"the stage ended by itself with {stage.exit_code}:\n{stage.tail()}")

                _strike(plan, strikes, sending, waiting(check), begun, tell)
                waiting(check)(begun + plan.load.seconds - time.monotonic())
                sent = sending.result()
                around.settle(_SILENCE + plan.setup.wait, 300, check)
                sampler.pid = None
            code = strikes.stage.stop()
        finally:
            strikes.stage.stop()
        return _outcome(plan, around, strikes, sampler.series, sent, begun, code)


def _strike(
    plan: Plan,
    strikes: Strikes,
    sending: Sending,
    wait: Callable[[float], None],
    begun: float,
    tell: Callable[[str], None],
) -> None:
    """Let faults begin and end, each at its time."""
    order = count()
    due: list[tuple[float, int, Fault | Callable[[], None]]] = [(one.at, next(order), one) for one in plan.faults]
    heapq.heapify(due)
    while due:
        at, _, what = heapq.heappop(due)
        wait(begun + at - time.monotonic())
        if isinstance(what, Fault):
            tell(f"{at:8.1f} s  {what.kind.value}" + (f" for {what.lasts:.1f} s" if what.lasts else ""))
            heapq.heappush(due, (what.end, next(order), strikes.begin(what, sending, wait)))
        else:
            what()


def _outcome(plan: Plan, around: Rig, strikes: Strikes, series: Series, sent: Sent, begun: float, code: int) -> Outcome:
    since, taken = latencies(around.traffic, around.ledger, plan.setup.wait)
    calm = np.ones(len(since), dtype=bool)
    for fault in plan.faults:
        touched = fault.at - plan.setup.wait - 1, fault.end + _SETTLE
        calm &= ~((since - begun >= touched[0]) & (since - begun < touched[1]))
    cpu = np.diff([value for value in series.columns["cpu"] if not math.isnan(value)])
    end = begun + plan.load.seconds
    again = around.ledger.again
    return Outcome(
        account=around.account(),
        sent=sent,
        struck=dict(strikes.counts),
        statuses=dict(sorted(strikes.statuses.items())),
        again=events((again[again > 0] - begun).tolist(), plan.faults, _SILENCE),
        steady=plan.steady,
        trends={name: trend(*series.between(name, begun + plan.steady, end)) for name in _COLUMNS}
        if end - begun - plan.steady >= _TELLING
        else {},
        calm_ms=_percentiles(taken[calm & (since - begun >= plan.warm_up)]),
        all_ms=_percentiles(taken),
        answer_ms=_percentiles(answers(around.ledger)),
        cpu_us=1e6 * float(cpu[cpu > 0].sum()) / max(1, sent.spans),
        rss_mib=float(np.nanmax(series.columns["rss"])) / _MIB,
        exit_code=code,
        errors=dict(log_lines(around.stage.folder, "error")),
        kills=plan.kills,
        seconds=sent.seconds,
        series=series,
        latency=_by_minute(since - begun, taken),
    )


def _percentiles(seconds: NDArray[np.float64]) -> dict[str, float]:
    if not len(seconds):
        return {}
    return {f"p{share:g}": float(1000 * np.percentile(seconds, share)) for share in _PERCENTILES} | {
        "most": float(1000 * seconds.max())
    }


def _by_minute(since: NDArray[np.float64], taken: NDArray[np.float64]) -> list[tuple[float, float, float]]:
    minutes = np.floor(since / 60).astype(int)
    return [
        (60.0 * int(minute) + 30, float(1000 * np.median(part)), float(1000 * np.percentile(part, 99)))
        for minute in np.unique(minutes)
        for part in (taken[minutes == minute],)
    ]


@click.command(context_settings={"show_default": True})
@click.option("--minutes", type=float, default=60.0)
@click.option("--rate", type=float, help="spans a second; by default half of what a short run at full speed shows")
@click.option("--per-request", type=int, default=200, help="spans a request, at most")
@click.option("--wait", type=float, default=5.0, help="wait_duration, seconds")
@click.option("--memory-mib", type=int, default=1024, help="limit_mib of memory_limiter")
@click.option("--storage/--no-storage", default=True, help="file_storage on the processor and the queue")
@click.option("--fsync", is_flag=True, help="of file_storage")
@click.option("--kills", is_flag=True, help="SIGKILL, too; needs the store")
@click.option("--every", type=float, default=30.0, help="seconds between faults, about")
@click.option("--without", "without", multiple=True, type=click.Choice([kind.name.lower() for kind in Kind]))
@click.option("--seed", type=int, default=None, help="of the faults; by default a new one, which is printed")
@click.option("--model", type=click.Path(path_type=Path, exists=True), default=BUNDLED)
@click.option("--keep", type=click.Path(path_type=Path), help="a folder for logs, the ledger and the store")
@click.option("--output", type=click.Path(path_type=Path), default=report.RESULTS / "soak")
def main(
    minutes: float,
    rate: float | None,
    per_request: int,
    wait: float,
    memory_mib: int,
    storage: bool,
    fsync: bool,
    kills: bool,
    every: float,
    without: tuple[str, ...],
    seed: int | None,
    model: Path,
    keep: Path | None,
    output: Path,
) -> None:
    """Let it run for long, with faults; write OUTPUT.txt, OUTPUT.json and OUTPUT.svg."""
    if kills and not storage:
        raise click.UsageError("--kills needs --storage: without it a killed stage loses what it held")
    told = report.header("benchmarks.endurance", sys.argv[1:])
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    click.echo(f"seed {seed}", err=True)
    seconds = 60 * minutes
    setup = Setup(model=model, wait=wait, storage=storage, fsync=fsync, memory_mib=memory_mib, queue_spans=50_000_000)
    kinds = [kind for kind in Kind if kind.name.lower() not in without and (kills or kind is not Kind.KILLED)]
    warm_up = min(300.0, seconds / 10)
    faults = drawn(seed, warm_up, seconds - min(60.0, seconds / 10), every, kinds)
    with TemporaryDirectory(prefix="otel-tracead-bench-") as temporary:
        folder = keep or Path(temporary)
        most = None if rate else capacity(setup, folder / "capacity", per_request=per_request)
        rate = rate or most / 2  # type: ignore[operator]
        click.echo(f"{rate:,.0f} spans a second for {minutes:g} minutes, {len(faults)} faults", err=True)
        load = Load(rate=rate, seconds=seconds, per_request=per_request)
        plan = Plan(setup=setup, load=load, faults=faults, warm_up=warm_up, seed=seed)
        outcome = run(plan, folder / "soak", lambda line: click.echo(line, err=True))
    picture(outcome, faults, memory_mib, output)
    half = f", half of the {most:,.0f} that come out at full speed" if most else ""
    setting = (
        f"{rate:,.0f} spans a second{half}, of the simulated shop, requests of up to {per_request}, for {minutes:g} minutes; {setup.words()}; "
        f"seed {seed}, a fault about every {every:g} s after {warm_up:g} s"
    )
    kept = {key: value for key, value in asdict(outcome).items() if key != "series"}
    document: dict[str, Any] = {
        **told,
        "setting": setting,
        "seed": seed,
        "rate": rate,
        "capacity": most,
        **kept,
        "faults": [(round(fault.at, 1), round(fault.lasts, 1), fault.kind.name.lower()) for fault in faults],
        "series": outcome.series.thinned(),
    }
    sections = [setting, *table(outcome, memory_mib), METHOD]
    report.conclude(
        output, f"{minutes:g} minutes under load, with faults", document, sections, outcome.trouble(memory_mib)
    )
