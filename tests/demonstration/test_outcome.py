from pathlib import Path

import pytest

from otel_tracead.demonstration.outcome import compare, judge
from otel_tracead.errors import InputError
from otel_tracead.generator import AffectedTrace, Fault, Truth
from otel_tracead.reports.annotated import AnnotatedSpan, AnnotatedTrace, Mark

START = 10**18
FAULTS = (
    Fault(kind="slow_edge", service="cart", caller="frontend", start_s=20, duration_s=5),
    Fault(kind="error", service="ad", start_s=10, duration_s=5),
)


def trace(number: int, at_s: float, service: str = "", unscored: str | None = None) -> AnnotatedTrace:
    mark = Mark(type="structural", level="high", score=4.0)
    span = AnnotatedSpan(
        span_id=bytes([number]),
        service=service,
        name="",
        start_unix_nano=0,
        duration_ms=1,
        depth=0,
        error=False,
        mark=mark,
    )
    return AnnotatedTrace(
        trace_id=bytes([number]),
        start_unix_nano=START + int(at_s * 1e9),
        span_count=2,
        anomalous=bool(service),
        unscored=unscored,
        spans=(span,) if service else (),
    )


def affected(number: int, fault: int, *span_ids: bytes) -> AffectedTrace:
    return AffectedTrace(bytes([number]), fault, FAULTS[fault].kind, FAULTS[fault].service, START, list(span_ids))


def test_what_was_said_is_held_against_what_happened():
    truth = Truth(START, FAULTS, ())
    truth.traces = [affected(1, 0, b"\x01"), affected(2, 0), affected(3, 0), affected(4, 1)]
    traces = [
        trace(1, 21, "frontend"),  # found at the span that was hit
        trace(2, 21, "cart"),  # found at its service
        trace(3, 22, "payment"),  # found, elsewhere
        trace(4, 11, unscored="unknown_traffic"),
        trace(5, 1),
        trace(6, 2, "cart"),  # false alarm
        trace(7, 12, "ad"),  # false alarm while a fault was on
        trace(8, 13),
    ]
    outcome = judge(traces, truth)
    assert [found.where for found in outcome.faults] == ["ad", "frontend → cart"]
    ad, cart = outcome.faults
    assert (cart.affected, cart.found, cart.located, cart.unscored, cart.caught) == (3, 3, 2, 0, True)
    assert (ad.affected, ad.found, ad.located, ad.unscored, ad.caught) == (1, 0, 0, 1, False)
    assert (outcome.caught, outcome.recall, outcome.false_alarm_rate, outcome.quiet_alarm_rate) == (1, 0.75, 0.5, 0.5)
    assert outcome.unscored == {"unknown_traffic": 1}
    assert outcome.spans == 16
    assert [one.trace.trace_id[0] for one in outcome.false_alarms if outcome.during_fault(one)] == [7]


def test_nothing_at_all_is_no_division_by_zero():
    outcome = judge([], Truth(START, FAULTS, ()))
    assert (outcome.recall, outcome.false_alarm_rate, outcome.quiet_alarm_rate, outcome.caught) == (0, 0, 0, 0)


def test_a_file_without_traces_is_said(tmp_path: Path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"resourceSpans": []}\n')
    with pytest.raises(InputError, match="holds no trace"):
        compare(path, Truth(START, FAULTS, ()))
