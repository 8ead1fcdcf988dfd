"""Traces in the paper's form: cut, padded, chosen by length."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tracead.traces.dictionary import END_ID, RARE_ID
from otel_tracead.traces.encoding import Events
from otel_tracead.traces.windows import choose_by_length, cut, learn_dictionary

LABELS = ["a", "b", "c", "d"]


def events_of(lengths: list[int], seed: int = 0) -> Events:
    m, random = sum(lengths), np.random.default_rng(seed)
    nothing = np.zeros(m, np.int64)
    return Events(
        offsets=np.cumsum([0, *lengths], dtype=np.int64),
        span=np.arange(m),
        label=random.integers(0, len(LABELS), m),
        self_us=np.zeros(m),
        duration_us=1.0 + random.integers(0, 10_000, m),
        start=np.arange(m),
        parent=nothing - 1,
        service=nothing,
        instance=nothing,
        callee=nothing - 1,
        roots=np.ones(len(lengths), np.int64),
        orphans=np.zeros(len(lengths), np.int64),
        root=np.zeros(len(lengths), np.int64),
        labels=LABELS,
        services=["s"],
        instances=["i"],
    )


lengths_of_traces = st.lists(st.integers(1, 70), max_size=12)


@given(lengths_of_traces, st.integers(2, 25), st.one_of(st.none(), st.integers(1, 25)))
def test_windows_hold_the_events_of_their_trace_in_order(lengths, length, stride):
    stride = None if stride is None else min(stride, length)
    events = events_of(lengths)
    dictionary = learn_dictionary(events, max_labels=3)
    windows = cut(events, dictionary, length=length, stride=stride)
    found: dict[int, int] = {}
    for row in range(len(windows)):
        trace, inside = int(windows.trace[row]), int(windows.length[row])
        begin = 0 if trace not in found else found[trace] + stride
        found[trace] = begin
        rows = slice(events.offsets[trace] + begin, events.offsets[trace] + begin + inside)
        assert windows.label[row, :inside].tolist() == [dictionary.index(LABELS[i]) for i in events.label[rows]]
        assert windows.time_ms[row, :inside].tolist() == (events.duration_us[rows] / 1e3).tolist()
        assert (windows.label[row, inside:] == END_ID).all()
        assert (windows.time_ms[row, inside:] == 0).all()
        assert inside == min(length, lengths[trace] - begin)
        assert windows.ends[row] == (begin + inside == lengths[trace])
    assert sorted(found) == list(range(len(lengths)))
    last = {int(trace): row for row, trace in enumerate(windows.trace)}
    if stride is not None:
        assert all(windows.ends[row] for row in last.values()), "the last window ends with its trace"
    if stride == length:
        assert np.bincount(windows.trace, weights=windows.length, minlength=len(lengths)).tolist() == lengths


@given(lengths_of_traces)
def test_what_follows_and_what_is_to_be_forecast(lengths):
    events = events_of(lengths)
    windows = cut(events, learn_dictionary(events, max_labels=9), length=20)
    label, time_ms = windows.following
    np.testing.assert_array_equal(label[:, :-1], windows.label[:, 1:])
    np.testing.assert_array_equal(time_ms[:, :-1], windows.time_ms[:, 1:])
    assert (label[:, -1] == END_ID).all()
    assert (windows.inside.sum(1) == windows.length).all()
    assert (windows.followed.sum(1) == windows.length - 1).all()
    assert (windows.forecast.sum(1) == windows.length - 1 + windows.ends).all()
    assert ((label != END_ID) == windows.followed).all()
    some = windows.take(np.arange(len(windows))[::-1])
    np.testing.assert_array_equal(some.label, windows.label[::-1])
    assert len(some) == len(windows)


def test_the_rest_of_the_labels_share_one_index():
    events = replace(events_of([10]), label=np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 3]))
    dictionary = learn_dictionary(events, max_labels=2)
    assert [dictionary.index(label) for label in LABELS] == [2, 3, RARE_ID, RARE_ID]
    assert dictionary.rare == {"c", "d"}
    assert len(learn_dictionary(events, max_labels=9, min_count=3)) == 2 + 2
    assert "unused" not in learn_dictionary(replace(events, labels=[*LABELS, "unused"]), max_labels=9).rare


@pytest.mark.parametrize("longer", [False, True])
def test_as_many_traces_of_each_length(longer):
    lengths = np.repeat(np.arange(1, 31), 50)
    lengths = np.concatenate((lengths, [7] * 400))
    chosen = choose_by_length(lengths, np.random.default_rng(0), each=60, longer=longer)
    assert len(np.unique(chosen)) == len(chosen)
    assert (np.diff(chosen) > 0).all()
    counted = dict(zip(*np.unique(np.minimum(lengths[chosen], 20), return_counts=True), strict=True))
    assert counted == dict.fromkeys(range(4, 21), 50) | {7: 60} | ({20: 60} if longer else {})
    assert (lengths[chosen] > 20).any() == longer
    again = choose_by_length(lengths, np.random.default_rng(0), each=60, longer=longer)
    np.testing.assert_array_equal(again, chosen)


def test_nothing_to_choose_from():
    assert choose_by_length(np.array([1, 2, 3, 30]), np.random.default_rng(0)).tolist() == []
