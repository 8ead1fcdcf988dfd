from collections.abc import Callable
from itertools import pairwise
from statistics import median

import pytest

from otel_tracead.duration import parse_duration
from otel_tracead.generator import (
    FAULT_KINDS,
    Fault,
    Label,
    SimulatedSpan,
    SimulatedTrace,
    Truth,
    parse_fault,
    simulate,
    standard_faults,
)
from otel_tracead.generator.semantics import Kind
from tests.generator.conftest import START, scenario

Run = Callable[[Fault], tuple[dict[bytes, SimulatedTrace], Truth]]


def fault(kind: str, service: str, **more: object) -> Fault:
    return Fault(**{"kind": kind, "service": service, "start_s": 10.0, "duration_s": 40.0, **more})


def culprits(run: tuple[dict[bytes, SimulatedTrace], Truth]) -> list[tuple[SimulatedTrace, list[SimulatedSpan]]]:
    traces, truth = run
    assert truth.traces
    found = []
    for affected in truth.traces:
        spans = {span.span_id: span for span in traces[affected.trace_id].spans}
        assert affected.span_ids
        found.append((traces[affected.trace_id], [spans[span_id] for span_id in affected.span_ids]))
    return found


def took(span: SimulatedSpan) -> int:
    return span.end_unix_nano - span.start_unix_nano


def children(trace: SimulatedTrace, span: SimulatedSpan) -> list[SimulatedSpan]:
    below = [s for s in trace.spans if s.parent_span_id == span.span_id]
    return sorted(below, key=lambda s: s.start_unix_nano)


def test_standard_faults_hit_something_each_and_follow_one_another() -> None:
    faults = standard_faults(90.0, 5)
    assert sorted(f.kind for f in faults) == sorted(FAULT_KINDS)
    assert all(a.start_s + a.duration_s < b.start_s for a, b in pairwise(faults))
    assert faults[0].start_s > 0
    assert faults[-1].start_s + faults[-1].duration_s < 90
    assert standard_faults(90.0, 6) != faults
    run = simulate(scenario(duration_s=90.0, faults=faults))
    traces = {trace.trace_id: trace for trace in run.traces}
    assert {affected.kind for affected in run.truth.traces} == set(FAULT_KINDS)
    for affected in run.truth.traces:
        window = faults[affected.fault]
        start_s = (affected.start_unix_nano - START) / 1e9
        assert window.start_s - 2 <= start_s < window.start_s + window.duration_s
        assert set(affected.span_ids) <= {span.span_id for span in traces[affected.trace_id].spans}


def test_slow_service(with_fault: Run, normal: list[SimulatedTrace]) -> None:
    usual = median(took(s) for t in normal for s in t.spans if s.name.endswith("GetAds") and s.kind is Kind.SERVER)
    hit = culprits(with_fault(fault("slow_service", "ad", severity=8.0, share=0.5)))
    assert {span.origin.service.name for _, spans in hit for span in spans} == {"ad"}
    assert median(took(span) for _, spans in hit for span in spans) > 5 * usual


def test_slow_service_without_spans_of_its_own_shows_at_its_callers(with_fault: Run) -> None:
    hit = culprits(with_fault(fault("slow_service", "postgresql", severity=20.0)))
    assert {span.kind for _, spans in hit for span in spans} == {Kind.CLIENT}


def test_slow_edge_delays_only_the_way_between_the_two(with_fault: Run) -> None:
    run = with_fault(fault("slow_edge", "cart", caller="frontend", severity=50.0))
    for trace, spans in culprits(run):
        for span in spans:
            assert Label.of(span).service == "frontend"
            assert Label.of(span).peer == "cart"
            assert took(span) - took(children(trace, span)[0]) > 37e6


def test_lock_contention_serialises(with_fault: Run) -> None:
    run = with_fault(fault("lock_contention", "currency", severity=40.0, share=0.3))
    assert all(affected.extra_ms >= 39.9 for affected in run[1].traces)
    assert any(affected.extra_ms > 60 for affected in run[1].traces)
    assert all(took(span) >= 39.9e6 for _, spans in culprits(run) for span in spans)


def test_error(with_fault: Run) -> None:
    for trace, spans in culprits(with_fault(fault("error", "product-catalog", share=0.3))):
        for span in spans:
            assert span.error
            assert span.message
            assert [event.name for event in span.events] == ["exception"]
            assert not children(trace, span)


def test_abort_leaves_the_rest_of_the_trace_out(with_fault: Run) -> None:
    run = with_fault(fault("abort", "frontend", share=0.5))
    for affected, (trace, spans) in zip(run[1].traces, culprits(run), strict=True):
        assert affected.missing
        (span,) = spans
        assert ("http.response.status_code", 499) in span.attributes
        if trace.root == "GET /api/products":
            assert len(children(trace, span)) + len(affected.missing) == 2


def test_missing_call_lacks_the_span_and_names_the_caller(with_fault: Run) -> None:
    run = with_fault(fault("missing_call", "currency", caller="frontend"))
    for affected, (trace, spans) in zip(run[1].traces, culprits(run), strict=True):
        assert set(affected.missing) <= {
            "currency oteldemo.CurrencyService/Convert",
            "currency oteldemo.CurrencyService/GetSupportedCurrencies",
        }
        assert affected.missing
        (span,) = spans
        assert span.origin.service.name == "frontend"
        assert not [child for child in children(trace, span) if Label.of(child).peer == "currency"]


def test_missing_message(with_fault: Run) -> None:
    run = with_fault(fault("missing_call", "kafka"))
    for trace, _ in culprits(run):
        assert not {Kind.PRODUCER, Kind.CONSUMER} & {span.kind for span in trace.spans}


def test_retry_storm_repeats_the_work(with_fault: Run) -> None:
    run = with_fault(fault("retry_storm", "product-catalog", caller="frontend", severity=3.0, share=0.3))
    for trace, spans in culprits(run):
        assert len(spans) % 2 == 0
        for span in spans:
            assert span.error
            assert span.kind is Kind.CLIENT
            assert [child.origin.service.name for child in children(trace, span)] == ["product-catalog"]


def test_changed_order(with_fault: Run) -> None:
    run = with_fault(fault("changed_order", "checkout"))
    usual = ["", "payment", "shipping", "cart", "email", "kafka"]
    for trace, (caller, early) in culprits(run):
        made = [Label.of(child).peer for child in children(trace, caller)]
        assert made != usual[: len(made)]
        assert early in children(trace, caller)


def test_new_operation_was_never_seen(with_fault: Run, normal: list[SimulatedTrace]) -> None:
    names = {span.name for trace in normal for span in trace.spans}
    run = with_fault(fault("new_operation", "cart", operation="migrate_cart_v2"))
    for _, spans in culprits(run):
        assert {span.name for span in spans} == {"migrate_cart_v2"}
    assert "migrate_cart_v2" not in names


def test_only_traces_of_the_truth_differ(with_fault: Run) -> None:
    traces, truth = with_fault(fault("error", "email"))
    listed = {affected.trace_id for affected in truth.traces}
    broken = {t.trace_id for t in traces.values() for s in t.spans if s.error and s.origin.service.name == "email"}
    assert listed == broken


def test_operation_narrows_a_fault(with_fault: Run) -> None:
    hit = culprits(with_fault(fault("error", "cart", operation="AddItem")))
    assert {span.name for _, spans in hit for span in spans} == {"oteldemo.CartService/AddItem"}


def test_truth_survives_json(with_fault: Run) -> None:
    _, truth = with_fault(fault("missing_call", "currency", caller="frontend"))
    assert Truth.from_json(truth.to_json()) == truth


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"schema_version": 99}', b'{"schema_version": 1, "faults": 3}'])
def test_what_is_no_truth_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="not a truth file"):
        Truth.from_json(text)


def test_parse_fault() -> None:
    assert parse_fault("slow_service:payment:2m:60s:5", parse_duration) == Fault(
        kind="slow_service", service="payment", start_s=120.0, duration_s=60.0, severity=5.0
    )
    parsed = parse_fault("missing_call:checkout>cart/EmptyCart:0s:1m", parse_duration)
    assert (parsed.caller, parsed.service, parsed.operation) == ("checkout", "cart", "EmptyCart")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("error:payment", "has 2 parts"),
        ("fire:payment:1s:1s", "unknown fault kind 'fire'"),
        ("error::1s:1s", "needs a service"),
        ("error:payment:1:1s", "duration"),
        ("error:payment:1s:1s:much", "much"),
        ("error:payment:1s:0s", "must be"),
        ("error:payment:1s:1s:nan", "must be"),
    ],
)
def test_a_fault_that_cannot_be_read_says_what_is_wrong(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as raised:
        parse_fault(text, parse_duration)
    assert "slow_service:payment:2m:60s:5" in str(raised.value) or "known are" in str(raised.value)
