"""Survival functions: what they must be, and that what was measured holds on fresh samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from otel_tracead.artifact import tails
from otel_tracead.artifact.tails import KNOTS, STEP, Tails

samples = arrays.arrays(np.float64, st.integers(0, 300), elements=st.floats(0, 1e6, width=32))


@pytest.mark.parametrize("measure", [tails.measure, tails.measure_rare])
@given(samples, samples)
def test_strength_grows_and_starts_at_nothing(measure, x, asked):
    knots, slope = measure(x)
    one = Tails(knots[None], np.array([slope]))
    strength = one.strength(np.sort(asked))
    assert np.isfinite(strength).all()
    assert (strength >= 0).all()
    assert (np.diff(strength) >= -1e-12).all()
    assert one.strength(np.array([-1.0]))[0] == 0.0
    assert one.strength(np.array([1e300]))[0] <= STEP * (KNOTS - 1) + 3.0 + 1e-9


@given(samples, st.floats(0, 8))
def test_the_inverse_is_the_first_value_as_strong(x, wanted):
    one = tails.single(x)
    found = one.inverse(wanted)
    if np.isinf(found):
        assert one.strength(np.array([1e300]))[0] < wanted + 1e-9
        return
    assert one.strength(np.array([found * (1 + 1e-9) + 1e-9]))[0] >= wanted - 1e-6
    lower = found - 1e-3 - 1e-3 * abs(found)
    assert one.strength(np.array([lower]))[0] <= wanted + 1e-6


@given(samples)
def test_rows_are_the_same_as_each_alone(x):
    several = Tails(np.stack([tails.measure(x)[0], tails.measure(x * 2)[0]]), np.array([1.0, 2.0]))
    asked = np.linspace(-1, 100, 40)
    row = np.arange(40) % 2
    by_row = several.strength(asked, row)
    for which in (0, 1):
        np.testing.assert_array_equal(by_row[row == which], several.strength(asked[row == which], which))


@pytest.mark.parametrize("draw", ["exponential", "standard_normal", "lognormal"])
def test_survival_holds_on_fresh_samples(draw):
    random = np.random.default_rng(1)
    one = tails.single(getattr(random, draw)(size=20_000))
    fresh = one.strength(getattr(random, draw)(size=200_000))
    for wanted in (0.5, 1.0, 2.0, 3.0, 4.0):
        share = (fresh >= wanted).mean()
        # Beyond 3.4 decades it was extrapolated; a lognormal's tail is heavier than the exponential that goes on there.
        assert share < 10**-wanted * (1.3 if wanted < 3.3 else 8 if draw == "lognormal" else 3)
        assert share > 10**-wanted * (0.7 if wanted < 3.3 else 0.0)


@pytest.mark.parametrize("n", [50, 200, 1000])
def test_few_samples_hold_the_budget_on_average(n):
    random = np.random.default_rng(2)
    shares = [
        (tails.single(random.exponential(size=n)).strength(random.exponential(size=2000)) >= 2.0).mean()
        for _ in range(200)
    ]
    assert 0.004 < np.mean(shares) < 0.02


def test_rare_events_are_as_strong_as_they_are_rare():
    random = np.random.default_rng(3)
    rates: dict[int, list[float]] = {}
    for _ in range(100):
        x = np.where(random.random(999) < 0.02, 2.0 + random.random(999), 0.0)
        knots, slope = tails.measure_rare(x)
        one = Tails(knots[None], np.array([slope]))
        assert one.strength(np.zeros(1))[0] == 0.0
        for decades in (1, 2):
            fresh = np.where(random.random(5000) < 0.02, 2.0 + random.random(5000), 0.0)
            rates.setdefault(decades, []).append(float((one.strength(fresh) >= decades).mean()))
    assert np.mean(rates[1]) <= 0.1
    assert 0.005 < np.mean(rates[2]) < 0.013


def test_a_rare_event_that_was_never_seen_is_as_strong_as_the_samples_allow():
    for n in (9, 99, 999):
        knots, slope = tails.measure_rare(np.zeros(n))
        strength = Tails(knots[None], np.array([slope])).strength(np.array([0.0, 1.0]))
        assert strength[0] == 0.0
        assert np.log10(n + 1) - STEP <= strength[1] <= np.log10(n + 1) + 1e-9


def test_ties_are_overstated_by_one_knot_at_most():
    knots, slope = tails.measure_rare(np.repeat([0.0, 2.0], [950, 50]))
    one = Tails(knots[None], np.array([slope]))
    assert one.strength(np.array([2.0]))[0] <= -np.log10(0.05) + STEP


def test_a_group_with_few_cases_gets_the_row_of_all():
    random = np.random.default_rng(4)
    group = np.repeat([0, 1, 3], [500, 5, 500])
    x = random.exponential(size=1005) * np.where(group == 3, 10, 1)
    found = tails.by_group(x, group, 4, fewest=100)
    everything = tails.single(x)
    for index in (1, 2):
        np.testing.assert_array_equal(found.knots[index], everything.knots[0])
        assert found.slope[index] == everything.slope[0]
    np.testing.assert_array_equal(found.knots[3], tails.measure(x[group == 3])[0])
    asked = np.full(4, 5.0)
    strength = found.strength(asked, np.arange(4))
    assert strength[3] < strength[1] < strength[0]


def test_nothing_was_measured():
    one = tails.single(np.zeros(0))
    assert one.strength(np.array([-1.0, 0.0])).tolist() == [0.0, 0.0]
    assert one.strength(np.zeros(0)).shape == (0,)
    assert one.inverse(2.0) == 2.0
    knots, slope = tails.measure_rare(np.zeros(0))
    assert Tails(knots[None], np.array([slope])).inverse(2.0) == np.inf


@given(samples, samples)
def test_few_and_many_get_the_same(x, asked):
    several = Tails(np.stack([tails.measure(x)[0], tails.measure_rare(x)[0]]), np.array([1.0, 0.0]))
    many = np.concatenate((asked, x, [0.0, -1.0, np.inf], np.linspace(0.0, 1e6, 400)))
    row = np.arange(len(many)) % 2
    alone = [several.strength(many[i : i + 1], row[i : i + 1])[0] for i in range(len(many))]
    assert several.strength(many, row).tolist() == alone
    assert np.isfinite(alone).all()
