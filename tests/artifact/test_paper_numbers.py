"""The paper's scales, and `calibration.npz` of its models."""

from dataclasses import replace

import numpy as np
import pytest
from paper_model import random_windows

from otel_tracead.artifact import arrays as archive
from otel_tracead.artifact import paper
from otel_tracead.artifact.paper import ErrorGaussians, MinMax, PaperCalibration, fit_gaussians, learn_min_max
from otel_tracead.artifact.tails import KNOTS, Tails
from otel_tracead.errors import ArtifactError

LABELS = 6


def test_training_lies_between_0_and_1_by_label():
    windows = random_windows(200, LABELS, seed=1)
    scale = learn_min_max(windows, LABELS + 1)
    inside = windows.inside
    scaled = scale.scale(windows.time_ms, windows.label)
    for label in range(1, LABELS):
        own = scaled[inside & (windows.label == label)]
        assert own.min() == 0.0
        assert own.max() == pytest.approx(1.0)
    np.testing.assert_allclose(scale.unscale(scaled, windows.label)[inside], windows.time_ms[inside])
    assert scale.low_ms[LABELS] == windows.time_ms[inside].min(), "a label without times gets those of all"
    assert scale.unscale(np.array([-1e9]), np.array([1])).tolist() == [0.0]


@pytest.mark.parametrize("time_ms", [0.0, 7.0])
def test_equal_times_are_no_division_by_zero(time_ms):
    windows = random_windows(5, 3)
    windows = replace(windows, time_ms=np.where(windows.inside, time_ms, 0.0))
    scale = learn_min_max(windows, 3)
    scaled = scale.scale(windows.time_ms, windows.label)[windows.inside]
    assert (scaled == 0).all()
    assert np.isfinite(scale.scale(np.array([time_ms + 1]), np.array([1]))).all()
    none = learn_min_max(windows.take(np.zeros(0, np.int64)), 3)
    assert np.isfinite(none.scale(np.array([time_ms]), np.array([1]))).all()


def test_few_times_are_no_narrow_range():
    windows = random_windows(3, 4)
    windows = replace(windows, time_ms=np.where(windows.inside, 10.0 + 0.01 * (windows.label == 1), 0.0))
    one = windows.take(np.zeros(1, np.int64))
    scale = learn_min_max(replace(one, label=np.where(one.inside, 1 + np.arange(20) % 3, 0)), 4)
    assert (scale.range_ms[1:] >= 10.0).all()
    assert scale.scale(np.array([20.0]), np.array([2]))[0] == pytest.approx(1.0, abs=0.01)


def test_a_gaussian_by_label():
    random = np.random.default_rng(0)
    label = np.repeat([1, 2, 3], [5000, 5000, 4])
    squared = np.concatenate((random.normal(5, 2, 5000), random.normal(1, 0.1, 5000), [9e9] * 4))
    errors = fit_gaussians(squared[:10_000], label[:10_000], 5)
    assert errors.mean[1:3] == pytest.approx([5, 1], abs=0.1)
    assert errors.spread[1:3] == pytest.approx([2, 0.1], rel=0.05)
    outside = errors.deviation(squared[:10_000], label[:10_000]) > 1.959964
    assert outside.mean() == pytest.approx(0.025, abs=0.005)
    few = fit_gaussians(squared, label, 5)
    assert few.mean[3] == few.mean[4] == pytest.approx(squared.mean()), "few errors: the Gaussian of all"


def test_errors_that_never_vary_or_are_not_there():
    same = fit_gaussians(np.full(50, 0.25), np.ones(50, np.int64), 3)
    assert same.deviation(np.array([0.25, 0.3]), np.array([1, 1])).tolist()[0] == 0.0
    assert same.deviation(np.array([0.25, 0.3]), np.array([1, 1]))[1] > 1e3
    none = fit_gaussians(np.zeros(0), np.zeros(0, np.int64), 3)
    assert np.isfinite(none.deviation(np.ones(3), np.arange(3))).all()


def calibration() -> PaperCalibration:
    knots = np.linspace(0.0, 4.0, KNOTS)
    return PaperCalibration(
        MinMax(np.zeros(LABELS), np.ones(LABELS)),
        ErrorGaussians(np.full(LABELS, 0.1), np.full(LABELS, 0.2)),
        Tails(np.stack((knots, knots)), np.ones(2)),
        Tails(knots[None], np.ones(1)),
    )


def test_numbers_come_back_as_they_were_written():
    written = calibration()
    content = written.dump()
    assert content == calibration().dump()
    read = paper.load(content, LABELS)
    assert read.dump() == content


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("range_ms", np.zeros(LABELS), "no positive number"),
        ("error_spread", np.full(LABELS, np.inf), "no positive number"),
        ("error_mean", np.full(LABELS, np.inf), "no finite number"),
        ("low_ms", np.full(LABELS, np.nan), "NaN"),
        ("low_ms", np.zeros(LABELS + 1), "shape"),
        ("low_ms", np.zeros(LABELS, np.float32), "type"),
        ("trace_knots", np.zeros((1, KNOTS))[:, ::-1] - np.arange(KNOTS), "do not increase"),
        ("channel_slope", np.full(2, -1.0), "slope"),
        ("low_ms", None, "missing"),
    ],
)
def test_numbers_that_would_say_nonsense_are_refused(name, value, words):
    read = archive.Arrays(calibration().dump())
    changed = {one: read._arrays[one] for one in read._arrays if one != name}
    if value is not None:
        changed[name] = value
    with pytest.raises(ArtifactError, match=words):
        paper.load(archive.pack(changed), LABELS)
