"""`crashes`: the stage is killed again and again under load, and started again on the same folder: is anything missing?

Two halves: SIGKILL with `file_storage`, and SIGTERM without it, which has to drain.
"""

import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from signal import SIGKILL
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

import click
import numpy as np

from benchmarks import report
from benchmarks.endurance.account import Account
from benchmarks.endurance.rig import Load, Rig, rig
from benchmarks.endurance.sender import Sent
from benchmarks.endurance.stage import Setup
from benchmarks.spans import BUNDLED
from tools.peers import Process

End = Literal["kill", "term"]
_WORDS: Final = {
    "kill": "killed by SIGKILL, with file_storage",
    "term": "ended by SIGTERM, without a store",
}
DRAINED: Final = 25.0
"""The default of `shutdown_timeout`: a stage that is asked to end has so many seconds for what it holds."""
_EARLY: Final = 0.2  # share of kills that do not wait until the stage takes spans
_EARLIEST: Final = 2.0  # seconds after its start at which these come at the latest
_SILENCE: Final = 20.0
_PATIENCE: Final = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is done.

    Attributes:
        end: how the stage is ended each time.
        times: how often.
        setup: of the stage.
        load: under which.
        latest: seconds after it takes spans at which it is ended at the latest.
        seed: of the moments.
    """

    end: End
    times: int
    setup: Setup
    load: Load
    latest: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it.

    Attributes:
        end: how it was ended.
        times: how often.
        before_ready: how often before it took spans again.
        account: of all spans.
        sent: what the sender did.
        seconds: how long it all took.
        ready: seconds from each start until it took spans, where it came so far.
        drained: seconds of each SIGTERM.
        codes: exit codes other than what the signal gives.
        settled: seconds at the end until everything was out.
        left_bytes: of the store at the end.
    """

    end: End
    times: int
    before_ready: int
    account: Account
    sent: Sent
    seconds: float
    ready: tuple[float, ...]
    drained: tuple[float, ...]
    codes: tuple[int, ...]
    settled: float
    left_bytes: int

    def trouble(self) -> str:
        """Say what was promised and does not hold, or nothing."""
        counts = self.account
        wrong = {
            "acknowledged spans are missing": counts.missing,
            "spans came out that were never sent": counts.foreign,
            "requests were never acknowledged": self.sent.given_up,
            "ends were not clean": len(self.codes),
        }
        if self.end == "kill":
            wrong |= {
                "traces have different verdicts": counts.differing,
                "traces were judged in part": counts.in_part,
                "traces have no verdict": counts.unjudged,
            }
        else:
            late = sum(seconds > DRAINED for seconds in self.drained)
            wrong |= {"spans came out twice": counts.twice, "drains took too long": late}
        found = [f"{number:,} {what}" for what, number in wrong.items() if number]
        return f"{_WORDS[self.end]}: {', '.join(found)}" if found else ""


def run(plan: Plan, folder: Path, tell: Callable[[str], None] = lambda _: None) -> Outcome:
    """Do what *plan* says, with files in *folder*.

    Raises:
        RuntimeError: the stage did not start, or the sender failed.
    """
    moments = random.Random(plan.seed)
    with rig(folder, plan.load, plan.setup) as around:
        begun = time.monotonic()
        ready: list[float] = []
        drained: list[float] = []
        codes: list[int] = []
        before_ready = 0
        stage = around.stage.start()
        with around.sending(patience=_PATIENCE) as sending:
            try:
                for turn in range(plan.times):
                    alive = time.monotonic()
                    # A drain is only asked of a stage that stands.
                    early = plan.end == "kill" and moments.random() < _EARLY
                    after = moments.uniform(0.0, _EARLIEST if early else plan.latest)
                    became = _live(around, stage, alive, after, early=early)
                    if became is None:
                        before_ready += 1
                    else:
                        ready.append(became)
                    sending.check()
                    asked = time.monotonic()
                    code = _end(stage, plan.end)
                    if plan.end == "term":
                        drained.append(time.monotonic() - asked)
                    if code != (0 if plan.end == "term" else -SIGKILL):
                        codes.append(code)
                    stage = around.stage.start()
                    tell(_progress(turn + 1, plan, after, around))
                stage.wait_until_ready()
                sent = sending.result()
                settled = around.settle(_SILENCE + plan.setup.wait, _PATIENCE)
                if code := stage.stop():
                    codes.append(code)
            finally:
                stage.stop()
        return Outcome(
            end=plan.end,
            times=plan.times,
            before_ready=before_ready,
            account=around.account(),
            sent=sent,
            seconds=time.monotonic() - begun,
            ready=tuple(ready),
            drained=tuple(drained),
            codes=tuple(codes),
            settled=settled,
            left_bytes=around.stage.stored_bytes(),
        )


def _live(around: Rig, stage: Process, since: float, after: float, *, early: bool) -> float | None:
    """Let it live for *after* seconds from when it is ready, or from its start if *early*; gives when it was ready.

    Raises:
        RuntimeError: it ended by itself.
    """
    became = None
    until = since + after if early else since + _PATIENCE
    while time.monotonic() < until:
        if became is None and around.stage.ready():
            became = time.monotonic() - since
            until = until if early else since + became + after
        if stage.exit_code is not None:
            raise RuntimeError(f"the stage ended by itself with {stage.exit_code}:\n{stage.tail()}")
        time.sleep(0.01)
    return became


def _end(stage: Process, end: End) -> int:
    if end == "term":
        return stage.stop()
    stage.signal(SIGKILL)
    return stage.wait()


def _progress(turn: int, plan: Plan, after: float, around: Rig) -> str:
    return f"{plan.end} {turn}/{plan.times} after {after:.2f} s; accepted {around.accepted():,}, out {around.ledger.out():,}"


def table(outcomes: Sequence[Outcome]) -> str:
    """Put *outcomes* into lines."""
    rows: list[tuple[str, Callable[[Outcome], str]]] = [
        ("times", lambda one: f"{one.times}"),
        ("of these before it took spans again", lambda one: f"{one.before_ready}"),
        ("spans acknowledged", lambda one: f"{one.account.accepted:,}"),
        ("of these missing", lambda one: f"{one.account.missing:,}"),
        ("came out twice", lambda one: f"{one.account.twice:,}"),
        ("  the same, sent again after no answer", lambda one: f"{one.account.twice_sent:,}"),
        ("came out and were never sent", lambda one: f"{one.account.foreign:,}"),
        ("traces acknowledged", lambda one: f"{one.account.traces:,}"),
        ("  without a verdict", lambda one: f"{one.account.unjudged:,}"),
        ("  whose verdict came out again", lambda one: _if_kept(one, one.account.again)),
        ("  with two different verdicts", lambda one: _if_kept(one, one.account.differing)),
        ("  judged in part", lambda one: _if_kept(one, one.account.in_part)),
        ("  late, as the sender could not deliver", lambda one: _if_kept(one, one.account.late)),
        ("requests refused and sent again", lambda one: f"{one.sent.refused:,}"),
        ("attempts without an answer", lambda one: f"{one.sent.unanswered:,}"),
        ("s until it takes spans, median, most", lambda one: _middle_and_most(one.ready)),
        ("s to drain, median, most", lambda one: _middle_and_most(one.drained)),
        ("s until all was out, at the end", lambda one: f"{one.settled:.1f}"),
        ("KiB in the store, at the end", lambda one: f"{one.left_bytes / 1024:,.0f}"),
    ]
    head = f"{'':<42}" + "".join(f"{_WORDS[one.end]:>40}" for one in outcomes)
    return "\n".join([head, *(f"{name:<42}" + "".join(f"{say(one):>40}" for one in outcomes) for name, say in rows)])


def _if_kept(one: Outcome, count: int) -> str:
    """Without a store nobody promises anything of a trace that began before the end and went on after it."""
    return f"{count:,}" if one.end == "kill" else "-"


def _middle_and_most(values: Sequence[float]) -> str:
    return f"{np.median(values):.2f}, {max(values):.2f}" if values else "-"


_METHOD: Final = """\
A sender keeps to its rate over OTLP/gRPC, OTLP/HTTP and Zipkin and sends every request again until it is acknowledged; each span has a
number. The stage is ended at moments drawn from the seed, also while it starts and replays, and started again at once on the same folder.
twice: copies beyond a span's first, where every attempt of its request was answered; sent again after no answer: where one was not, so that the
sender itself may have sent it twice. judged in part: traces with a span that came only after the verdict though it was sent within
wait_duration; late: though it was not, for the stage was down. Drained by SIGTERM, what waits for the rest of its trace is judged as it is."""


@click.command(context_settings={"show_default": True})
@click.option("--times", type=int, default=100, help="SIGKILLs with the store")
@click.option("--terms", type=int, default=20, help="SIGTERMs without it")
@click.option("--rate", type=float, default=2_000, help="spans a second")
@click.option("--per-request", type=int, default=50, help="spans a request, at most")
@click.option("--wait", type=float, default=2.0, help="wait_duration, seconds")
@click.option(
    "--latest", type=float, default=6.0, help="seconds after it takes spans at which it is ended at the latest"
)
@click.option("--fsync", is_flag=True, help="of file_storage")
@click.option("--seed", type=int, default=None, help="of the moments; by default a new one, which is printed")
@click.option("--model", type=click.Path(path_type=Path, exists=True), default=BUNDLED)
@click.option("--keep", type=click.Path(path_type=Path), help="a folder for logs, ledgers and the store")
@click.option("--output", type=click.Path(path_type=Path), default=report.RESULTS / "crashes")
def main(
    times: int,
    terms: int,
    rate: float,
    per_request: int,
    wait: float,
    latest: float,
    fsync: bool,
    seed: int | None,
    model: Path,
    keep: Path | None,
    output: Path,
) -> None:
    """Kill the stage again and again; write OUTPUT.txt and OUTPUT.json."""
    told = report.header("benchmarks.endurance", sys.argv[1:])
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    click.echo(f"seed {seed}", err=True)
    outcomes = []
    with TemporaryDirectory(prefix="otel-tracead-bench-") as temporary:
        ends: tuple[tuple[End, int], ...] = (("kill", times), ("term", terms))
        for end, count in ends:
            if not count:
                continue
            setup = Setup(model=model, wait=wait, storage=end == "kill", fsync=fsync)
            load = Load(rate=rate, seconds=count * (latest + 40), per_request=per_request)
            plan = Plan(end=end, times=count, setup=setup, load=load, latest=latest, seed=seed)
            folder = (keep or Path(temporary)) / end
            outcomes.append(run(plan, folder, lambda line: click.echo(line, err=True)))
    setting = (
        f"{rate:,.0f} spans a second of the simulated shop in requests of up to {per_request}; model {model.name}, wait_duration {wait:g} s, "
        f"fsync {str(fsync).lower()}; ended up to {latest:g} s after it takes spans, one kill in five up to {_EARLIEST:g} s after its start; seed {seed}"
    )
    document: dict[str, Any] = {**told, "seed": seed, "outcomes": [asdict(one) for one in outcomes]}
    trouble = "; ".join(filter(None, (one.trouble() for one in outcomes)))
    report.conclude(output, "Killed again and again under load", document, [setting, table(outcomes), _METHOD], trouble)
