"""Names by number, and which of them a column speaks of."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from otel_tracead.traces.names import REMEMBERED, Names


@given(st.lists(st.lists(st.text("ab", max_size=3), min_size=1, max_size=6), min_size=1, max_size=6))
def test_a_column_becomes_places_among_its_sorted_names(columns):
    names: Names[str] = Names()
    for _ in range(2):  # the second time all are known, and some choices remembered
        for column in columns:
            numbers = np.array([names.number(name) for name in column])
            used, place = names.used(numbers)
            assert list(used) == sorted(set(column))
            assert [used[one] for one in place[numbers]] == column
            others = set(range(len(names))) - set(numbers.tolist())
            assert set(place[[-1, *others]].tolist()) == {-1}


def test_choices_that_are_remembered_are_bounded():
    names: Names[str] = Names()
    for number in range(2 * REMEMBERED):
        names.number(str(number))
        names.used(np.array([number]))
    assert names._chosen.cache_info().currsize == REMEMBERED
