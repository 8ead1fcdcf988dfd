"""How the network's benchmark cuts traces into batches, and what it takes for their cost."""

import time

import numpy as np
import pytest

from benchmarks.network import batches, least


@pytest.mark.parametrize("spans", [1, 7, 10, 1000])
def test_batches_hold_all_traces_in_order(spans):
    lengths = [3, 1, 12, 5, 5, 2, 30, 1]
    offsets = np.cumsum([0, *lengths], dtype=np.int64)
    labels, times = np.arange(offsets[-1]), np.arange(offsets[-1]) / 2
    found = list(batches((labels, times, offsets), spans))
    assert [length for _, _, part in found for length in np.diff(part).tolist()] == lengths
    np.testing.assert_array_equal(np.concatenate([part for part, _, _ in found]), labels)
    np.testing.assert_array_equal(np.concatenate([part for _, part, _ in found]), times)
    assert all(part[0] == 0 and part[-1] == len(own) for own, _, part in found)
    assert all(len(part) == 2 or part[-1] <= spans + max(lengths) for _, _, part in found)
    assert (len(found) == len(lengths)) == (spans == 1)


def test_the_least_of_several_rounds_is_taken():
    calls = []

    def work() -> None:
        calls.append(0)
        if len(calls) != 2:
            until = time.process_time() + 0.02
            while time.process_time() < until:
                pass

    assert least({"work": work}, 3)["work"] < 0.02
    assert len(calls) == 3
