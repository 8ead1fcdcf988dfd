"""Whom `rank` names: on the simulated shop with known faults, where a ranking by chance fails the floors."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from ranked_shop import shop_events, shop_norms, sums_of

from otel_tracead.detection.changes import What, changes
from otel_tracead.detection.ranking import STANDS_OUT, Ranking, rank
from otel_tracead.detection.traffic_sums import Split
from otel_tracead.generator import Fault, standard_faults
from otel_tracead.traces.encoding import Events, select

BUSY = ("ad", "cart", "currency", "frontend", "product-catalog", "recommendation")
CALLED = ("ad", "cart", "currency", "product-catalog", "recommendation")


def window() -> Events:
    return shop_events(5, 12.0)


def ranked(events: Events) -> Ranking:
    return rank(sums_of(events, Split.INSTANCE), shop_norms())


def services(ranking: Ranking) -> list[str]:
    return [one.service for one in ranking.services]


def of(service: str) -> np.ndarray:
    return window().service == window().services.index(service)


def slowed(rows: np.ndarray, factor: float, added_us: float = 0.0) -> Events:
    self_us = window().self_us
    return replace(window(), self_us=np.where(rows, self_us * factor + added_us, self_us))


def some(number: int, share: float) -> np.ndarray:
    return np.random.default_rng(number).random(len(window())) < share


@settings(max_examples=15)
@given(st.sampled_from(BUSY), st.floats(3, 30), st.floats(0.5, 1), st.integers(0, 99))
def test_a_slow_process_is_named_first(service, factor, share, number):
    rows = of(service) & some(number, share)
    answer = ranked(slowed(rows, factor))
    assert services(answer)[0] == service
    assert answer.services[0].score >= STANDS_OUT
    assert answer.services[0].evidence[0].change.suspects[0] == service


@settings(max_examples=15)
@given(st.sampled_from(CALLED), st.floats(20, 500), st.floats(0.5, 1), st.integers(0, 99))
def test_a_slow_way_to_a_service_is_that_services(service, added_ms, share, number):
    rows = (window().callee == window().services.index(service)) & some(number, share)
    answer = ranked(slowed(rows, 1.0, 1e3 * added_ms))
    assert services(answer)[0] == service
    assert answer.services[0].evidence[0].change.what is What.CALL


@settings(max_examples=10)
@given(st.sampled_from(BUSY), st.floats(0.05, 0.25), st.integers(0, 99))
def test_drift_of_every_label_hides_no_fault(service, drift, number):
    of_label = np.random.default_rng(number).normal(0, drift, len(window().labels))
    rows = of(service)
    slow = slowed(rows, 12.0)
    answer = ranked(replace(slow, self_us=slow.self_us * 10 ** of_label[window().label]))
    assert services(answer)[0] == service


@settings(max_examples=4)
@given(st.integers(0, 99))
def test_the_order_of_traces_does_not_matter(number):
    events = slowed(of("currency"), 5.0)
    order = np.random.default_rng(number).permutation(events.traces)
    again = ranked(select(events, order))
    expected = ranked(events)
    assert services(again) == services(expected)
    assert [one.score for one in again.services] == pytest.approx([one.score for one in expected.services])
    assert [one.instances for one in again.services] == [one.instances for one in expected.services]


@pytest.mark.parametrize("seed", range(10, 14))
def test_nothing_stands_out_in_normal_traffic(seed):
    answer = ranked(shop_events(seed, 12.0))
    assert answer.services[0].score < STANDS_OUT
    assert answer.unknown < 0.01
    assert set(services(answer)) == set(shop_events(seed, 12.0).services)


@cache
def of_the_faults() -> tuple[tuple[Fault, tuple[str, ...]], ...]:
    out = []
    for fault in {(one.kind, one.service): one for one in standard_faults(240.0, 1)}.values():
        now = replace(fault, start_s=0.0, duration_s=12.0)
        out.append((now, tuple(services(ranked(shop_events(5, 12.0, (now,)))))))
    return tuple(out)


def places(answers: list[tuple[str, tuple[str, ...]]]) -> tuple[float, float]:
    """Give the share of faults whose service is first, and among the first three."""
    found = [order.index(service) for service, order in answers]
    return np.mean([place == 0 for place in found]), np.mean([place < 3 for place in found])


def test_most_faults_of_the_shop_are_traced_to_their_service():
    first, three = places([(fault.service, order) for fault, order in of_the_faults()])
    assert first >= 0.85
    assert three == 1.0


def test_chance_fails_these_floors():
    random = np.random.default_rng(0)
    first, three = places([(fault.service, tuple(random.permutation(order))) for fault, order in of_the_faults() * 20])
    assert first < 0.3
    assert three < 0.5


def test_the_slow_instance_is_named_first():
    name = "currency"
    mine = of(name)
    index = int(window().instance[mine][0])
    # Every second of its spans, with the calls to them, belongs to a twin, and the twin is slow.
    twin = mine & (np.arange(len(window())) % 2 == 0)
    events = replace(
        slowed(twin, 6.0),
        instance=np.where(twin, len(window().instances), window().instance),
        instances=[*window().instances, "a-twin"],
    )
    assert ranked(events).services[0].instances == ("a-twin", window().instances[index])
    other = replace(events, self_us=slowed(mine & ~twin, 6.0).self_us)
    assert ranked(other).services[0].instances == (window().instances[index], "a-twin")


def test_a_caller_that_gives_up_by_itself_answers_for_it():
    fault = Fault(kind="abort", service="checkout", start_s=0, duration_s=12, share=0.9)
    answer = ranked(shop_events(5, 12.0, (fault,)))
    assert services(answer)[0] == "checkout"


def test_failing_calls_are_put_down_to_where_they_began():
    fault = Fault(kind="error", service="payment", start_s=0, duration_s=12, share=0.9)
    answer = ranked(shop_events(5, 12.0, (fault,)))
    assert services(answer)[0] == "payment"
    assert any(each.change.what is What.FAILURE for each in answer.services[0].evidence)


def test_what_became_faster_is_no_evidence():
    answer = ranked(slowed(of("currency"), 0.1))
    for one in answer.services:
        assert all(each.change.shift > 0 for each in one.evidence if each.change.is_time)


def test_changes_are_told_apart_by_their_place():
    found = changes(sums_of(window(), Split.INSTANCE), shop_norms())
    assert len({one.place for one in found}) == len(found) > 100


def test_unknown_traffic_is_ranked_by_nothing():
    events = replace(window(), labels=[f"strange {name}" for name in window().labels])
    answer = ranked(events)
    assert answer.unknown == 1.0
    assert {one.score for one in answer.services} == {0.0}
    assert all(not one.evidence for one in answer.services)


@settings(max_examples=8)
@given(st.sampled_from(BUSY), st.floats(1.5, 4))
def test_a_greater_fault_has_a_greater_score(service, factor):
    rows = of(service)
    scores = []
    for one in (factor, 3 * factor):
        by_name = {each.service: each.score for each in ranked(slowed(rows, one)).services}
        scores.append(by_name[service])
    assume(scores[0] > 0)
    assert scores[1] > scores[0]
