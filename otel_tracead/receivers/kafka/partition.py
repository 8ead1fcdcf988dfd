"""A partition while it is ours, and the deliveries of what was read from it.

The polling thread reads and commits, the event loop settles: a lock stands around the ledger.
"""

from itertools import count
from threading import Lock
from typing import Final

from otel_tracead.delivery import Delivery
from otel_tracead.receivers.kafka.ledger import Ledger, Position, Stretch

_assignments: Final = count()


class Partition:
    """One assignment of one partition; assigned again, it is another object.

    Args:
        topic: its topic.
        number: its number.
        start: where reading starts; None until the first record says it.

    Attributes:
        assignment: a number that no other assignment has.
        withdrawn: whether it is no longer ours.
        high: the offset after the newest record at the broker, as far as is known.
        committed: what the broker last heard from us, or had when the partition became ours.
    """

    def __init__(self, topic: str, number: int, start: Position | None) -> None:
        self.topic = topic
        self.number = number
        self.assignment = next(_assignments)
        self.withdrawn = False
        self.high = 0
        self.committed: Position | None = None
        self._handed_on_before = 0 if start is None else start.offset
        self._ledger = None if start is None else Ledger(start)
        self._lock = Lock()

    @property
    def key(self) -> tuple[str, int]:
        """Topic and number."""
        return self.topic, self.number

    @property
    def handed_on_before(self) -> int:
        """The offset below which everything was handed on before the partition became ours."""
        return self._handed_on_before

    @property
    def next(self) -> int:
        """The offset after the last record that was read."""
        return 0 if self._ledger is None else self._ledger.next

    @property
    def unsettled(self) -> int:
        """How many records were read and are not handed on."""
        return 0 if self._ledger is None else self._ledger.unsettled

    def read(self, first: int, after: int) -> "RecordDelivery":
        """Make the delivery of the records from *first* up to *after*, exclusive.

        They lie on one side of what was handed on before. Offsets that were read already mean that the topic was made
        anew: counting starts again.
        """
        with self._lock:
            if self._ledger is None or first < self._ledger.next:
                self._ledger = Ledger(Position(first, first))
                self._handed_on_before = first
            stretch = self._ledger.read(first, after)
        return RecordDelivery(self, self._ledger, stretch, replayed=after <= self._handed_on_before)

    def withdraw(self) -> None:
        """Be no longer ours: from here on nothing is committed that was not handed on before."""
        with self._lock:
            self.withdrawn = True

    def settle(self, ledger: Ledger, stretch: Stretch) -> None:
        """Note that the spans of *stretch* are handed on; once withdrawn, they may as well have been let go."""
        with self._lock:
            if not self.withdrawn:
                ledger.settle(stretch)

    def share_trace(self, later: Stretch, earlier: Stretch) -> None:
        """Note that a trace has records in both."""
        with self._lock:
            later.oldest = min(later.oldest, earlier.first)

    def position(self) -> Position | None:
        """Say what may be committed; None before anything is known."""
        if self._ledger is None:
            return None
        with self._lock:
            return self._ledger.position()


class RecordDelivery(Delivery):
    """Records of one partition that were read together.

    Args:
        partition: theirs.
        ledger: the partition's, as it was then.
        stretch: where they lie in it.
        replayed: whether they were handed on by whoever had the partition before.
    """

    __slots__ = ("_ledger", "_partition", "_replayed", "_stretch")

    def __init__(self, partition: Partition, ledger: Ledger, stretch: Stretch, *, replayed: bool) -> None:
        super().__init__(self._handed_on)
        self._partition = partition
        self._ledger = ledger
        self._stretch = stretch
        self._replayed = replayed

    @property
    def withdrawn(self) -> bool:
        """Whether the partition is no longer ours: whoever has it reads these records again."""
        return self._partition.withdrawn

    @property
    def replayed(self) -> bool:
        """Whether the records were handed on by whoever had the partition before."""
        return self._replayed

    @property
    def kept(self) -> bool:
        """Whether somebody keeps them: Kafka does, and whoever comes next reads what was not committed."""
        return True

    def gathered_with(self, earlier: Delivery) -> None:
        """Note that whoever reads these records again needs *earlier* ones, too."""
        if isinstance(earlier, RecordDelivery) and earlier._ledger is self._ledger:  # noqa: SLF001 (its own class)
            self._partition.share_trace(self._stretch, earlier._stretch)  # noqa: SLF001 (likewise)

    def _handed_on(self) -> None:
        self._partition.settle(self._ledger, self._stretch)
