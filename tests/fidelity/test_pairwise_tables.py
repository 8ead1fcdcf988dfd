"""The tables: every pair is there, and they are those that their generator gives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fidelity import pairwise


@pytest.mark.parametrize("name", list(pairwise.TABLES))
def test_every_pair_stands_in_the_table(name: str) -> None:
    rows = pairwise.read(name)
    assert {pair for row in rows for pair in pairwise.covered(row)} == pairwise.pairs(pairwise.TABLES[name])


@pytest.mark.parametrize("name", list(pairwise.TABLES))
def test_the_table_is_as_it_was_generated(name: str) -> None:
    assert pairwise.read(name) == pairwise.generate(pairwise.TABLES[name]), (
        "write it anew: python -m tests.fidelity.pairwise"
    )


@given(st.lists(st.integers(1, 4), min_size=2, max_size=5))
def test_any_table_has_every_pair_and_not_many_more_rows_than_it_must(sizes: list[int]) -> None:
    factors = {f"f{place}": [f"v{value}" for value in range(size)] for place, size in enumerate(sizes)}
    rows = pairwise.generate(factors)
    assert {pair for row in rows for pair in pairwise.covered(row)} == pairwise.pairs(factors)
    largest = sorted(sizes)[-2:]
    assert len(rows) <= 2 * largest[0] * largest[1]
