"""Counts what the processor does, under the names of the catalogue."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

from otel_tracead import metrics
from otel_tracead.component import Settings
from otel_tracead.processors.tracead.parcels import Parcel
from otel_tracead.processors.tracead.scoring import SHOWN_AT_ONCE, Tally
from otel_tracead.traces.assembler import Assembler
from otel_tracead.traces.trace import Release, Trace


class Counts:
    """The metrics of one processor, but for those of its parts.

    Args:
        settings: id, telemetry.
        assembler: is looked at.
        pending: gives the spans that were released and are not handed on.

    Attributes:
        incoming: spans that were taken.
    """

    def __init__(self, settings: Settings, assembler: Assembler, pending: Callable[[], int]) -> None:
        numbers, name = settings.telemetry, settings.id
        numbers.observe(metrics.TRACES_OPEN, lambda: assembler.open_traces, name)
        numbers.observe(metrics.SPANS_OPEN, lambda: assembler.open_spans, name)
        numbers.observe(metrics.SPANS_PENDING, pending, name)
        numbers.observe(metrics.SPANS_WITHDRAWN, lambda: assembler.withdrawn_spans, name)
        numbers.observe(metrics.SPANS_REPLAYED, lambda: assembler.replayed_spans, name)
        self.incoming = numbers.counter(metrics.PROCESSOR_INCOMING, name)
        self._settings = settings
        self._by_release = {one: numbers.counter(metrics.TRACES_RELEASED, name, one.value) for one in Release}
        self._trace_spans = numbers.histogram(metrics.TRACE_SPANS, name)
        self._latency = numbers.histogram(metrics.RELEASE_LATENCY, name)
        self._counters = {(metric, rest): numbers.counter(metric, name, *rest) for metric, rest in SHOWN_AT_ONCE}

    def released(self, traces: Sequence[Trace]) -> int:
        """Count released traces, and give how many spans they have."""
        whole = 0
        for reason, number in Counter(trace.release for trace in traces).items():
            self._by_release[reason].add(number)
        for spans, number in Counter(len(trace.spans) for trace in traces).items():
            whole += spans * number
            self._trace_spans.observe(spans, number)
        return whole

    def handed_on(self, parcel: Parcel) -> None:
        """Count how long the traces of a parcel have taken since their release."""
        now = time.monotonic()
        for released_at, traces in parcel.released_at.items():
            self._latency.observe(now - released_at, traces)

    def add_up(self, tally: Tally) -> None:
        """Count what became of spans."""
        for row, amount in tally.items():
            if amount:
                counter = self._counters.get(row)
                if counter is None:
                    metric, labels = row
                    counter = self._settings.telemetry.counter(metric, self._settings.id, *labels)
                    self._counters[row] = counter
                counter.add(amount)
