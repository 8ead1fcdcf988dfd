import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tracead.detection.drift import MINUTE_NS, QUANTILE, Drift, by_minute
from tests.detection.columns import one_event_traces

USUAL_US = 1000.0


def stream(drift: Drift, factors: list[float], a_minute: int = 20, seed: int = 0) -> np.ndarray:
    """Follow minutes in which one label is slower by *factors*; give the shift at each minute."""
    random = np.random.default_rng(seed)
    shifts = []
    for minute, factor in enumerate(factors):
        own = factor * USUAL_US * 10.0 ** random.normal(0.0, 0.1, a_minute)
        events = one_event_traces(own, np.full(a_minute, minute * MINUTE_NS))
        shifts.append(drift.follow(events, np.zeros(a_minute, np.int64))[0][0])
    return np.array(shifts)


@pytest.fixture
def usual() -> np.ndarray:
    own = USUAL_US * 10.0 ** np.random.default_rng(1).normal(0.0, 0.1, 2000)
    return np.array([np.quantile(np.log10(1.0 + own), QUANTILE)])


def test_what_stays_as_it_was_is_not_shifted(usual):
    assert np.abs(stream(Drift(usual), [1.0] * 40)).max() < 0.05


def test_a_step_is_followed_within_some_minutes_of_a_new_day(usual):
    shifts = stream(Drift(usual), [2.8] * 10)
    assert shifts[0] == 0.0
    assert shifts[-1] == pytest.approx(np.log10(2.8), abs=0.05)


def test_a_slow_drift_is_followed(usual):
    factors = (10.0 ** np.linspace(0.0, 0.5, 180)).tolist()
    assert np.abs(stream(Drift(usual), factors) - np.log10(factors)).max() < 0.1


def test_a_fault_of_three_minutes_is_not_learned(usual):
    shifts = stream(Drift(usual), [1.0] * 20 + [8.0] * 3 + [1.0] * 10)
    assert shifts.max() < 0.08


def test_what_is_ten_times_slower_for_ever_is_no_drift(usual):
    assert stream(Drift(usual), [1000.0] * 40).max() <= 1.0


def test_a_label_without_a_usual_time_is_left_alone():
    assert not stream(Drift(np.array([np.inf])), [3.0] * 30).any()


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=30))
def test_any_times_do(starts):
    own = np.linspace(0.0, 1e12, len(starts))
    events = one_event_traces(own, np.array(starts, np.int64))
    shift, faster = Drift(np.array([2.0])).follow(events, np.zeros(len(starts), np.int64))
    assert np.isfinite(shift).all()
    assert faster.tolist() == (10.0**-shift).tolist()


@given(st.lists(st.integers(0, 2**62), max_size=500))
def test_every_row_is_in_one_minute_and_there_are_not_too_many(starts):
    events = one_event_traces(np.ones(len(starts)), np.array(starts, np.int64))
    parts = by_minute(events.began[events.trace])
    assert sorted(np.concatenate([rows for _, rows in parts]).tolist() if parts else []) == list(range(len(starts)))
    assert len(parts) <= 201
    assert [minute for minute, _ in parts] == sorted(minute for minute, _ in parts)
