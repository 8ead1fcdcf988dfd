"""Which traces are learned from and which are tried: apart in time, as many of each length, and what bad input gets."""

import numpy as np
import pytest
from tiny_model import shop_traces

from otel_tracead.errors import InputError
from otel_tracead.evaluation.selection import divide, draw
from otel_tracead.evaluation.traffic import simulated
from otel_tracead.traces.dictionary import RARE_ID
from otel_tracead.traces.encoding import Encoder, Events, select
from otel_tracead.traces.labels import LabelTemplate
from otel_tracead.traces.sequences import Order


@pytest.fixture(scope="module")
def shop() -> Events:
    return Encoder(LabelTemplate(), Order.START).encode(shop_traces(duration_s=60.0))


@pytest.fixture(scope="module")
def office() -> Events:
    return simulated(40.0, Encoder(LabelTemplate(), Order.START))


def changed(events: Events, **columns: object) -> Events:
    copy = select(events, np.arange(events.traces))
    for name, value in columns.items():
        setattr(copy, name, value)
    return copy


def test_simulated_traffic_has_traces_of_every_length(office) -> None:
    assert set(range(4, 21)) <= set(np.diff(office.offsets).tolist())
    again = simulated(40.0, Encoder(LabelTemplate(), Order.START))
    assert (again.label == office.label).all()
    assert (again.start == office.start).all()


def test_training_comes_before_test(shop) -> None:
    material = divide(shop)
    assert material.whole
    assert material.training.began.max() <= material.test.began.min()
    assert material.training.traces > 2 * material.test.traces
    for part in (material.training, material.test):
        assert set(np.diff(part.offsets).tolist()) <= set(range(4, 21))
    assert material.warnings == ()


def test_incomplete_traces_are_left_out(shop) -> None:
    orphans = (np.arange(shop.traces) % 3 == 0).astype(np.int64)
    material = divide(changed(shop, orphans=orphans))
    assert (material.training.orphans == 0).all()
    assert (material.test.orphans == 0).all()


def test_every_length_is_drawn_alike_and_each_seed_draws_its_own(shop) -> None:
    material = divide(shop)
    training, test = draw(material, np.random.default_rng(0), training=10, test=5)
    assert np.bincount(training.length).max() == 10
    assert np.bincount(test.length).max() == 5
    assert training.ends.all()
    other, _ = draw(material, np.random.default_rng(1), training=10, test=5)
    assert not np.array_equal(training.time_ms, other.time_ms)


def test_long_traces_are_cut_to_windows_and_drawn_whole(shop) -> None:
    long = select(shop, np.repeat(np.flatnonzero(np.diff(shop.offsets) > 20), 40))
    material = divide(long)
    assert not material.whole
    training, _ = draw(material, np.random.default_rng(0), training=5, test=5)
    assert (training.length == 20).mean() > 0.5
    assert len(training) >= 5 * 17
    lengths = np.diff(material.training.offsets)
    drawn = np.bincount(training.trace)
    assert set((drawn[drawn > 0]).tolist()) <= set((-(-lengths // 20)).tolist()), "all windows of a trace, or none"


def test_too_few_traces_are_refused(shop) -> None:
    with pytest.raises(InputError, match="too few for the experiments"):
        divide(select(shop, np.arange(50)))
    with pytest.raises(InputError, match="too few"):
        divide(select(shop, np.arange(0)))


def test_one_label_only_is_a_weaker_result(shop) -> None:
    plain = changed(shop, label=np.zeros(len(shop), np.int64), labels=["all"])
    assert any("one label" in warning for warning in divide(plain).warnings)
    with pytest.raises(InputError, match="nothing to learn"):
        divide(changed(plain, duration_us=np.full(len(shop), 5.0)))


def test_times_that_say_nothing_are_a_weaker_result(shop) -> None:
    assert any("equal" in warning for warning in divide(changed(shop, duration_us=np.full(len(shop), 5.0))).warnings)
    zeros = np.where(np.arange(len(shop)) % 2 == 0, 0.0, shop.duration_us)
    assert any("0 ms" in warning for warning in divide(changed(shop, duration_us=zeros)).warnings)


def test_labels_that_explode_are_named(shop) -> None:
    labels = [f"GET /user/{number}" for number in range(len(shop))]
    material = divide(changed(shop, label=np.arange(len(shop)), labels=labels))
    assert len(material.dictionary) == RARE_ID + 1
    (warning,) = material.warnings
    assert "GET /user/" in warning
    assert "ids in names" in warning
