from collections import Counter
from statistics import quantiles

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_tracead.generator import Fault, Label, SimulatedTrace, simulate, standard_faults
from otel_tracead.generator.semantics import Kind
from tests.generator.conftest import START, scenario


def facts(trace: SimulatedTrace) -> list[tuple[object, ...]]:
    return [
        (s.span_id, s.parent_span_id, s.name, s.start_unix_nano, s.end_unix_nano, s.attributes) for s in trace.spans
    ]


def test_the_same_seed_gives_the_same_traces_and_truth_however_often_it_is_read() -> None:
    settings = scenario(faults=standard_faults(20.0, 3))
    run, again = simulate(settings), simulate(settings)
    first = [facts(trace) for trace in run.traces]
    truth = run.truth.to_json()
    assert [facts(trace) for trace in again.traces] == first
    assert [facts(trace) for trace in run.traces] == first
    assert run.truth.to_json() == again.truth.to_json() == truth


def test_another_seed_gives_other_traces() -> None:
    ids = {next(iter(simulate(scenario(seed=seed)).traces)).trace_id for seed in range(5)}
    assert len(ids) == 5


def test_spans_come_in_the_order_of_their_ends_and_are_those_of_the_traces() -> None:
    run = simulate(scenario())
    ends = [span.ended_s for span in run.spans]
    assert ends == sorted(ends)
    assert Counter(s.span_id for s in run.spans) == Counter(s.span_id for t in run.traces for s in t.spans)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**40), rate=st.floats(1, 60), faulty=st.booleans())
def test_every_trace_is_a_tree_in_time(seed: int, rate: float, faulty: bool) -> None:
    faults = standard_faults(6.0, seed) if faulty else ()
    for trace in simulate(scenario(seed=seed, traces_per_second=rate, duration_s=6.0, faults=faults)).traces:
        spans = {span.span_id: span for span in trace.spans}
        assert len(spans) == len(trace.spans)
        assert [s.parent_span_id for s in trace.spans].count(b"") == 1
        for span in trace.spans:
            assert span.trace_id == trace.trace_id
            assert START <= span.start_unix_nano <= span.end_unix_nano
            if not span.parent_span_id:
                continue
            parent = spans[span.parent_span_id]
            assert parent.start_unix_nano <= span.start_unix_nano
            if span.kind is Kind.CONSUMER:
                assert [link.span_id for link in span.links] == [parent.span_id]
            else:
                assert span.end_unix_nano <= parent.end_unix_nano


def test_clock_skew_moves_whole_hosts_and_nothing_else(normal: list[SimulatedTrace]) -> None:
    skewed = list(simulate(scenario(duration_s=60.0, clock_skew_ms=0.5)).traces)
    moved = {
        (b.origin.host.name, b.start_unix_nano - a.start_unix_nano, b.end_unix_nano - a.end_unix_nano)
        for one, other in zip(normal, skewed, strict=True)
        for a, b in zip(one.spans, other.spans, strict=True)
    }
    assert {shift for _, shift, _ in moved} == {-500_000, 0, 500_000}
    assert all(start == end for _, start, end in moved)
    assert len({host for host, _, _ in moved}) == len(moved) == 4


def p95(rate: float, scale: float = 1.0) -> float:
    took = [
        trace.spans[-1].end_unix_nano - trace.start_unix_nano
        for trace in simulate(scenario(traces_per_second=rate, duration_s=12.0, scale=scale)).traces
        if trace.root == "GET /"
    ]
    return quantiles(took, n=20)[-1]


def test_load_makes_latency_and_more_workers_take_it_away() -> None:
    busy = p95(330)
    assert busy > 2 * p95(20)
    assert p95(330, scale=4) < busy / 2


def test_an_overloaded_shop_refuses_instead_of_growing() -> None:
    traces = list(simulate(scenario(traces_per_second=500, scale=0.25, duration_s=8.0)).traces)
    assert any(("http.response.status_code", 503) in span.attributes for trace in traces for span in trace.spans)


def test_the_rate_follows_the_day() -> None:
    night = START - START % (86_400 * 10**9) + 2 * 3600 * 10**9
    afternoon = night + 12 * 3600 * 10**9
    counts = [sum(1 for _ in simulate(scenario(start_unix_nano=at)).traces) for at in (night, afternoon)]
    assert counts[1] > 1.6 * counts[0]


def test_traces_are_of_many_shapes(normal: list[SimulatedTrace]) -> None:
    lengths = [len(trace.spans) for trace in normal]
    assert min(lengths) <= 2
    assert max(lengths) > 40
    assert sum(3 <= length <= 60 for length in lengths) > 0.9 * len(lengths)
    services = {span.origin.service.name for trace in normal for span in trace.spans}
    assert len(services) >= 12
    assert len({trace.root for trace in normal}) > 8
    assert len({span.origin.pod for trace in normal for span in trace.spans}) > len(services)
    kinds = {span.kind for trace in normal for span in trace.spans}
    assert kinds == set(Kind)


def test_siblings_of_a_concurrent_group_overlap(normal: list[SimulatedTrace]) -> None:
    home = next(trace for trace in normal if trace.root == "GET /" and len(trace.spans) >= 10)
    calls = [s for s in home.spans if s.origin.service.name == "frontend" and s.kind is Kind.CLIENT]
    assert len(calls) == 3
    assert max(s.start_unix_nano for s in calls) < min(s.end_unix_nano for s in calls)


def test_the_call_graph_holds_every_call_that_is_made(normal: list[SimulatedTrace]) -> None:
    graphs = {(graph.root.service, graph.root.name): graph.edges for graph in simulate(scenario()).truth.call_graphs}
    seen: set[tuple[Label, Label]] = set()
    for trace in normal:
        labels = {span.span_id: Label.of(span) for span in trace.spans}
        root = labels[next(s.span_id for s in trace.spans if not s.parent_span_id)]
        edges = {(labels[s.parent_span_id], labels[s.span_id]) for s in trace.spans if s.parent_span_id}
        assert edges <= graphs[root.service, root.name]
        seen |= edges
    assert seen == set().union(*graphs.values())


def test_the_call_graph_knows_what_is_concurrent_and_what_depends() -> None:
    graphs = {graph.root.name: graph for graph in simulate(scenario()).truth.call_graphs}
    concurrent = [group for group in graphs["GET /"].groups if group.concurrent]
    assert len(concurrent) == 1
    assert {callee.peer for callee in concurrent[0].callees} == {"product-catalog", "currency", "cart"}
    place = [
        g for g in graphs["POST /api/checkout"].groups if g.caller.name.endswith("PlaceOrder") and g.caller.kind == 2
    ]
    assert [group.callees[0].peer for group in place] == ["", "payment", "shipping", "cart", "email", "kafka"]
    assert [group.position for group in place] == list(range(6))


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": -1},
        {"duration_s": 0},
        {"duration_s": float("inf")},
        {"traces_per_second": 0},
        {"scale": 0},
        {"daily_swing": 2},
        {"start_unix_nano": -1},
        {"clock_skew_ms": float("nan")},
    ],
)
def test_a_scenario_out_of_range_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        scenario(**changes)


def test_a_fault_at_an_unknown_service_is_refused_with_the_known_ones() -> None:
    fault = Fault(kind="error", service="nowhere", start_s=0, duration_s=1)
    with pytest.raises(ValueError, match=r"no service 'nowhere'; the shop has .*payment"):
        simulate(scenario(faults=(fault,)))
