"""Labels and their indices."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tracead.traces.dictionary import END, END_ID, RARE, RARE_ID, Dictionary, learn
from otel_tracead.traces.labels import CALLEE


def test_indices():
    found = Dictionary([END, RARE, "a", f"b{CALLEE}c"], ["z"])
    assert len(found) == 4
    assert [found.index(label) for label in ("a", f"b{CALLEE}c", "b", "z", "other")] == [2, 3, 1, 1, 1]
    assert [found.knows(label) for label in ("a", f"b{CALLEE}c", "b", "z", "other")] == [True, True, False, True, False]
    assert [found.knows_stem(label) for label in ("a", "b", f"b{CALLEE}x", f"z{CALLEE}x", "other")] == [True] * 4 + [
        False
    ]


def test_a_span_that_is_named_like_the_end_is_not_the_end():
    found = Dictionary([END, RARE, "a"])
    assert found.index(END) == RARE_ID != END_ID
    assert not found.knows(END)
    assert learn({END: 100, RARE: 100, "a": 5}, max_labels=10, min_count=1).labels == (END, RARE, "a")


@pytest.mark.parametrize("labels", [[], [END], [RARE, END], ["a", "b"]])
def test_it_starts_with_the_end(labels):
    with pytest.raises(ValueError, match="starts with"):
        Dictionary(labels)


@pytest.mark.parametrize("labels", [["a", "a"], [END], [RARE]])
def test_each_label_once(labels):
    with pytest.raises(ValueError, match="once"):
        Dictionary([END, RARE, *labels])


@given(st.dictionaries(st.text("abc", max_size=3), st.integers(1, 9)), st.integers(0, 8), st.integers(1, 9))
def test_the_most_frequent_ones_get_an_index(counts, most, fewest):
    found = learn(counts, max_labels=most, min_count=fewest)
    frequent = set(found.labels[2:])
    assert frequent | found.rare == set(counts)
    assert len(frequent) <= most
    assert all(counts[label] >= fewest for label in frequent)
    if len(frequent) < most:
        assert all(counts[label] < fewest for label in found.rare)
    elif frequent and found.rare:
        assert min(counts[label] for label in frequent) >= max(counts[label] for label in found.rare)
    assert found.labels == learn(dict(reversed(counts.items())), max_labels=most, min_count=fewest).labels
