"""The reference models, against what one would count by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paper_model import random_windows

from otel_tracead.evaluation.references import NGram, TimeQuantile
from otel_tracead.traces.windows import LENGTH, Windows


def windows_of(*traces: list[int], time_ms: list[list[float]] | None = None) -> Windows:
    label, times = np.zeros((len(traces), LENGTH), np.int64), np.zeros((len(traces), LENGTH))
    for row, trace in enumerate(traces):
        label[row, : len(trace)] = trace
        times[row, : len(trace)] = 1.0 if time_ms is None else time_ms[row]
    lengths = np.array([len(trace) for trace in traces])
    return Windows(label, times, lengths, np.ones(len(traces), np.bool_), np.arange(len(traces)))


def by_hand(training: Windows, labels: int, order: int, context: list[int]) -> np.ndarray:
    """Give the probability of each next label after *context*, the whole beginning of a window."""
    probability = np.full(labels, 1.0 / labels)
    for level in range(order):
        wanted = ([-1] * level + context)[len(context) :] if level else []
        counts = np.zeros(labels)
        for row in range(len(training)):
            known = training.label[row, : training.length[row]].tolist()
            for at in range(int(training.length[row]) - 1 + int(training.ends[row])):
                seen = ([-1] * level + known[: at + 1])[at + 1 :] if level else []
                if seen == wanted:
                    counts[known[at + 1] if at + 1 < len(known) else 0] += 1
        if counts.sum():
            probability = (0.4 * probability + counts) / (0.4 + counts.sum())
    return probability


@given(st.integers(1, 5), st.integers(0, 10_000))
def test_counts_are_those_of_one_who_counts(order, seed):
    training, test = random_windows(6, 4, 8, seed), random_windows(3, 4, 8, seed + 1)
    found = NGram(training, 4, order).forecast(test)
    assert found.deviation is None
    for row in range(len(test)):
        for at in range(int(test.length[row])):
            probability = by_hand(training, 4, order, test.label[row, : at + 1].tolist())
            came = int(test.following[0][row, at])
            assert found.rank[row, at] == (probability > probability[came] + 1e-12).sum()
            best = found.top[row, at]
            assert best.tolist()[4:] == [-1]
            assert (np.diff(probability[best[:4]]) <= 1e-12).all()


def test_a_longer_context_decides():
    training = windows_of([2, 3, 4], [2, 3, 4], [5, 3, 6], [5, 3, 6], [5, 3, 6])
    found = NGram(training, 8).forecast(windows_of([2, 3, 4], [5, 3, 6], [7, 3, 6]))
    assert found.rank[:, :3].tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert found.top[0, 1, :2].tolist() == [4, 6]
    assert found.top[1, 1, :2].tolist() == [6, 4]
    assert NGram(training, 8, 2).forecast(windows_of([2, 3, 4])).rank[0, 1] == 1, "after 3 alone, 6 came more often"
    assert NGram(training, 8, 3).name == "3-gram"


def test_windows_that_were_cut_have_no_end_to_count():
    training = windows_of([2, 3])
    cut = Windows(training.label, training.time_ms, training.length, np.zeros(1, np.bool_), training.trace)
    assert NGram(training, 5).forecast(training).rank[0, 1] == 0
    assert NGram(cut, 5).forecast(training).top[0, 0, 0] == 3
    assert NGram(cut, 5).forecast(training).rank[0, 1] > 0


def test_a_quantile_is_that_of_the_label():
    times = np.random.default_rng(0).lognormal(0, 1, (400, 19))
    training = windows_of(*[[2] + [3 + i % 2] * 19 for i in range(400)], time_ms=[[9.0, *row] for row in times])
    model = TimeQuantile(training, 6)
    quantiles = np.quantile(times[::2], [0.5, 0.975, 0.999])
    test = windows_of([2, 3, 3, 3, 5], time_ms=[[1.0, *quantiles, 1e6]])
    found = model.forecast(test)
    assert found.top is None
    assert found.rank is None
    assert found.deviation[0, :3] == pytest.approx([0.0, 1.96, 3.09], abs=0.15)
    assert found.deviation[0, 3] == 0.0, "of a label that training did not see nothing is known"
    inside = model.forecast(training)
    assert (inside.deviation[training.followed] > 1.959964).mean() == pytest.approx(0.025, abs=0.002)


def test_beyond_the_longest_time_it_still_grows():
    model = TimeQuantile(windows_of([2, 3], [2, 3], time_ms=[[1.0, 1.0], [1.0, 2.0]]), 4)
    longer = [model.forecast(windows_of([2, 3], time_ms=[[1.0, t]])).deviation[0, 0] for t in (0.5, 1.5, 2, 3, 30, 1e6)]
    assert (np.diff(longer) >= 0).all()
    assert longer[-1] > longer[-2] > longer[-3]


def test_times_that_are_all_zero():
    model = TimeQuantile(windows_of([2, 3], time_ms=[[0.0, 0.0]]), 4)
    found = model.forecast(windows_of([2, 3], [2, 3], time_ms=[[0.0, 0.0], [0.0, 7.0]])).deviation
    assert np.isfinite(found).all()
    assert found[1, 0] > found[0, 0]
