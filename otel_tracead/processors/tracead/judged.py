"""What is stored of judged traces, so that whoever comes after a crash gives each the verdict that it had; pure.

A record holds the traces of one parcel: whose spans they are made of, by the numbers of the requests that brought them,
and what annotation changed. The spans themselves stay in their requests.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress, count
from operator import is_not
from typing import Any, Final, NamedTuple

import msgspec

from otel_tracead.delivery import Delivery
from otel_tracead.detection.marking import Marked
from otel_tracead.traces.identity import trace_ids
from otel_tracead.traces.late import Decision
from otel_tracead.traces.trace import Trace
from otel_tracead.wire.attributes import append_attributes
from otel_tracead.wire.batch import SpanBatch, TranslatedSpan

_VERSION: Final = 1
_DECISIONS: Final = tuple(Decision)
_CODES: Final = {decision: code for code, decision in enumerate(_DECISIONS)}
_ID: Final = 16
_ROW: Final = _ID + 1  # of packed decisions


class StoredRequest(Delivery):
    """A request whose spans lie in the journal until it is settled.

    Args:
        number: of its record.
        on_settled: called with the request.

    Attributes:
        number: of its record.
        cuts: of traces that were released while the request was taken in, how many of its spans they have: the first
            ones. Its other spans of these traces are late.
        listeners: called once the record is no longer needed.
    """

    __slots__ = ("cuts", "listeners", "number")

    def __init__(self, number: int, on_settled: "Callable[[StoredRequest], None]") -> None:
        super().__init__(lambda: on_settled(self))
        self.number = number
        self.cuts: dict[bytes, int] = {}
        self.listeners: list[Callable[[], None]] = []

    @property
    def kept(self) -> bool:
        """Yes, in the journal."""
        return True

    def note_cuts(self, released: Iterable[Trace], batch: SpanBatch, waiting: Callable[[bytes], int]) -> None:
        """Note which traces were released while *batch*, the request's spans, was taken in, and had some of them.

        Args:
            released: the traces.
            batch: the spans.
            waiting: says how many spans have come of a trace since.
        """
        cut = {trace.trace_id for trace in released if trace.holds[-1][0] is self}
        if cut:
            spans = Counter(trace_id for _, spans in batch.groups for trace_id in trace_ids(spans))
            self.cuts = {trace_id: spans[trace_id] - waiting(trace_id) for trace_id in cut}


class JudgedTrace(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One trace of a record.

    Attributes:
        trace_id: 16 bytes.
        code: of the decision.
        spans: how many it has.
        requests: the numbers of those that brought them, in order; not of spans that are kept elsewhere.
        cut: how many of the last request's spans of this trace are its own, the first ones; -1: all.
        appended: to spans, by their index.
        replaced: spans that attributes were cut out of, and the originals of translated ones, by their index.
    """

    trace_id: bytes
    code: int
    spans: int
    requests: tuple[int, ...]
    cut: int = -1
    appended: dict[int, bytes] = {}
    replaced: dict[int, tuple[bytes, bytes | None]] = {}

    @property
    def decision(self) -> Decision:
        """What the trace was found to be."""
        return _DECISIONS[self.code]

    def annotated(self, spans: Sequence[bytes]) -> list[bytes]:
        """Give the *spans* of the trace, as they came, as they leave."""
        changed = list(spans)
        for index, more in self.appended.items():
            changed[index] = append_attributes(spans[index], more)
        for index, (span, origin) in self.replaced.items():
            changed[index] = span if origin is None else TranslatedSpan(span, origin)
        return changed


class JudgedParcel(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A record.

    Attributes:
        version: of what follows.
        going: whether the traces go on; sampling has left them out if not.
        traces: in their order.
    """

    version: int
    going: bool
    traces: tuple[JudgedTrace, ...]

    def requests(self) -> set[int]:
        """Give the numbers of all requests that brought spans."""
        return {number for trace in self.traces for number in trace.requests}

    def decisions(self) -> Iterator[tuple[bytes, Decision]]:
        """Give what each trace was found to be."""
        return ((trace.trace_id, trace.decision) for trace in self.traces)


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(JudgedParcel)


class Verdicts(NamedTuple):
    """What is to be stored of a parcel.

    Attributes:
        record: see `JudgedParcel`.
        decisions: on the traces in it, packed.
    """

    record: bytes
    decisions: bytes


def verdicts(marked: Iterable[Marked], *, going: bool) -> Verdicts | None:
    """Give what is to be stored of *marked* traces that go on together, or are left out together.

    Traces of which no request is stored are not in it: whoever has their spans brings them again. None if all are such.
    """
    traces = tuple(_judged(one, requests) for one in marked if (requests := _requests(one.trace)))
    if not traces:
        return None
    parcel = JudgedParcel(_VERSION, going, traces)
    return Verdicts(_ENCODER.encode(parcel), pack_decisions(parcel.decisions()))


def read_judged(record: bytes) -> JudgedParcel:
    """Read a record.

    Raises:
        ValueError: it is none, or of another version.
    """
    try:
        found = _DECODER.decode(record)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not a record of judged traces: {error}") from error
    if found.version != _VERSION:
        raise ValueError(f"a record of version {found.version}, not {_VERSION}")
    for trace in found.traces:
        indexes = (*trace.appended, *trace.replaced)
        if (
            len(trace.trace_id) != _ID
            or not 0 <= trace.code < len(_DECISIONS)
            or not trace.requests
            or not all(0 <= index < trace.spans for index in indexes)
        ):
            raise ValueError("a record of judged traces that makes no sense")
    return found


def pack_decisions(decisions: Iterable[tuple[bytes, Decision]]) -> bytes:
    """Give decisions as bytes: 17 a trace."""
    return b"".join([trace_id + bytes((_CODES[decision],)) for trace_id, decision in decisions])


def count_decisions(packed: bytes) -> int:
    """Say how many decisions `pack_decisions` was given."""
    return len(packed) // _ROW


def unpack_decisions(packed: bytes) -> list[tuple[bytes, Decision]]:
    """Read what `pack_decisions` gave.

    Raises:
        ValueError: it is nothing of that kind.
    """
    if len(packed) % _ROW or any(code >= len(_DECISIONS) for code in packed[_ID::_ROW]):
        raise ValueError("not a record of decisions")
    rows = (packed[start : start + _ROW] for start in range(0, len(packed), _ROW))
    return [(row[:_ID], _DECISIONS[row[_ID]]) for row in rows]


def _requests(trace: Trace) -> list[StoredRequest]:
    return [delivery for delivery, _ in trace.holds if isinstance(delivery, StoredRequest)]


def _judged(marked: Marked, requests: Sequence[StoredRequest]) -> JudgedTrace:
    trace = marked.trace
    before, after = trace.spans, marked.spans
    appended: dict[int, bytes] = {}
    replaced: dict[int, tuple[bytes, bytes | None]] = {}
    for index in compress(count(), map(is_not, after, before)):
        old, new = before[index], after[index]
        plain = type(new) is bytes is type(old)
        if new.startswith(old) and (plain or _origin(new) is _origin(old)):
            appended[index] = new[len(old) :]
        else:
            replaced[index] = (bytes(new), _origin(new))
    cut = requests[-1].cuts.get(trace.trace_id, -1)
    numbers = tuple([request.number for request in requests])
    return JudgedTrace(trace.trace_id, _CODES[marked.decision], len(before), numbers, cut, appended, replaced)


def _origin(span: bytes) -> Any:
    return span.origin if isinstance(span, TranslatedSpan) else None
