"""A sequence whose neighbours are mostly the same, kept as what stands there and how often."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, repeat
from typing import Any, Generic, TypeVar, overload

ValueT = TypeVar("ValueT")


class Runs(Sequence[ValueT], Generic[ValueT]):
    """Says what each of many things has; read it run by run where many are read.

    Args:
        values: of each run.
        counts: how many things each of them is said of; none is 0.

    Attributes:
        values: as given.
        counts: as given.
    """

    __slots__ = ("counts", "values")

    def __init__(self, values: list[ValueT], counts: list[int]) -> None:
        self.values = values
        self.counts = counts

    @classmethod
    def of(cls, sequence: Sequence[ValueT]) -> "Runs[ValueT]":
        """Give any sequence as runs; one that is none gets a run for each of its values."""
        return sequence if isinstance(sequence, Runs) else cls(list(sequence), [1] * len(sequence))

    def __len__(self) -> int:
        return sum(self.counts)

    def __iter__(self) -> Iterator[ValueT]:
        return chain.from_iterable(map(repeat, self.values, self.counts))

    def append(self, value: ValueT) -> None:
        """Say it of one thing more."""
        if self.values and self.values[-1] is value:
            self.counts[-1] += 1
        else:
            self.values.append(value)
            self.counts.append(1)

    @overload
    def __getitem__(self, index: int) -> ValueT: ...

    @overload
    def __getitem__(self, index: slice) -> list[ValueT]: ...

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return list(self)[index]
        ends = list(accumulate(self.counts))
        place = range(ends[-1] if ends else 0)[index]
        return self.values[bisect_right(ends, place)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Runs({self.values!r}, {self.counts!r})"
