"""The time that a share exceeds, beside a slow and exact way to it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from otel_tracead.detection import mixture

NUMBER = st.floats(-6, 6, width=32)
COMPONENT = st.tuples(NUMBER, NUMBER, st.floats(-5, 3, width=32))


def exact(row: np.ndarray, share: float) -> tuple[float, float]:
    """Give it, and the width of where it can be."""
    weight, mean, scale = row.astype(float).reshape(3, -1)
    weight, scale = np.exp(weight - np.logaddexp.reduce(weight)), np.exp(scale)
    ends = mean + scale * np.log(len(mean) / share)
    low, high = mean.min() - 50 * scale.max(), ends.max()
    for _ in range(80):
        middle = (low + high) / 2
        above = (weight / (1 + np.exp(np.clip((middle - mean) / scale, -700, 700)))).sum() > share
        low, high = (middle, high) if above else (low, middle)
    return high, ends.max() - (mean + scale * np.log(1 / share - 1)).min()


@given(st.lists(COMPONENT, min_size=1, max_size=6), st.sampled_from([0.01, 0.1, 0.5]), NUMBER)
def test_the_time_that_a_share_exceeds(components, share, more):
    row = np.array(components, np.float32).T.reshape(-1)
    raised = row.copy()
    raised[: len(components)] += more  # weights need not be 1 together
    wanted, width = exact(row, share)
    for found in mixture.exceeded_by(np.array([row, raised]).T, share):
        assert abs(found - wanted) <= width / 64 + 1e-3


def test_what_the_network_mostly_says_is_found_to_a_thousandth():
    random = np.random.default_rng(0)
    rows = np.concatenate(
        (random.normal(0, 1, (500, 4)), random.normal(0, 1, (500, 4)), random.normal(-1, 0.5, (500, 4))), axis=1
    ).astype(np.float32)
    found = mixture.exceeded_by(rows.T, 0.1)
    difference = np.abs(found - [exact(row, 0.1)[0] for row in rows])
    assert np.mean(difference) < 1e-3
    assert np.quantile(difference, 0.99) < 1e-2
    assert len(mixture.exceeded_by(rows[:0].T, 0.1)) == 0
