import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ranked_shop import shop_events, shop_norms, sums_of

from otel_tracead.detection import norms
from otel_tracead.detection.norms import Norm, Norms, angle, measure, pack, unpack
from otel_tracead.detection.traffic_sums import Split, Sum, TrafficSums
from otel_tracead.errors import ArtifactError
from otel_tracead.traces.dictionary import Dictionary


def dictionary() -> Dictionary:
    labels = sorted(shop_norms().times)
    return Dictionary(["!0", "!rare", *labels[:-1]], labels[-1:])


def minutes(wander: float, spread: float, *, count: int = 60, spans: int = 50, seed: int = 0) -> TrafficSums:
    """Sums of one label whose minutes differ by *wander* and whose spans by *spread* (standard deviations)."""
    random = np.random.default_rng(seed)
    sums = TrafficSums(Split.TIME, names={"a": 0})
    for block in range(count):
        x = 3.0 + random.normal(0, wander) + random.normal(0, spread, spans)
        sums.times[0, -1, -1, block, -1] = Sum(spans, float(x.sum()), float((x * x).sum()))
    return sums


@given(st.sampled_from([0.0, 0.1, 0.3]), st.sampled_from([0.1, 0.4]), st.integers(0, 100))
def test_chance_and_wander_are_told_apart(wander, spread, seed):
    norm = measure(minutes(wander, spread, seed=seed)).times["a"]
    assert norm.mean == pytest.approx(3.0, abs=4 * (wander / 60**0.5 + spread / 3000**0.5))
    assert norm.variance**0.5 == pytest.approx(spread, rel=0.1)
    assert norm.wander**0.5 == pytest.approx(wander, rel=0.5, abs=0.04)
    assert (norm.cases, norm.minutes) == (3000, 59)


def test_few_minutes_lean_on_what_all_labels_have_in_common():
    steady = Norm(1000, 3.0, 0.01, 0.0, 50)
    wild = Norm(1000, 3.0, 0.01, 0.2, 50)
    new = Norm(1000, 3.0, 0.01, 0.0, 0)
    known = Norms({"steady": steady, "wild": wild, "new": new}, {}, {})
    variances = [known.time_variance(one, 10_000) for one in (steady, new, wild)]
    assert variances == sorted(variances)
    assert known.time_variance(new, 2) > known.time_variance(new, 2000)


def test_shares_have_one_variance_on_the_scale_of_angles():
    random = np.random.default_rng(0)
    for share in (0.05, 0.5, 0.9):
        seen = angle(random.binomial(200, share, 4000) / 200)
        assert seen.var() * 200 == pytest.approx(1.0, rel=0.1)
    assert angle(1.0) == pytest.approx(np.pi)


def test_shares_of_what_follows_sum_to_one():
    for followers in shop_norms().followers.values():
        assert sum(followers.values()) == pytest.approx(1.0)


def test_an_artifact_keeps_what_is_usual():
    known = shop_norms()
    tables = pack(known, dictionary())
    assert not any(tables.problems().values())
    again = unpack(tables, dictionary())
    rare = dictionary().rare
    assert again.times == {label: norm for label, norm in known.times.items() if label not in rare}
    assert again.steps == known.steps
    assert again.failures == known.failures
    assert again.callees.items() <= known.callees.items()


def test_training_learns_the_same(tiny_model):
    learned = unpack(tiny_model.calibration.norms, tiny_model.dictionary)
    events = shop_events(1, 60.0)
    measured = measure(sums_of(events, Split.TIME))
    assert learned.times.keys() <= measured.times.keys()
    assert all(measured.times[label] == pytest.approx(norm) for label, norm in learned.times.items())


def test_norms_of_another_dictionary_are_refused():
    tables = pack(shop_norms(), dictionary())
    with pytest.raises(ArtifactError, match="not those of the dictionary"):
        unpack(tables, Dictionary(["!0", "!rare", "a"]))


def test_sums_of_a_window_are_no_norms():
    with pytest.raises(ValueError, match="split by time"):
        measure(TrafficSums(Split.INSTANCE))


def test_what_no_minute_tells_is_assumed():
    assert norms._common([]) == norms._WANDER
