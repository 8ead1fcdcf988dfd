"""Pieces of work, in this process and in others."""

import os
from functools import partial

import pytest

from otel_tracead.training.side_by_side import side_by_side


def piece(number, progress):
    progress(0.5)
    return number * number, os.getpid()


def failing(_progress):
    raise ValueError("this piece fails")


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_pieces(workers):
    shares: list[float] = []
    found = side_by_side([partial(piece, n) for n in range(5)], shares.append, workers)
    assert [square for square, _ in found] == [0, 1, 4, 9, 16]
    assert {pid for _, pid in found} & {os.getpid()} == ({os.getpid()} if workers == 1 else set())
    assert shares == sorted(shares)
    assert shares[-1] <= 1.0


@pytest.mark.parametrize("workers", [1, 2])
def test_one_failure_ends_all(workers):
    with pytest.raises(ValueError, match="this piece fails"):
        side_by_side([failing, partial(piece, 1)], lambda _share: None, workers)


def test_nothing_to_do():
    assert side_by_side([], lambda _share: None) == []
