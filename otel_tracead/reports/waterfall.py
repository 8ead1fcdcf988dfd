"""A marked trace as a picture and in words: rows in tree order with bars, and what, where and how sure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from otel_tracead.reports.annotated import AnnotatedSpan, AnnotatedTrace, Mark
from otel_tracead.reports.rendering import milliseconds, one_in, percent
from otel_tracead.traces.dictionary import END, RARE

_ALL: Final = 24
"""Traces with as many rows are shown whole."""

_AROUND: Final = 2
_INDENT: Final = 14  # pixels
_DEEPEST: Final = 12
_SPOKEN: Final = {END: "the end of the trace", RARE: "a rare call"}


class RowKind(StrEnum):
    """What a row stands for."""

    SPAN = "span"
    MARKED = "marked"
    GHOST = "ghost"
    GAP = "gap"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a waterfall; places are percentages of the trace's length.

    Attributes:
        kind: what it stands for.
        service: of the span.
        text: name of the span, the label of a call that is missing, or what was left out.
        indent: pixels.
        left: where the bar begins.
        width: of the bar.
        time: how long the span took, for people.
        expected: width of the time that was expected, or None.
        upper: where the bound is that was crossed, or None.
        error: the span's status, if it is an error.
    """

    kind: RowKind
    service: str = ""
    text: str = ""
    indent: int = 0
    left: float = 0.0
    width: float = 0.0
    time: str = ""
    expected: float | None = None
    upper: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One marked span in words.

    Attributes:
        where: service and name of the span.
        what: what is wrong with it.
        sure: how sure the detector is.
    """

    where: str
    what: str
    sure: str


def findings(trace: AnnotatedTrace) -> list[Finding]:
    """Say of each marked span what is wrong, where, and how sure the detector is; the surest first."""
    marked = [(span, span.mark) for span in trace.spans if span.mark is not None]
    claimed = _missing_under(trace)
    return [
        Finding(
            where=f"{span.service} · {span.name}",
            what="; ".join(_what(span, mark, claimed.get(span.span_id, ()))),
            sure=f"{mark.type.replace('_', ' ')}, {mark.level}: score {mark.score:.1f}, "
            f"about {one_in(mark.score)} normal traces looks as odd",
        )
        for span, mark in sorted(marked, key=lambda pair: -pair[1].score)
    ]


def rows(trace: AnnotatedTrace) -> list[Row]:
    """Give the rows of a trace; of a long one only what is marked or failed, its callers and neighbours."""
    if not trace.spans:
        return []
    begin = min(span.start_unix_nano for span in trace.spans)
    end = max(span.start_unix_nano + span.duration_ms * 1e6 for span in trace.spans)
    length_ms = max((end - begin) / 1e6, 1e-6)
    kept = _kept(trace.spans)
    missing = _missing_under(trace)
    out: list[Row] = []
    left_out = 0
    for place, span in enumerate(trace.spans):
        if place not in kept:
            left_out += 1
            continue
        if left_out:
            out.append(_gap(left_out))
            left_out = 0
        row = _row(span, begin, length_ms)
        out.append(row)
        out += [
            Row(kind=RowKind.GHOST, text=label, indent=_indent(span.depth + 1), left=row.left, width=row.width)
            for label in missing.get(span.span_id, ())
        ]
    return [*out, _gap(left_out)] if left_out else out


def length_ms(trace: AnnotatedTrace) -> float:
    """Give the time from the first start to the last end."""
    begin = min((span.start_unix_nano for span in trace.spans), default=0)
    return max(((span.start_unix_nano - begin) / 1e6 + span.duration_ms for span in trace.spans), default=0.0)


def _what(span: AnnotatedSpan, mark: Mark, missing: Sequence[str]) -> list[str]:
    said: list[str] = []
    if mark.slow:
        said.append(_slow(span, mark))
    if mark.structural and missing:
        said.append(f"here a call is missing: {', '.join(missing)}")
    elif mark.structural:
        expected = " or ".join(_SPOKEN.get(label, label) for label in mark.expected)
        seen = f"comes here {percent(mark.probability)} of the time" if mark.probability else "was never seen here"
        this = f"this, with the status {span.status}," if span.status else "this"
        said.append(f"{this} {seen}" + (f"; expected was {expected}" if expected else ""))
    return said


def _slow(span: AnnotatedSpan, mark: Mark) -> str:
    said = f"took {milliseconds(span.duration_ms)}"
    if mark.expected_ms is None:
        return said
    said += f", expected {milliseconds(mark.expected_ms)}"
    if mark.upper_ms is not None:
        said += f" and at most {milliseconds(mark.upper_ms)}"
    times = span.duration_ms / max(mark.expected_ms, 1e-9)
    return f"{said}: {times:.1f} times as long" if times >= 1.5 else said


def _missing_under(trace: AnnotatedTrace) -> dict[bytes, list[str]]:
    """Say for each structural span which of the trace's missing labels belong to it, as far as that can be known."""
    structural = [span for span in trace.spans if span.mark is not None and span.mark.structural]
    found: dict[bytes, list[str]] = {}
    for label in trace.missing:
        owners = [span for span in structural if span.mark is not None and label in span.mark.expected]
        if owners or structural:
            found.setdefault((owners or structural)[0].span_id, []).append(label)
    return found


def _kept(spans: Sequence[AnnotatedSpan]) -> set[int]:
    if len(spans) <= _ALL:
        return set(range(len(spans)))
    kept = {0}
    above: list[int] = []  # the callers of the span that is looked at
    for place, span in enumerate(spans):
        del above[span.depth :]
        if span.mark is not None or span.error:
            kept.update(above, (place,))
        if span.mark is not None:
            kept.update(range(max(0, place - _AROUND), min(len(spans), place + _AROUND + 1)))
        above.append(place)
    return kept


def _gap(count: int) -> Row:
    return Row(kind=RowKind.GAP, text=f"⋯ {count} more {'span' if count == 1 else 'spans'}, not marked")


def _row(span: AnnotatedSpan, begin: int, length: float) -> Row:
    def part(ms: float) -> float:
        return round(min(max(100 * ms / length, 0.0), 100.0), 3)

    at_ms = (span.start_unix_nano - begin) / 1e6
    mark = span.mark
    expected = mark.expected_ms if mark is not None and mark.slow else None
    upper = mark.upper_ms if mark is not None and mark.slow else None
    return Row(
        kind=RowKind.SPAN if mark is None else RowKind.MARKED,
        service=span.service,
        text=span.name,
        indent=_indent(span.depth),
        left=part(at_ms),
        width=part(span.duration_ms),
        time=milliseconds(span.duration_ms),
        expected=None if expected is None else part(expected),
        upper=None if upper is None else part(at_ms + upper),
        error=span.status if span.error else "",
    )


def _indent(depth: int) -> int:
    return _INDENT * min(depth, _DEEPEST)
