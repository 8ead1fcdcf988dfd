"""A ranking of root causes, in words for people and as JSON for programs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from otel_tracead.detection.changes import Change, What
from otel_tracead.detection.ranking import STANDS_OUT, Evidence, RankedService, Ranking
from otel_tracead.reports.path_words import printable
from otel_tracead.reports.rendering import milliseconds, percent
from otel_tracead.traces.labels import CALLEE

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND_NS: Final = 1_000_000_000
_SHOWN: Final = 5  # services
_SENTENCES: Final = 3
_INSTANCES: Final = 3
_MOST_DECADES: Final = 15.0


@dataclass(frozen=True, slots=True)
class Subject:
    """What was ranked.

    Attributes:
        since: start of the window in ns.
        until: its end.
        traces: in it.
        against: what it was compared with, in words.
    """

    since: int
    until: int
    traces: int
    against: str


def as_text(subject: Subject, ranking: Ranking) -> str:
    """Say which services stand out, and why."""
    return "\n".join(_lines(subject, ranking))


def _lines(subject: Subject, ranking: Ranking) -> Iterator[str]:
    yield (
        f"{_counted(subject.traces, 'trace')} from {format_time(subject.since)} to {format_time(subject.until)}, "
        f"against {printable(subject.against)}"
    )
    some = [one for one in ranking.services if one.score > 0]
    if not some or some[0].score < STANDS_OUT:
        yield ""
        yield "No service stands out. A fault that changes neither times nor calls leaves no trace in spans."
    for place, one in enumerate(some[:_SHOWN], 1):
        yield ""
        weak = " (may be chance)" if one.score < STANDS_OUT else ""
        yield f"{place}. {printable(one.service)}, score {one.score:.1f}{weak}"
        yield from (f"   {sentence(each.change)}" for each in one.evidence[:_SENTENCES])
        if len(one.instances) > 1:
            shown = ", ".join(printable(name) for name in one.instances[:_INSTANCES])
            rest = len(one.instances) - _INSTANCES
            yield f"   Instances, worst first: {shown}" + (f" and {rest} more" if rest > 0 else "")
    others = len(ranking.services) - min(len(some), _SHOWN)
    if some and others:
        yield ""
        yield f"{'Less' if len(some) > _SHOWN else 'Nothing'} speaks for the other {_counted(others, 'service')}."


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def sentence(change: Change) -> str:
    """Put a change in words."""
    label = printable(change.label.partition(CALLEE)[0])
    if change.what is What.OWN_WORK:
        return f"Own work took {_took(change)} ({_counted(change.count, 'span')}: {label})."
    if change.what is What.CALL:
        way = f"from {printable(change.service)} to {printable(change.callee)}"
        return f"The way {way} took {_took(change)} ({_counted(change.count, 'call')}: {label})."
    if change.what is What.FAILURE:
        return f"{percent(change.seen)} of {_counted(change.count, 'call')} failed, usually {percent(change.usual)}: {label}."
    return _next(change, label)


def _next(change: Change, label: str) -> str:
    after = "at once" if change.after is None else f"after {printable(change.after)}"
    more = change.seen > change.usual
    call = change.comes if more else change.instead_of
    what = f"ended {after}" if call is None else f"called {printable(call)} {after}"
    often = f"in {percent(change.seen)} of {_counted(change.count, 'case')}, usually in {percent(change.usual)}"
    return f"{label} {what} {often}."


def _took(change: Change) -> str:
    return f"{milliseconds(_ms(change.seen))} instead of {milliseconds(_ms(change.usual))}"


def _ms(log_us: float) -> float:
    microseconds: float = 10.0 ** min(log_us, _MOST_DECADES) - 1.0
    return max(microseconds, 0.0) / 1e3


def format_time(nanoseconds: int) -> str:
    """Write nanoseconds since 1970 as RFC 3339 in UTC, to the microsecond."""
    seconds, rest = divmod(nanoseconds, _SECOND_NS)
    text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{rest // 1000:06d}".rstrip("0").rstrip(".")
    return f"{text}{fraction}Z"


def as_json(subject: Subject, ranking: Ranking) -> str:
    """Give the contract's object; structural evidence has shares in the place of times."""
    content = {
        "since": format_time(subject.since),
        "until": format_time(subject.until),
        "traces": subject.traces,
        "services": [_service(one) for one in ranking.services],
    }
    return orjson.dumps(content, option=orjson.OPT_INDENT_2).decode()


def _service(one: RankedService) -> Mapping[str, Any]:
    return {
        "service": _sound(one.service),
        "score": round(one.score, 3),
        "instances": [_sound(name) for name in one.instances],
        "evidence": [_evidence(each) for each in one.evidence],
    }


def _evidence(each: Evidence) -> Mapping[str, Any]:
    change = each.change
    timed = change.is_time
    return {
        "label": _sound(change.label),
        "type": "response_time" if timed else "structural",
        "spans": change.count,
        "expected_ms": round(_ms(change.usual), 3) if timed else None,
        "observed_ms": round(_ms(change.seen), 3) if timed else None,
        "expected_share": None if timed else round(change.usual, 6),
        "observed_share": None if timed else round(change.seen, 6),
        "text": sentence(change),
    }


def _sound(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")  # half a character is no JSON
