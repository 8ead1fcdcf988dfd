"""A span carries its receipt: one mechanism from receiver to exporter that knows what was handed on.

Each accepted request is a `Delivery`. Whatever holds some of its spans holds the delivery; the last one to
settle it settles the request: its rows leave the journal, a Kafka offset may be committed, a drain is over.
All of it runs on the event loop's thread; no locks.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from otel_tracead.wire.batch import SpanBatch, concatenate


class Delivery:
    """One accepted request; settled when every hold on it was given back.

    A receiver whose source keeps what it sent (Kafka) may make its own kind, which says more about itself.

    Attributes:
        holds: how many holders there still are.
    """

    __slots__ = ("_on_settled", "holds")

    def __init__(self, on_settled: Callable[[], None] | None = None, holds: int = 1) -> None:
        self.holds = holds
        self._on_settled = on_settled

    def hold(self, count: int = 1) -> None:
        """Add *count* holders."""
        self.holds += count

    def settle(self, count: int = 1) -> None:
        """Give back *count* holds; the last one calls `on_settled`.

        Raises:
            RuntimeError: more holds were given back than taken: a span would be counted twice.
        """
        self.holds -= count
        if self.holds < 0:
            raise RuntimeError("a delivery was settled more often than it was held")
        if self.holds == 0:
            # It is not kept: who asks to be called may know the delivery, and would live on with it until garbage is collected.
            on_settled, self._on_settled = self._on_settled, None
            if on_settled is not None:
                on_settled()

    @property
    def withdrawn(self) -> bool:
        """Whether somebody else was given the same spans: a trace that is still being gathered of them is his."""
        return False

    @property
    def replayed(self) -> bool:
        """Whether its spans were handed on before, and come again only so that traces with others are whole."""
        return False

    @property
    def kept(self) -> bool:
        """Whether its spans are kept elsewhere until it is settled (in Kafka, in a journal), whatever becomes of us.

        Nobody else has to store them, and what is left of them when the process ends is not lost.
        """
        return False

    def gathered_with(self, earlier: "Delivery") -> None:
        """Hear that spans of a released trace came in this delivery, and the first of them in *earlier*."""


@dataclass(slots=True, eq=False)
class Consignment:
    """Spans on their way, with the holds on the deliveries that they came in.

    Attributes:
        batch: the spans.
        holds: (delivery, how many of its holds go with these spans).
    """

    batch: SpanBatch
    holds: Sequence[tuple[Delivery, int]] = field(default=())

    @property
    def kept(self) -> bool:
        """Whether all of them are kept elsewhere until they are settled."""
        return bool(self.holds) and all(delivery.kept for delivery, _ in self.holds)

    def settle(self) -> None:
        """Say that these spans were handed on (or given up for good and counted)."""
        for delivery, count in self.holds:
            delivery.settle(count)
        self.holds = ()

    def copies(self, count: int) -> list["Consignment"]:
        """Make *count* consignments of the same spans, each with holds of its own (for a fan-out)."""
        for delivery, held in self.holds:
            delivery.hold(held * (count - 1))
        return [Consignment(self.batch, self.holds) for _ in range(count)]

    def split(self, batches: Iterable[SpanBatch]) -> list["Consignment"]:
        """Make one consignment for each of *batches*, parts of these spans, each with holds of its own."""
        parts = list(batches)
        for delivery, held in self.holds:
            delivery.hold(held * (len(parts) - 1))
        return [Consignment(part, self.holds) for part in parts]


def join(consignments: Iterable[Consignment]) -> Consignment:
    """Make one consignment of many, with all their holds."""
    parts = list(consignments)
    holds: dict[Delivery, int] = {}
    for part in parts:
        for delivery, count in part.holds:
            holds[delivery] = holds.get(delivery, 0) + count
    return Consignment(concatenate(part.batch for part in parts), tuple(holds.items()))
