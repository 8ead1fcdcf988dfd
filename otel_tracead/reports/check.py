"""What a check found, for people on a terminal and as JSON for programs."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import orjson

from otel_tracead.detection.check import CheckResult, spoken_share, spoken_weakness
from otel_tracead.detection.findings import Kind

_HEAD = ("injected", "tried", "found", "right span marked", "plain rule", "built like a normal one")


@dataclass(frozen=True, slots=True)
class Subject:
    """What was checked on what.

    Attributes:
        name: of the model.
        version: of the model.
        traces_read: traces in the files.
        traces: of them, those that were looked at.
    """

    name: str
    version: str
    traces_read: int
    traces: int


def as_text(subject: Subject, result: CheckResult) -> str:
    """Say first whether it works and why not, then what was found."""
    return "\n".join(_lines(subject, result))


def _lines(subject: Subject, result: CheckResult) -> Iterator[str]:
    verdict = "works" if result.passed else "does NOT work"
    few = spoken_weakness(result.findings)
    end = f", but it {few}." if few else "."
    yield f"Model {subject.name} {subject.version} {verdict} on this traffic{end if result.passed else ':'}"
    yield from (f"  - {reason}" for reason in result.reasons)
    yield ""
    if subject.traces < subject.traces_read:
        yield f"Looked at {subject.traces} of {subject.traces_read} traces, a random part."
    yield from result.words
    if result.findings.kinds:
        yield ""
        yield from _table([_HEAD, *map(_row, result.findings.kinds)])
        yield ""
        yield "The plain rule knows each label's own times, of the other half of these traces, and marks as many normal ones."
        if not all(kind.counts for kind in result.findings.kinds):
            yield "* does not count: normal spans take as long, too."


def _row(kind: Kind) -> tuple[str, ...]:
    return (
        kind.name if kind.counts else f"{kind.name} *",
        str(kind.tried),
        f"{kind.found.value:.0%} ({kind.found.low:.0%} to {kind.found.high:.0%})",
        _some(kind.located),
        _some(kind.rule),
        _some(kind.ordinary),
    )


def _some(share: float | None) -> str:
    return "-" if share is None else spoken_share(share)


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *others = (
            cell.ljust(width) if not at else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join((first, *others)).rstrip()


def as_json(subject: Subject, result: CheckResult) -> str:
    """Give everything that was found; shares are of 1."""
    findings = result.findings
    content = {
        "passed": result.passed,
        "reasons": result.reasons,
        "model": {"name": subject.name, "version": subject.version},
        "traces_read": subject.traces_read,
        "traces": subject.traces,
        "figures": result.figures,
        "kinds": [
            {
                "kind": kind.name,
                "injected": kind.tried,
                "found": kind.found.value,
                "found_95": [kind.found.low, kind.found.high],
                "located": kind.located,
                "plain_rule": kind.rule,
                "ordinary": kind.ordinary,
                "counts": kind.counts,
            }
            for kind in findings.kinds
        ],
        "alarms": [asdict(alarm) for alarm in findings.alarms],
        "unknown_labels": [{"label": label, "spans": spans} for label, spans in findings.unknown],
        "words": result.words,
    }
    return orjson.dumps(content, option=orjson.OPT_INDENT_2).decode()
