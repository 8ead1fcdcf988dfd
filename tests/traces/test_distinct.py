import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from otel_tracead.traces.distinct import distinct


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 10**6))
def test_distinct_numbers_are_found_the_quick_way_and_the_other(keys, factor):
    given_keys = np.array(keys, np.int64) * factor  # far apart they are sorted, close together counted
    keys_found, place, count = distinct(given_keys)
    wanted = np.unique(given_keys, return_inverse=True, return_counts=True)
    for found, right in zip((keys_found, place, count), wanted, strict=True):
        assert found.tolist() == right.tolist()
