"""What of one partition is handed on, and which offset may therefore be committed; pure.

Records are read in order and settled in any order. Committed is the offset below the oldest record that is not settled:
whoever reads on from there misses nothing. But a trace that was handed on may have records on both sides of that
offset, and only those above it would be read again: half a trace, which looks like one with missing calls. So a ledger
also knows the *replay offset*, the first record of any such trace. Both are committed, the second in the metadata. The
next reader starts at the replay offset and takes what lies below the committed one as `replayed`.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

_MARK: Final = "otel-tracead:"
_MOST_REPLAYED: Final = 1_000_000


class Position(NamedTuple):
    """Where a reader may start.

    Attributes:
        offset: everything below it was handed on.
        replay: the first record of any trace that was handed on and has records from `offset` on; at most `offset`.
    """

    offset: int
    replay: int

    @property
    def metadata(self) -> str:
        """What is committed beside the offset."""
        return f"{_MARK}{self.replay}" if self.replay < self.offset else ""

    @classmethod
    def committed(cls, offset: int, metadata: str | None) -> "Position":
        """Read what was committed, by us or by somebody else; what makes no sense is no replay."""
        text = (metadata or "").removeprefix(_MARK)
        replay = int(text) if metadata != text and text.isascii() and text.isdecimal() and len(text) < 19 else offset
        return cls(offset, max(min(replay, offset), offset - _MOST_REPLAYED, 0))


@dataclass(slots=True, eq=False)
class Stretch:
    """Records of the partition that were read together.

    Attributes:
        first: the offset of the first one.
        after: the offset after the last one.
        oldest: the first offset of anything that shares a trace with them.
        settled: whether all of their spans are handed on.
    """

    first: int
    after: int
    oldest: int
    settled: bool = False


class Ledger:
    """The stretches of one partition that are not below the committed offset.

    Args:
        start: what was committed, where reading starts.
    """

    def __init__(self, start: Position) -> None:
        self._stretches: deque[Stretch] = deque()
        self._start = start
        self._offset = start.offset
        self._next = start.replay
        self._unsettled = 0

    @property
    def unsettled(self) -> int:
        """How many records were read and are not handed on, gaps in the offsets included."""
        return self._unsettled

    @property
    def next(self) -> int:
        """The offset after the last record that was read."""
        return self._next

    def read(self, first: int, after: int) -> Stretch:
        """Note that the records from *first* up to *after*, exclusive, were read.

        Raises:
            ValueError: that is not after everything that was read before.
        """
        if not self._next <= first < after:
            raise ValueError(f"offsets {first} to {after} were read after {self._next}")
        stretch = Stretch(first, after, first)
        self._stretches.append(stretch)
        self._next = after
        self._unsettled += after - first
        return stretch

    def settle(self, stretch: Stretch) -> None:
        """Note that the spans of *stretch* are handed on; a second time changes nothing."""
        if not stretch.settled:
            stretch.settled = True
            self._unsettled -= stretch.after - stretch.first

    def position(self) -> Position:
        """Say what may be committed now; its offset never goes back."""
        while self._stretches and self._stretches[0].settled:
            self._stretches.popleft()
        reached = self._stretches[0].first if self._stretches else self._next
        self._offset = max(self._offset, reached)
        if self._offset == self._start.offset:
            return self._start  # what lies below it may still be needed: not all that lies above it was read
        return Position(self._offset, min([self._offset, *(stretch.oldest for stretch in self._stretches)]))
