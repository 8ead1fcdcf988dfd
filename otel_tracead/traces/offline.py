"""Traces from stored spans: a trace ends when many others have come since its newest span, or with its file."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from otel_tracead.traces.identity import trace_ids
from otel_tracead.traces.trace import Release, Trace
from otel_tracead.wire.batch import Envelope, SpanBatch
from otel_tracead.wire.runs import Runs

_REMEMBERED: Final = 100_000


class LateSpan(NamedTuple):
    """A span that came after its trace had ended.

    Attributes:
        trace_id: 16 bytes.
        envelope: of the span.
        span: the encoded `Span`.
    """

    trace_id: bytes
    envelope: Envelope
    span: bytes


class Gatherer:
    """Gathers the spans of one file into traces; memory is bounded by the numbers that it is given, not by the file.

    A trace's `release` says how it ended: `wait` (others have come since its newest span), `limit` (it has
    *max_spans_per_trace*) or `shutdown` (with the file).

    Args:
        num_traces: a trace is given once as many others have come since its newest span.
        max_spans_per_trace: a trace is given as soon as it has as many spans; further ones are late.

    Attributes:
        invalid: spans without valid ids since this list was last emptied: they belong to no trace.
        late: spans of the last batch whose trace had ended before; the last 100,000 ended traces are remembered.
    """

    def __init__(self, num_traces: int = 50_000, max_spans_per_trace: int = 10_000) -> None:
        self._most = num_traces
        self._longest = max_spans_per_trace
        # Not dicts: the first key of a dict is behind all the deleted ones.
        self._open: OrderedDict[bytes, Trace] = OrderedDict()
        self._ended: OrderedDict[bytes, None] = OrderedDict()
        self.invalid: list[tuple[Envelope, bytes]] = []
        self.late: list[LateSpan] = []

    def add(self, batch: SpanBatch) -> Iterator[Trace]:
        """Take the spans of *batch* and give the traces that have ended."""
        self.late = []
        traces, longest = self._open, self._longest
        seen: set[bytes] = set()
        for envelope, spans in batch.groups:
            for span, trace_id in zip(spans, trace_ids(spans), strict=True):
                if trace_id not in seen:
                    if not self._begin(trace_id, envelope, span):
                        continue
                    seen.add(trace_id)
                trace = traces[trace_id]
                trace.spans.append(span)
                trace.envelopes.append(envelope)
                if len(trace.spans) >= longest:
                    seen.discard(trace_id)
                    yield self._end(trace_id, Release.LIMIT)
        while len(traces) > self._most:
            yield self._end(next(iter(traces)), Release.WAIT)
        while len(self._ended) > max(_REMEMBERED, self._most):
            self._ended.popitem(last=False)

    def drain(self) -> Iterator[Trace]:
        """End all traces: the file is over."""
        while self._open:
            trace = self._open.popitem(last=False)[1]
            trace.release = Release.SHUTDOWN
            yield trace

    def _begin(self, trace_id: bytes, envelope: Envelope, span: bytes) -> bool:
        """Make the trace of a batch's first span with its id the newest; say no where the span belongs to no open trace."""
        if not trace_id:
            self.invalid.append((envelope, span))
            return False
        if trace_id in self._open:
            self._open.move_to_end(trace_id)
            return True
        if trace_id in self._ended:
            self.late.append(LateSpan(trace_id, envelope, span))
            return False
        self._open[trace_id] = Trace(trace_id, [], Runs([], []))
        return True

    def _end(self, trace_id: bytes, release: Release) -> Trace:
        trace = self._open.pop(trace_id)
        trace.release = release
        self._ended[trace_id] = None
        return trace


def gather(batches: Iterable[SpanBatch], num_traces: int = 50_000) -> Iterator[Trace]:
    """Give the traces of one file; spans without valid ids, and late ones, are left out."""
    gatherer = Gatherer(num_traces)
    for batch in batches:
        yield from gatherer.add(batch)
        gatherer.invalid.clear()
    yield from gatherer.drain()
