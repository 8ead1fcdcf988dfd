"""The plain rule: what it sees, and what it cannot see."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_model import shop_traces

from otel_tracead.detection.quantile_rule import QuantileRule
from otel_tracead.evaluation.injections import inject
from otel_tracead.traces.encoding import Encoder, Events, select
from otel_tracead.traces.labels import LabelTemplate


@pytest.fixture(scope="module")
def halves() -> tuple[Events, Events]:
    events = Encoder(LabelTemplate()).encode(shop_traces(seed=8, duration_s=30.0))
    middle = events.traces // 2
    return select(events, np.arange(middle)), select(events, np.arange(middle, events.traces))


def test_it_finds_stalls_and_no_calls_out_of_order(halves) -> None:
    usual, judged = halves
    rule = QuantileRule(usual)
    limit = np.quantile(rule.score(judged), 0.98)
    found = {}
    for kind in ("stall", "swapped", "missing"):
        injected = inject(judged, kind, 60, np.random.default_rng(1))
        assert injected is not None
        found[kind] = (rule.score(injected.events) > limit).mean()
    assert found["stall"] > 0.3
    assert max(found["swapped"], found["missing"]) < 0.1


def test_labels_of_other_tables_are_the_same_and_unknown_ones_say_nothing(halves) -> None:
    usual, judged = halves
    rule = QuantileRule(usual)
    score = rule.score(judged)
    order = np.random.default_rng(0).permutation(len(judged.labels))
    shuffled = replace(judged, label=np.argsort(order)[judged.label], labels=[judged.labels[one] for one in order])
    assert (rule.score(shuffled) == score).all()
    assert (rule.score(replace(judged, labels=[f"x{one}" for one in judged.labels])) == 0.0).all()
    assert score.min() >= 0.0


def test_times_that_are_all_equal_or_nothing_are_usual(halves) -> None:
    for time in (0.0, 1000.0):
        same = replace(halves[0], self_us=np.full(len(halves[0]), time))
        assert QuantileRule(same).score(same).max() < 2.0
        slow = replace(same, self_us=same.self_us + 1e6 * (np.arange(len(same)) == 3))
        assert QuantileRule(same).score(slow).argmax() == same.trace[3]
