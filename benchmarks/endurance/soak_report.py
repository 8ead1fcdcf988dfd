"""What came of a soak, and how it is told: tables, a picture, and what was promised and does not hold."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.endurance.account import Account
from benchmarks.endurance.curves import Curve, Span, draw
from benchmarks.endurance.faults import Fault
from benchmarks.endurance.samples import Series, Trend
from benchmarks.endurance.sender import Sent

_MIB: Final = 1 << 20
METHOD: Final = """\
Spans are numbered, and sent over OTLP/gRPC, OTLP/HTTP and Zipkin until they are acknowledged. Faults are drawn from the seed: every kind once
before any comes again, one in four together with the next. A cut holds back the stage's bytes in the middle, lets answers pass that are due,
then breaks the connection: so what comes twice was doubled by the stage. from release to verdict: from wait_duration after a trace's first
span was sent until its verdict was at the backend. growth: from a minute after every kind of fault has struck once, a line through the medians
of 30 windows; it counts where its interval lies above zero and it is more than 2 % of the level an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it.

    Attributes:
        account: of all spans.
        sent: what the sender did.
        struck: how often each kind of fault struck.
        statuses: what broken requests were answered with.
        again: when traces came again, how many, and the faults before that: see `faults.events`.
        steady: seconds from the start that trends begin at.
        trends: by column: bytes of memory, file descriptors, threads.
        calm_ms: percentiles of the latency of traces that no fault touched.
        all_ms: of all traces.
        answer_ms: of the time until a request was acknowledged.
        cpu_us: CPU microseconds a span.
        rss_mib: the most resident memory.
        exit_code: of the stage, asked to end.
        errors: what it logged as errors, how often.
        kills: whether it was killed in it.
        seconds: of sending.
        series: what was sampled.
        latency: median and 99th percentile in each minute: seconds, ms, ms.
    """

    account: Account
    sent: Sent
    struck: Mapping[str, int]
    statuses: Mapping[str, int]
    again: Sequence[tuple[float, int, Sequence[str]]]
    steady: float
    trends: Mapping[str, Trend]
    calm_ms: Mapping[str, float]
    all_ms: Mapping[str, float]
    answer_ms: Mapping[str, float]
    cpu_us: float
    rss_mib: float
    exit_code: int
    errors: Mapping[str, int]
    kills: bool
    seconds: float
    series: Series
    latency: Sequence[tuple[float, float, float]]

    def trouble(self, limit_mib: int | None) -> str:
        """Say what was promised and does not hold, or nothing."""
        counts = self.account
        wrong = {
            "acknowledged spans are missing": counts.missing,
            "spans came out that were never sent": counts.foreign,
            "requests were never acknowledged": self.sent.given_up,
            "traces have different verdicts": counts.differing,
        }
        if not self.kills:
            wrong |= {"spans came out twice": counts.twice, "traces were judged in part": counts.in_part}
        found = [f"{number:,} {what}" for what, number in wrong.items() if number]
        if not self.kills:
            found += [f"{name} grow: {line.words()}" for name, line in self.trends.items() if line.grows]
        if limit_mib and self.rss_mib > limit_mib:
            found.append(f"memory reached {self.rss_mib:.0f} MiB of {limit_mib}")
        if self.exit_code:
            found.append(f"exit code {self.exit_code}")
        return ", ".join(found)


def table(outcome: Outcome, limit_mib: int | None) -> list[str]:
    """Put an outcome into sections of lines."""
    counts, sent = outcome.account, outcome.sent
    rows = {
        "spans acknowledged": f"{counts.accepted:,}",
        "of these missing": f"{counts.missing:,}",
        "came out twice": f"{counts.twice:,}",
        "  the same, sent again after no answer": f"{counts.twice_sent:,}",
        "came out and were never sent": f"{counts.foreign:,}",
        "traces acknowledged": f"{counts.traces:,}",
        "  with two different verdicts": f"{counts.differing:,}",
        "  judged in part": f"{counts.in_part:,}",
        "  late, as the sender could not deliver": f"{counts.late:,}",
        "requests refused and sent again": f"{sent.refused:,}",
        "attempts without an answer": f"{sent.unanswered:,}",
        "CPU µs a span": f"{outcome.cpu_us:.1f}",
        "most resident memory" + (", of its limit" if limit_mib else ""): f"{outcome.rss_mib:,.0f}"
        + (f" of {limit_mib}" if limit_mib else "")
        + " MiB",
        "exit code": f"{outcome.exit_code}",
    }
    figures = "\n".join(f"{name:<42}{value:>20}" for name, value in rows.items())
    units = {
        "rss": ("resident memory", _MIB, " MiB"),
        "fds": ("file descriptors", 1, ""),
        "threads": ("threads", 1, ""),
    }
    growth = "\n".join(
        f"{units[name][0]:<20}{line.words(units[name][1], units[name][2])}" for name, line in outcome.trends.items()
    )
    names = list(outcome.all_ms)
    lines = [f"{'milliseconds':<42}" + "".join(f"{name:>12}" for name in names)]
    for title, found in (
        ("from release to verdict, no fault near", outcome.calm_ms),
        ("from release to verdict, all", outcome.all_ms),
        ("until a request is acknowledged", outcome.answer_ms),
    ):
        lines.append(f"{title:<42}" + "".join(f"{found.get(name, math.nan):>12,.1f}" for name in names))
    struck = "\n".join(f"{name:<42}{number:>6}" for name, number in outcome.struck.items())
    statuses = "\n".join(f"{name:<60}{number:>6}" for name, number in outcome.statuses.items())
    again = "\n".join(f"{at:>8,.0f} s {traces:>8,}  {', '.join(faults)}" for at, traces, faults in outcome.again)
    errors = "\n".join(f"{number:>6}  {name}" for name, number in outcome.errors.items())
    sections = [
        figures,
        f"Growth after {outcome.steady:.0f} s: level, slope with its 95 % confidence interval\n\n{growth}"
        if growth
        else "",
        f"When traces came again, how many, and the faults of that time\n\n{again}" if again else "",
        "\n".join(lines),
        f"Faults, how often\n\n{struck}",
        f"Broken requests, and the status that answered them, how often\n\n{statuses}" if statuses else "",
        f"Logged as errors, how often\n\n{errors}" if errors else "",
    ]
    return [section for section in sections if section]


def picture(outcome: Outcome, faults: Sequence[Fault], limit_mib: int | None, place: Path) -> None:
    """Draw memory, descriptors, spans a second and latency over time."""
    series = outcome.series
    seconds = [at - series.at[0] for at in series.at]
    step = max(1, len(seconds) // 300)
    thin = seconds[::step]
    out = np.array(series.columns["out"][::step])
    curves = [
        Curve("resident memory, MiB", seconds, [value / _MIB for value in series.columns["rss"]], limit_mib),
        Curve("file descriptors", seconds, series.columns["fds"]),
        Curve("spans out a second", thin[1:], list(np.diff(out) / np.maximum(1e-9, np.diff(thin)))),
        Curve(
            "from release to verdict, median of each minute, ms",
            [at for at, _, _ in outcome.latency],
            [middle for _, middle, _ in outcome.latency],
        ),
    ]
    draw(place, curves, [Span(fault.at, max(fault.end, fault.at + 1)) for fault in faults])
