"""The demo's page: what went wrong, what was found of it, and the most telling traces as waterfalls."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from otel_tracead.demonstration.outcome import JudgedTrace, Outcome
from otel_tracead.reports import rendering, waterfall
from otel_tracead.reports.waterfall import Finding, Row

_FOR_EACH_FAULT: Final = 2
_FALSE_ALARMS: Final = 2
_READABLE: Final = 40  # spans
_COLUMNS: Final = 120
_WIDTH: Final = 1140  # pixels
_HEIGHT: Final = 110

WORDS: Final = {
    "slow_service": "Slow service",
    "slow_edge": "Slow connection",
    "lock_contention": "Lock contention",
    "error": "Failing requests",
    "abort": "Aborted requests",
    "missing_call": "Missing call",
    "retry_storm": "Retry storm",
    "changed_order": "Changed call order",
    "new_operation": "New operation",
}
"""Each kind of fault for people."""


@dataclass(frozen=True, slots=True)
class Column:
    """Traces that began in one stretch of time, in the chart's pixels.

    Attributes:
        x: left side.
        marked: height of the marked ones.
        normal: height of the others, on top.
    """

    x: float
    marked: float
    normal: float


@dataclass(frozen=True, slots=True)
class Window:
    """The time of one fault in the chart's pixels, with its number in the table."""

    x: float
    width: float
    number: int


@dataclass(frozen=True, slots=True)
class Chart:
    """How many traces began when, and how many of them were marked.

    Attributes:
        width: of the picture.
        height: of the picture; the columns stand on it.
        column: width of a column.
        columns: from left to right.
        windows: when there was a fault.
        ticks: (place, text) of the time axis.
    """

    width: int
    height: int
    column: float
    columns: Sequence[Column]
    windows: Sequence[Window]
    ticks: Sequence[tuple[float, str]]


@dataclass(frozen=True, slots=True)
class Shown:
    """One trace of the page.

    Attributes:
        judged: the trace.
        truth: what really happened.
        at: when it began after the start, for people.
        length_ms: how long it took.
        findings: in words.
        rows: as a picture.
    """

    judged: JudgedTrace
    truth: str
    at: str
    length_ms: float
    findings: Sequence[Finding]
    rows: Sequence[Row]


def render(outcome: Outcome, *, model: str, duration_s: float, notes: Sequence[str] = ()) -> str:
    """Give the page.

    Args:
        outcome: what was found.
        model: name and version of the model that judged.
        duration_s: of the simulation.
        notes: what a reader should know about how this was made.
    """
    return rendering.render(
        "demo.html",
        outcome=outcome,
        model=model,
        minutes=f"{duration_s / 60:g}",
        notes=notes,
        words=WORDS,
        traces=[_shown(one, truth, outcome) for one, truth in telling(outcome)],
        chart=_chart(outcome, duration_s),
        clock=_clock,
    )


def telling(outcome: Outcome) -> Iterator[tuple[JudgedTrace, str]]:
    """Choose a few marked traces of each fault, and a few false alarms; each with what really happened."""
    marked = sorted(outcome.marked, key=_tellingness)
    for found in outcome.faults:
        truth = f"{WORDS[found.fault.kind]}: {found.where}"
        hit = (one for one in marked if one.affected is not None and one.affected.fault == found.number)
        yield from ((one, truth) for one in islice(hit, _FOR_EACH_FAULT))
    for one in islice((one for one in marked if one.affected is None), _FALSE_ALARMS):
        during = "though one was on, and it may have waited in line" if outcome.during_fault(one) else "and none was on"
        yield one, f"False alarm: no fault touched this trace, {during}"


def _tellingness(one: JudgedTrace) -> tuple[bool, bool, float, bytes]:
    """Sort first what points at the right place, can be read at a glance, and is sure."""
    return not one.located, one.trace.span_count > _READABLE, -one.trace.score, one.trace.trace_id


def _shown(one: JudgedTrace, truth: str, outcome: Outcome) -> Shown:
    return Shown(
        judged=one,
        truth=truth,
        at=_clock((one.trace.start_unix_nano - outcome.start_unix_nano) / 1e9),
        length_ms=waterfall.length_ms(one.trace),
        findings=waterfall.findings(one.trace),
        rows=waterfall.rows(one.trace),
    )


def _chart(outcome: Outcome, duration_s: float) -> Chart:
    step = duration_s / _COLUMNS
    counts = [[0, 0] for _ in range(_COLUMNS)]
    for one in outcome.judged:
        place = int((one.trace.start_unix_nano - outcome.start_unix_nano) / 1e9 / step)
        if 0 <= place < _COLUMNS:
            counts[place][one.trace.anomalous] += 1
    scale = _HEIGHT / max(1, *(normal + marked for normal, marked in counts))
    column = _WIDTH / _COLUMNS
    return Chart(
        width=_WIDTH,
        height=_HEIGHT,
        column=round(column - 1, 2),
        columns=[
            Column(round(place * column, 2), round(marked * scale, 2), round(normal * scale, 2))
            for place, (normal, marked) in enumerate(counts)
        ],
        windows=[
            Window(
                round(found.fault.start_s / duration_s * _WIDTH, 2),
                round(found.fault.duration_s / duration_s * _WIDTH, 2),
                number,
            )
            for number, found in enumerate(outcome.faults, 1)
        ],
        ticks=[(round(part / 4 * _WIDTH, 1), _clock(part / 4 * duration_s)) for part in range(5)],
    )


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
