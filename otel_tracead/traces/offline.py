"""Traces from stored spans: a trace ends when many others have come since its newest span, or with its file."""

from collections.abc import Iterable, Iterator

from otel_tracead.traces.identity import parsed_trace_id
from otel_tracead.traces.trace import Release, Trace
from otel_tracead.wire.batch import Envelope, SpanBatch


class Gatherer:
    """Gathers the spans of one file into traces; memory is bounded by the number of traces that are open.

    Args:
        num_traces: a trace is given once as many others have come since its newest span.
    """

    def __init__(self, num_traces: int = 50_000) -> None:
        self._most = num_traces
        self._open: dict[bytes, Trace] = {}
        self.invalid: list[tuple[Envelope, bytes]] = []
        """Spans without valid ids since this list was last emptied: they belong to no trace."""

    def add(self, batch: SpanBatch) -> Iterator[Trace]:
        """Take the spans of *batch* and give the traces that have ended."""
        seen: set[bytes] = set()
        for envelope, span in batch:
            trace_id = parsed_trace_id(span)
            if not trace_id:
                self.invalid.append((envelope, span))
                continue
            trace = self._open.get(trace_id)
            if trace is None:
                trace = self._open[trace_id] = Trace(trace_id, [], [])
            elif trace_id not in seen:
                # The newest goes last, so that the first is the one that has been quiet for longest.
                self._open[trace_id] = self._open.pop(trace_id)
            seen.add(trace_id)
            trace.spans.append(span)
            trace.envelopes.append(envelope)
        while len(self._open) > self._most:
            yield self._open.pop(next(iter(self._open)))

    def drain(self) -> Iterator[Trace]:
        """End all traces: the file is over."""
        while self._open:
            trace = self._open.pop(next(iter(self._open)))
            trace.release = Release.SHUTDOWN
            yield trace


def gather(batches: Iterable[SpanBatch], num_traces: int = 50_000) -> Iterator[Trace]:
    """Give the traces of one file; spans without valid ids are left out."""
    gatherer = Gatherer(num_traces)
    for batch in batches:
        yield from gatherer.add(batch)
        gatherer.invalid.clear()
    yield from gatherer.drain()
