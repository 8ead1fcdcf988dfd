"""Spans that are ready to go on, packed into batches that a backend will take.

Pure, and free of `Delivery.hold`, which belongs to the event loop: the scoring thread packs, the loop ships.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from otel_tracead.delivery import Consignment, Delivery
from otel_tracead.detection.marking import Marked
from otel_tracead.processors.tracead.judged import Verdicts, verdicts
from otel_tracead.traces.late import Decision
from otel_tracead.wire.batch import Envelope, SpanBatch, group
from otel_tracead.wire.runs import Runs

MAX_SPANS: Final = 8192
MAX_BYTES: Final = 2 * 1024 * 1024  # half of what a gRPC server takes by default


@dataclass(slots=True, eq=False)
class Parcel:
    """Spans that go on together.

    Attributes:
        spans: how many they are (or were: those of traces that sampling left out are counted too).
        batches: the spans, none larger than a backend takes; empty if sampling left them out.
        holds: (delivery, number of holds) of all of them.
        decisions: (trace id, what it was found to be) of traces that are decided with this parcel.
        released_at: when its traces were released, and how many then.
        verdicts: what is to be stored before any of the spans goes on, if anything is.
    """

    spans: int
    batches: list[SpanBatch]
    holds: Sequence[tuple[Delivery, int]]
    decisions: list[tuple[bytes, Decision]] = field(default_factory=list)
    released_at: Mapping[float, int] = field(default_factory=dict)
    verdicts: Verdicts | None = None

    def consignments(self) -> list[Consignment]:
        """Give the batches with their holds; a parcel without batches is settled."""
        whole = Consignment(SpanBatch([]), self.holds)
        if not self.batches:
            whole.settle()
        return whole.split(self.batches) if self.batches else []


def pack(marked: Iterable[Marked], *, stored: bool = False) -> list[Parcel]:
    """Pack annotated traces, in their order; a trace is divided only if it is too large for one batch.

    Args:
        marked: the traces.
        stored: whether there is a journal that is to have their verdicts.
    """
    return [_parcel(traces, _batches(traces, size), stored=stored) for traces, size in _by_size(marked)]


def left_out(marked: Sequence[Marked], *, stored: bool = False) -> Parcel:
    """Make a parcel without spans of traces that do not go on."""
    return _parcel(marked, [], stored=stored)


def pack_loose(spans: Sequence[bytes], envelopes: Sequence[Envelope], holds: Sequence[tuple[Delivery, int]]) -> Parcel:
    """Pack spans that go on without their trace."""
    return Parcel(len(spans), list(_divided(envelopes, spans)) if spans else [], holds)


def _by_size(marked: Iterable[Marked]) -> Iterator[tuple[list[Marked], int]]:
    """Cut traces into runs that fit in one batch, and give the bytes of the spans of each run."""
    current: list[Marked] = []
    spans = size = 0
    for trace in marked:
        if current and (spans + len(trace.spans) > MAX_SPANS or size + trace.size > MAX_BYTES):
            yield current, size
            current, spans, size = [], 0, 0
        current.append(trace)
        spans += len(trace.spans)
        size += trace.size
    if current:
        yield current, size


def _batches(traces: Sequence[Marked], size: int) -> list[SpanBatch]:
    """Group the spans of *traces*, *size* bytes, by their envelopes."""
    groups: defaultdict[Envelope, list[bytes]] = defaultdict(list)
    for one in traces:
        runs, spans, begin = Runs.of(one.trace.envelopes), one.spans, 0
        for envelope, count in zip(runs.values, runs.counts, strict=True):
            groups[envelope].extend(spans[begin : begin + count])
            begin += count
    if _fits(sum(map(len, groups.values())), size, groups):
        return [SpanBatch(list(groups.items()))]
    loose = list(chain.from_iterable(one.spans for one in traces))
    return list(_divided(list(chain.from_iterable(one.trace.envelopes for one in traces)), loose))


def _fits(spans: int, size: int, envelopes: Iterable[Envelope]) -> bool:
    """Say whether *spans* spans of *size* bytes fit in one batch under *envelopes*; one span cannot be divided."""
    whole = size + sum(len(envelope.resource) + len(envelope.scope) for envelope in envelopes)
    return (spans <= MAX_SPANS and whole <= MAX_BYTES) or spans == 1


def _parcel(traces: Sequence[Marked], batches: list[SpanBatch], *, stored: bool) -> Parcel:
    holds: dict[Delivery, int] = {}
    for marked in traces:
        for delivery, count in marked.trace.holds:
            holds[delivery] = holds.get(delivery, 0) + count
    return Parcel(
        spans=sum(len(marked.spans) for marked in traces),
        batches=batches,
        holds=tuple(holds.items()),
        decisions=[(marked.trace.trace_id, marked.decision) for marked in traces],
        released_at=Counter(marked.trace.released_at for marked in traces),
        verdicts=verdicts(traces, going=bool(batches)) if stored else None,
    )


def _divided(envelopes: Sequence[Envelope], spans: Sequence[bytes]) -> Iterator[SpanBatch]:
    batch = group(envelopes, spans)
    if _fits(len(spans), batch.size(), (envelope for envelope, _ in batch.groups)):
        yield batch
        return
    half = len(spans) // 2
    yield from _divided(envelopes[:half], spans[:half])
    yield from _divided(envelopes[half:], spans[half:])
