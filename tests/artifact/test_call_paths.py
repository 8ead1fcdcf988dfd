"""Tables of call trees in an artifact: nothing in them is believed."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tracead.artifact import calibration as calibrations
from otel_tracead.artifact import call_paths
from otel_tracead.artifact.call_paths import CallPaths
from otel_tracead.detection.paths import operations
from otel_tracead.errors import ArtifactError
from otel_tracead.traces.dictionary import Dictionary

LABELS = 6
# A root that calls two places, the second of which calls one.
PLACES = np.array(
    [[-1, 2, 10, 10, 0, 0, 0], [0, 3, 9, 12, 3, 1, 0], [0, 4, 10, 10, 0, 0, 2], [2, 5, 5, 5, 0, 0, 0]], np.int64
)
PAIRS = np.array([[1, 2, 9, 8, 1, 0, 3]], np.int64)


def table(
    places: np.ndarray = PLACES, pairs: np.ndarray = PAIRS, totals: tuple[int, ...] = (10, 10, 37, 37)
) -> CallPaths:
    return CallPaths(np.array(places, np.int64), np.array(pairs, np.int64), np.array(totals, np.int64))


def found(paths: CallPaths) -> list[str]:
    return [problem for problem, is_so in paths.problems(LABELS).items() if is_so]


def changed(array: np.ndarray, row: int, column: int, value: int) -> np.ndarray:
    array = array.copy()
    array[row, column] = value
    return array


def test_good_tables_are_good():
    assert found(table()) == []
    assert found(CallPaths()) == []


@pytest.mark.parametrize(
    ("row", "column", "value", "words"),
    [
        (1, 0, 1, "stands before it"),
        (1, 0, 3, "stands before it"),
        (1, 0, -2, "stands before it"),
        (3, 1, LABELS, "not in the dictionary"),
        (3, 1, 1, "not in the dictionary"),
        (3, 1, -1, "not in the dictionary"),
        (3, 2, 11, "more often"),
        (3, 2, 0, "less"),
        (3, 3, 4, "less"),
        (1, 4, 10, "more often"),
        (1, 5, 4, "more often"),
        (1, 6, -1, "more often"),
        (2, 1, 3, "stands twice"),
    ],
)
def test_places_that_cannot_be(row, column, value, words):
    assert words in " ".join(found(table(changed(PLACES, row, column, value))))


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ([0, 4, 9, 8, 1, 0, 0], "not there"),
        ([2, 1, 9, 8, 1, 0, 0], "not there"),
        ([-1, 1, 9, 8, 1, 0, 0], "not there"),
        ([2, 3, 9, 8, 1, 0, 0], "different callers"),
        ([1, 2, 9, 9, 1, 0, 0], "more often than together"),
        ([1, 2, 9, -1, 1, 0, 0], "more often than together"),
        ([1, 2, 9, 8, 1, 10, 0], "more often than together"),
        ([1, 2, 9, 2**62, 2**62, 0, 0], "more often than together"),
        ([1, 2, 9, 8, 1, 0, 4], "again more often"),
    ],
)
def test_pairs_that_cannot_be(pair, words):
    assert words in " ".join(found(table(pairs=[pair])))


def test_a_pair_that_stands_twice():
    assert "twice" in " ".join(found(table(pairs=np.vstack((PAIRS, PAIRS)))))


def test_totals_are_counts():
    assert found(table(totals=(1, 1, -1, 1))) == ["a total is negative"]


def test_sizes_are_bounded(monkeypatch):
    chain = np.array([[row - 1, 2, 1, 1, 0, 0, 0] for row in range(call_paths.DEEPEST + 1)])
    assert found(table(chain, np.zeros((0, 7)))) == ["calls lie deeper than a model may have"]
    assert found(table(chain[:-1], np.zeros((0, 7)))) == []
    wide = np.array(
        [[-1, 2, 9, 9, 0, 0, 0], *([0, 3 + row, 9, 9, 0, 0, 0] for row in range(call_paths.MOST_CALLS + 1))]
    )
    problems = table(wide, np.zeros((0, 7))).problems(1000)
    assert [problem for problem, is_so in problems.items() if is_so] == [
        "a caller makes more kinds of call than a model may have"
    ]
    monkeypatch.setattr(call_paths, "MOST_PLACES", 3)
    assert found(table()) == ["more places or pairs of calls than a model may have"]


@given(st.data())
def test_what_is_found_good_can_be_drawn(data):
    """Whatever somebody writes into the tables, it is refused or drawn."""
    numbers = st.integers(-2, 12)
    row, column = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 6))
    paths = table(
        changed(PLACES, row, column, data.draw(numbers)), [data.draw(st.lists(numbers, min_size=7, max_size=7))]
    )
    if not found(paths):
        operations(paths, Dictionary(["!0", "!rare", "a", "b", "c", "d"]))


def test_the_tables_survive_being_saved(tiny_model):
    calibration = tiny_model.calibration
    loaded = calibrations.load(calibration.dump(), len(tiny_model.dictionary))
    assert len(loaded.paths) > 50
    for name in ("places", "pairs", "totals"):
        np.testing.assert_array_equal(getattr(loaded.paths, name), getattr(calibration.paths, name))


def test_a_bad_table_is_refused(tiny_model):
    paths = tiny_model.calibration.paths
    bad = CallPaths(changed(paths.places, 1, 0, 10**6), paths.pairs, paths.totals)
    with pytest.raises(ArtifactError, match=r"calibration\.npz: a place is called by none"):
        calibrations.load(replace(tiny_model.calibration, paths=bad).dump(), len(tiny_model.dictionary))
