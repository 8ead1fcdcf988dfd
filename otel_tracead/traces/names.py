"""The names that spans came with, each with a number; which of them a column speaks of is remembered, and costs no string work."""

from collections.abc import Sequence
from functools import _lru_cache_wrapper, lru_cache
from typing import Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
NameT = TypeVar("NameT", str, tuple[str, str])

REMEMBERED: Final = 64
"""Choices of names that are kept sorted: traces of one kind have the same, and so have batches of usual traffic."""


class Names(Generic[NameT]):
    """Numbers names in the order in which they come.

    Attributes:
        known: the names, by number.
    """

    def __init__(self) -> None:
        self.known: list[NameT] = []
        self._numbers: dict[NameT, int] = {}
        self._chosen: _lru_cache_wrapper[tuple[Sequence[NameT], Ints]] = lru_cache(maxsize=REMEMBERED)(self._in_order)

    def __len__(self) -> int:
        """Count the names."""
        return len(self.known)

    def number(self, name: NameT) -> int:
        """Give the number of *name*."""
        found = self._numbers.get(name)
        if found is None:
            found = self._numbers[name] = len(self.known)
            self.known.append(name)
        return found

    def used(self, column: Ints) -> tuple[Sequence[NameT], Ints]:
        """Give the names that a *column* of numbers speaks of, sorted, and where each known name stands there.

        A name that is not among them stands at -1, and so does none, whose number is -1.
        """
        numbers = np.bincount(column, minlength=len(self.known)).nonzero()[0]
        return self._chosen(len(self.known), numbers.tobytes())

    def _in_order(self, known: int, numbers: bytes) -> tuple[Sequence[NameT], Ints]:
        ordered = sorted(np.frombuffer(numbers, np.int64).tolist(), key=self.known.__getitem__)
        place = np.full(known + 1, -1, np.int64)
        place[ordered] = np.arange(len(ordered))
        return [self.known[number] for number in ordered], place
