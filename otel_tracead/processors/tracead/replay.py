"""What becomes of each span that the journal has after a crash; pure.

It was handed on with its trace, and stays behind; its trace was judged but perhaps not handed on, and goes out again as
it was then; or it goes into the assembler as if it had just come, where it is late if its trace was decided.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from otel_tracead.delivery import Delivery
from otel_tracead.detection.annotate import annotate_late
from otel_tracead.processors.tracead.judged import JudgedParcel, JudgedTrace, StoredRequest
from otel_tracead.processors.tracead.parcels import Parcel, pack_loose
from otel_tracead.traces.identity import trace_ids
from otel_tracead.wire.batch import Envelope, SpanBatch


@dataclass(slots=True)
class _Gathered:
    """The spans of a judged trace that were found so far; without `spans` it was handed on."""

    trace: JudgedTrace
    spans: list[bytes] | None
    envelopes: list[Envelope] = field(default_factory=list)

    def annotated(self) -> list[bytes]:
        """Give the spans as they were to leave; where some are gone for good, the others as late ones."""
        spans = self.spans or []
        if len(spans) == self.trace.spans:
            return self.trace.annotated(spans)
        return annotate_late(spans, [self.trace.decision] * len(spans)).spans


@dataclass(slots=True, eq=False)
class Again:
    """A parcel that was judged, and of which nobody knows whether it was handed on.

    Attributes:
        number: of its record.
        awaits: the numbers of stored requests that were not seen yet.
        going: see `JudgedParcel`.
        traces: of the parcel.
        holds: one on each request with spans of it.
    """

    number: int
    awaits: set[int]
    going: bool
    traces: list[_Gathered]
    holds: list[tuple[Delivery, int]] = field(default_factory=list)

    def parcel(self) -> Parcel:
        """Give it as it is to be handed on."""
        if not self.going:
            return Parcel(sum(len(one.spans or ()) for one in self.traces), [], self.holds)
        spans = [span for one in self.traces for span in one.annotated()]
        return pack_loose(spans, [envelope for one in self.traces for envelope in one.envelopes], self.holds)


@dataclass(slots=True)
class Sorted:
    """What follows from a stored request.

    Attributes:
        rest: goes into the assembler.
        again: parcels that are complete with it.
        left: how many spans were handed on before.
    """

    rest: SpanBatch
    again: list[Again]
    left: int = 0


@dataclass(slots=True)
class _Share:
    """What a judged trace has of one request: the first `room` of its spans there, or all of them (None)."""

    gathered: _Gathered
    room: int | None


class Replay:
    """Sorts the spans of stored requests, which come in their order.

    Args:
        judged: the records by number, in order.
        done: the numbers of those that were handed on.
        requests: the numbers of all that are stored.
    """

    def __init__(
        self, judged: Iterable[tuple[int, JudgedParcel]], done: Container[int], requests: Container[int]
    ) -> None:
        self._shares: dict[int, dict[bytes, _Share]] = {}
        self._awaited: dict[int, list[Again]] = {}
        for number, parcel in judged:
            gathered = [_Gathered(trace, None if number in done else []) for trace in parcel.traces]
            awaits = {request for request in parcel.requests() if request in requests}
            for one in gathered:
                for request in one.trace.requests:
                    if request in awaits:
                        cut = one.trace.cut if request == one.trace.requests[-1] and one.trace.cut >= 0 else None
                        self._shares.setdefault(request, {})[one.trace.trace_id] = _Share(one, cut)
            if number not in done:
                again = Again(number, awaits, parcel.going, gathered)
                for request in awaits:
                    self._awaited.setdefault(request, []).append(again)

    def take(self, request: StoredRequest, batch: SpanBatch) -> Sorted:
        """Sort the spans of a request; parcels take holds of their own on it."""
        shares = self._shares.pop(request.number, None)
        if shares is None:
            return Sorted(batch, [])
        awaiting = self._awaited.pop(request.number, [])
        for again in awaiting:
            request.hold()
            again.holds.append((request, 1))
        left = 0
        groups: list[tuple[Envelope, list[bytes]]] = []
        for envelope, spans in batch.groups:
            rest: list[bytes] = []
            for span, trace_id in zip(spans, trace_ids(spans), strict=True):
                share = shares.get(trace_id)
                if share is None or share.room == 0:
                    rest.append(span)
                    continue
                if share.room is not None:
                    share.room -= 1
                if share.gathered.spans is None:
                    left += 1
                else:
                    share.gathered.spans.append(span)
                    share.gathered.envelopes.append(envelope)
            if rest:
                groups.append((envelope, rest))
        return Sorted(SpanBatch(groups), _complete(awaiting, request.number), left)

    def missing(self, number: int) -> list[Again]:
        """Give the parcels that are complete, as far as they can be, without a request that cannot be read."""
        self._shares.pop(number, None)
        return _complete(self._awaited.pop(number, []), number)


def _complete(awaiting: Iterable[Again], number: int) -> list[Again]:
    found = []
    for again in awaiting:
        again.awaits.discard(number)
        if not again.awaits:
            found.append(again)
    return found
