"""What the journal knows of a parcel of judged traces, and the logs that it is kept in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from otel_tracead.delivery import Delivery
from otel_tracead.processors.tracead.judged import count_decisions
from otel_tracead.storage import Log, Store


class Logs(NamedTuple):
    """The logs of a processor's store.

    Attributes:
        requests: what was accepted, until it is settled.
        judged: the verdicts of each parcel, until only its decisions are kept.
        done: the numbers of those records in `judged` whose parcels were handed on.
        decisions: of former parcels, for spans that come later.
    """

    requests: Log
    judged: Log
    done: Log
    decisions: Log

    @classmethod
    def of(cls, store: Store) -> "Logs":
        """Give those of *store*."""
        return cls(*(store.log(name) for name in cls._fields))


@dataclass(slots=True, eq=False)
class Journaled:
    """A parcel of judged traces, from its verdicts' way to the disk until only their decisions are kept.

    Attributes:
        decisions: packed.
        record: until it is on disk, or has turned out to be too large for it.
        number: of the record, once it is there.
        handed_on: whether all of its spans are.
        done: the number of the mark that says so, once it is on disk.
        holds: on the requests, given back then.
        requests: how many of them are not yet gone.
    """

    decisions: bytes
    record: bytes = b""
    number: int | None = None
    handed_on: bool = False
    done: int | None = None
    holds: Sequence[tuple[Delivery, int]] = ()
    requests: int = 0

    @property
    def traces(self) -> int:
        """How many there are."""
        return count_decisions(self.decisions)


class OfParcel(Delivery):
    """What a parcel is settled by, for all of its requests."""

    __slots__ = ()

    @property
    def kept(self) -> bool:
        """Yes: in the journal, or where the spans came from."""
        return True
