"""Each variant takes back what its name says, can be learned and tried, and leaves the product as it was."""

from functools import cache

import numpy as np
import pytest
import tiny_model
from shop_day import day, held_out

from benchmarks.ablation.__main__ import GROUPS, ablate, text
from benchmarks.ablation.variants import (
    VARIANTS,
    by_start,
    by_total_time,
    no_labels,
    no_shares,
    without,
    without_callee,
)
from otel_tracead.detection import evidence
from otel_tracead.training.fitting import Fitted
from otel_tracead.training.learning import LearningSettings
from otel_tracead.training.recipe import Loss

random_network = cache(tiny_model.random_network)


def random_fit(task, parts, _progress):
    return [Fitted(random_network(task.architecture), Loss(0.0, 0.0), 0.0)] * len(parts)


@pytest.fixture(scope="module")
def found():
    traffic = day(every=2)
    settings = LearningSettings(sizes=tiny_model.SIZES)
    counts = {"extra": 8, "stall": 4}
    return ablate(traffic, held_out(traffic), settings, fit=random_fit, counts=counts)


def test_all_variants_are_tried_and_laid_out(found) -> None:
    assert list(found) == [variant.name for variant in VARIANTS]
    assert all("clean" in row and "stalls found" in row for row in found.values())
    laid_out = text("shop", found)
    assert all(variant.name in laid_out for variant in VARIANTS)
    assert all(group in laid_out for group in GROUPS)


def test_without_the_rules_of_calls_structure_is_lost_on_a_random_network(found) -> None:
    assert found["the default"]["structure AUC"] > 0.8
    assert found["without rules of calls"]["structure AUC"] < 0.75


def test_by_start_keeps_every_event_and_its_caller() -> None:
    events = day(every=2).events
    ordered = by_start(events)
    first = events.offsets[:-1]
    assert (np.diff(ordered.start)[np.diff(events.trace) == 0] >= 0).all()
    for column in ("label", "self_us"):
        before, after = getattr(events, column), getattr(ordered, column)
        assert np.allclose(np.add.reduceat(before, first), np.add.reduceat(after, first))
    called = events.parent >= 0
    callers = np.sort(events.label[events.parent[called]] * 1000 + events.label[called])
    called = ordered.parent >= 0
    assert callers.tolist() == np.sort(ordered.label[ordered.parent[called]] * 1000 + ordered.label[called]).tolist()


def test_views_change_what_they_say_and_nothing_else() -> None:
    events = day(every=2).events
    assert (by_total_time(events).self_us == events.duration_us).all()
    plain = without_callee(events)
    assert len(plain.labels) < len(events.labels)
    assert not any("→" in label for label in plain.labels)


@pytest.mark.parametrize("change", [no_labels, no_shares, lambda: without(evidence.STEP)])
def test_the_product_is_as_it_was_afterwards(change) -> None:
    from otel_tracead.artifact import calibration
    from otel_tracead.detection.scorer import Scorer
    from otel_tracead.training import learning

    before = (evidence.strongest, calibration.SHARES, Scorer.surprise, learning.Sequenced)
    with change():
        assert (evidence.strongest, calibration.SHARES, Scorer.surprise, learning.Sequenced) != before
    assert (evidence.strongest, calibration.SHARES, Scorer.surprise, learning.Sequenced) == before
