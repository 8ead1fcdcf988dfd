import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import gammaincc

from otel_tracead.artifact import place_norms
from otel_tracead.artifact.place_norms import PlaceNorms
from otel_tracead.detection import places
from otel_tracead.detection.drift import MINUTE_NS
from otel_tracead.detection.places import MOST, Recent, Visits, visits
from tests.detection.columns import one_event_traces

OF_LABEL = np.array([-1, -1, 0])


def minute_of(number: int, count: int, mean: float, random: np.random.Generator):
    """Give the traces of a minute and what each says of the one place."""
    nats = np.minimum(random.exponential(mean, count), MOST)
    start = number * MINUTE_NS + random.integers(0, MINUTE_NS, count)
    zeros = np.zeros(count, np.int64)
    return one_event_traces(np.ones(count), start), Visits(np.arange(count), zeros, nats, np.arange(count))


@pytest.fixture(scope="module")
def norms() -> PlaceNorms:
    random = np.random.default_rng(0)
    nats = np.minimum(random.exponential(1.0, 3000), MOST)
    minute = np.repeat(np.arange(60), 50)
    return place_norms.learn(np.zeros(3000, np.int64), nats, minute, minute // 20, OF_LABEL)


def strengths(recent: Recent, means: list[float], count: int = 40, seed: int = 1) -> list[float]:
    random = np.random.default_rng(seed)
    found = []
    for number, mean in enumerate(means):
        events, seen = minute_of(number, count, mean, random)
        found.append(float(np.median(recent.weigh(events, seen)[seen.nats > 2.0])))
    return found


def test_the_norms_of_even_traffic(norms):
    assert norms.mean[0] == pytest.approx(1.0, abs=0.1)
    assert norms.spread[0] < 0.4
    assert norms.of_label.tolist() == [-1, -1, 0]


def test_a_minute_that_is_slow_for_everybody_stands_out_and_a_normal_one_does_not(norms):
    found = strengths(Recent(norms), [1.0] * 10 + [3.5] * 3 + [1.0] * 5)
    assert max(found[:10]) < 1.5
    assert min(found[10:13]) > 2.0
    assert min(found[11:13]) > 4.0
    assert max(found[15:]) < 1.5


def test_a_new_day_is_no_fault_once_it_has_been_seen_for_a_while(norms):
    found = strengths(Recent(norms), [2.0] * 20)
    assert max(found[8:]) < 2.0


def test_one_stall_is_not_many_slow_traces(norms):
    recent = Recent(norms)
    events, seen = minute_of(0, 30, 1.0, np.random.default_rng(3))
    seen.nats[:] = 0.5
    seen.nats[7] = MOST
    assert recent.weigh(events, seen)[7] == 0.0


def test_a_trace_that_is_not_slow_there_itself_is_left_alone(norms):
    recent = Recent(norms)
    events, seen = minute_of(0, 30, 1.0, np.random.default_rng(3))
    seen.nats[:] = 5.0
    seen.nats[7] = 0.1
    found = recent.weigh(events, seen)
    assert found[7] == 0.0
    assert np.delete(found, 7).min() > 0.0


@given(st.lists(st.tuples(st.integers(0, 2**62), st.floats(0.0, 6.0)), min_size=1, max_size=60))
def test_whatever_the_times_strengths_are_finite_and_memory_is_bounded(traces):
    recent = Recent(PlaceNorms(OF_LABEL, np.ones(1), np.ones(1), np.ones(1)))
    start = np.array([one for one, _ in traces], np.int64)
    nats = np.array([one for _, one in traces])
    zeros = np.zeros(len(traces), np.int64)
    found = recent.weigh(
        one_event_traces(nats, start), Visits(np.arange(len(traces)), zeros, nats, np.arange(len(traces)))
    )
    assert ((found >= 0) & np.isfinite(found)).all()
    assert len(recent._buckets) <= 16


def test_the_visits_of_normal_events_are_exponential():
    random = np.random.default_rng(5)
    n = 4000
    events = one_event_traces(np.ones(n), np.zeros(n, np.int64))
    events.offsets = np.arange(0, n + 1, 4)
    tail = random.exponential(1.0 / np.log(10.0), n)
    seen = visits(events, np.zeros(n, np.int64), tail)
    assert len(seen.nats) == n // 4
    assert seen.nats.mean() == pytest.approx(1.0, abs=0.1)
    assert (seen.nats > np.log(20.0)).mean() == pytest.approx(0.05, abs=0.02)
    assert (seen.of_event == np.arange(n) // 4).all()


def test_events_of_no_place_make_no_visit():
    events = one_event_traces(np.ones(3), np.zeros(3, np.int64))
    seen = visits(events, np.full(3, -1), np.ones(3))
    assert len(seen.nats) == 0
    assert (seen.of_event == -1).all()


@given(st.lists(st.tuples(st.integers(1, 3000), st.floats(1e-12, 2.0)), min_size=1, max_size=20))
def test_the_survival_of_a_sum_is_that_of_the_gamma_distribution(cases):
    n = np.array([count for count, _ in cases])
    x = n * np.array([share for _, share in cases])
    np.testing.assert_allclose(places._gamma_survival(n, x), np.maximum(gammaincc(n, x), 1e-300), rtol=1e-9)
