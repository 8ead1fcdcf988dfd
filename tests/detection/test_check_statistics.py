"""The check's statistics, against known values and what must hold of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tracead.detection.statistics import (
    at_least,
    auc,
    f1,
    f1_always,
    fewest_cases,
    finds_more,
    precision,
    share,
)


def test_the_exact_interval_of_a_share() -> None:
    assert share(0, 0) == (0.0, 0.0, 1.0)
    assert share(0, 100) == pytest.approx((0.0, 0.0, 0.0362), abs=1e-4)
    assert share(10, 100) == pytest.approx((0.1, 0.0490, 0.1762), abs=1e-4)
    assert share(7, 7).high == 1.0
    assert at_least(0, 10) == 0.0
    assert at_least(10, 100) == pytest.approx(0.0553, abs=1e-4)


@given(st.integers(0, 50), st.integers(1, 50))
def test_a_share_lies_in_its_interval(count, more) -> None:
    found = share(count, count + more)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low <= at_least(count, count + more) <= found.value


def test_the_fewest_cases_that_can_tell() -> None:
    assert [fewest_cases(most) for most in (0.03, 0.003, 0.3, 1.5)] == [99, 998, 9, 1]
    for most in (0.03, 0.003):
        needed = fewest_cases(most)
        assert (1 - most) ** needed <= 0.05 < (1 - most) ** (needed - 1)


def test_the_area_under_the_curve_and_its_interval() -> None:
    assert auc(np.array([0.0, 1.0]), np.array([2.0, 3.0])) == (1.0, 1.0, 1.0)
    assert auc(np.array([1.0]), np.array([1.0])).value == 0.5
    assert auc(np.zeros(0), np.zeros(3)) == (0.5, 0.0, 1.0)
    random = np.random.default_rng(0)
    found = auc(random.normal(size=500), random.normal(1.0, size=500))
    assert found.low < found.value == pytest.approx(0.76, abs=0.03)
    # Hanley and McNeil's own example has a standard error of this size.
    assert (found.high - found.low) / 3.92 == pytest.approx(0.0149, abs=0.001)


@given(st.integers(0, 1000))
def test_the_interval_of_the_area_holds_what_chance_is(seed) -> None:
    random = np.random.default_rng(seed)
    found = auc(random.normal(size=200), random.normal(size=200))
    assert found.low - 0.06 < 0.5 < found.high + 0.06


def test_precision_and_f1_at_a_prevalence() -> None:
    assert precision(0.0, 0.0, 0.01) == 0.0
    assert precision(1.0, 0.01, 0.01) == pytest.approx(0.01 / 0.0199)
    assert f1(1.0, 1.0, 0.01) == pytest.approx(f1_always(0.01))
    assert f1(0.0, 0.5, 0.01) == 0.0
    # A detector that guesses is worse than one that marks everything.
    assert f1(0.01, 0.01, 0.01) < f1_always(0.01)


def test_which_of_two_finds_more() -> None:
    one, other = np.arange(20) < 10, np.arange(20) < 10
    assert finds_more(one, other) == 1.0
    assert finds_more(np.zeros(20, np.bool_), np.arange(20) < 4) == pytest.approx(1 / 16)
    assert finds_more(np.ones(20, np.bool_), one) == 1.0
