"""The check: a detector that works passes, one that guesses or says the same of everything does not."""

import numpy as np
import pytest
from tiny_model import shop_traces

from otel_tracead.detection.check import Tried, auc, conclude, try_out
from otel_tracead.detection.detector import load_detector
from otel_tracead.traces.encoding import Encoder
from otel_tracead.traces.labels import LabelTemplate

THRESHOLD, BUDGET = 2.0, 0.01


def tried(clean: np.ndarray, anomalous: np.ndarray) -> list[Tried]:
    return [Tried(THRESHOLD, clean, {"replaced": anomalous}, {"replaced": np.ones(int((anomalous >= 2).sum()))}, 0.0)]


def scores(seed: int, count: int) -> np.ndarray:
    """Scores of normal traces as a calibrated detector gives them: one in a hundred reaches 2."""
    return -np.log10(np.random.default_rng(seed).uniform(size=count))


def test_a_detector_that_works_passes() -> None:
    result = conclude(tried(scores(1, 2000), 3.0 + scores(2, 300)), BUDGET)
    assert result.passed
    assert result.reasons == ()
    assert result.figures["auc"] > 0.95
    assert result.figures["recall"] == 1.0
    assert result.figures["clean_marked"] == pytest.approx(0.01, abs=0.01)
    assert result.figures["precision_at_0.01"] == pytest.approx(0.5, abs=0.2)


def test_a_detector_that_guesses_fails() -> None:
    result = conclude(tried(scores(1, 2000), scores(2, 300)), BUDGET)
    assert not result.passed
    assert any("chance" in reason for reason in result.reasons)


@pytest.mark.parametrize("constant", [0.0, 1.0, 5.0])
def test_a_detector_that_says_the_same_of_everything_fails(constant) -> None:
    result = conclude(tried(np.full(500, constant), np.full(100, constant)), BUDGET)
    assert not result.passed
    assert "all scores are the same" in result.reasons


def test_a_detector_that_marks_too_many_normal_traces_fails_however_much_it_finds() -> None:
    result = conclude(tried(1.0 + scores(1, 2000), 6.0 + scores(2, 300)), BUDGET)
    assert not result.passed
    assert any("3 times the budget" in reason for reason in result.reasons)


def test_traffic_in_which_nothing_can_be_tried_fails() -> None:
    result = conclude([Tried(THRESHOLD, scores(1, 100), {}, {}, 0.0)], BUDGET)
    assert not result.passed
    assert "no anomaly could be injected into this traffic" in result.reasons


def test_the_area_under_the_curve_and_its_bound() -> None:
    assert auc(np.array([0.0, 1.0]), np.array([2.0, 3.0]))[0] == 1.0
    assert auc(np.array([1.0]), np.array([1.0]))[0] == 0.5
    area, lower = auc(np.random.default_rng(0).normal(size=500), np.random.default_rng(1).normal(1.0, size=500))
    assert lower < area == pytest.approx(0.76, abs=0.03)
    assert auc(np.zeros(0), np.zeros(3)) == (0.5, 0.0)


def test_a_real_detector_is_tried_with_every_kind(tiny_artifact) -> None:
    events = Encoder(LabelTemplate()).encode(shop_traces(seed=5, duration_s=30.0))
    found = try_out(load_detector(tiny_artifact), events, count=25, seed=0)
    assert set(found.anomalous) == {"replaced", "missing", "extra", "aborted", "swapped", "stall", "slowdown"}
    assert (found.clean >= found.threshold).mean() < 0.1
    # Even with a random network the rules of calls find what is structural; a random detector would find 1 %.
    for kind in ("replaced", "extra", "swapped", "missing"):
        assert (found.anomalous[kind] >= found.threshold).mean() > 0.6, kind
    again = try_out(load_detector(tiny_artifact), events, count=25, seed=0)
    assert all((again.anomalous[kind] == found.anomalous[kind]).all() for kind in found.anomalous)
