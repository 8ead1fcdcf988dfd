"""Runs say what a list would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tracead.wire.runs import Runs


@given(st.lists(st.sampled_from("ab")), st.integers(-12, 12), st.slices(10))
def test_they_stand_for_the_list_that_was_appended(values, index, part):
    runs = Runs([], [])
    for value in values:
        runs.append(value)
    assert list(runs) == values
    assert runs == values
    assert len(runs) == len(values)
    assert runs[part] == values[part]
    if -len(values) <= index < len(values):
        assert runs[index] == values[index]
    else:
        with pytest.raises(IndexError):
            runs[index]
    assert len(runs.values) == len(runs.counts) == sum(a != b for a, b in zip(["", *values], values, strict=False))


def test_any_sequence_is_runs():
    runs = Runs(["a", "b"], [2, 1])
    assert Runs.of(runs) is runs
    assert Runs.of(["a", "a", "b"]) == runs
    assert runs != Runs(["a", "b"], [1, 2])
    assert "Runs(['a', 'b'], [2, 1])" in repr(runs)
