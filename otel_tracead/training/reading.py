"""Stored traces become one table of events, in bounded memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from otel_tracead.errors import InputError
from otel_tracead.traces.encoding import Encoder, Events, concatenate, select
from otel_tracead.traces.labels import LabelTemplate
from otel_tracead.traces.reading import Progress, Source, chunks, read_traces
from otel_tracead.traces.sequences import Order
from otel_tracead.traces.trace import Trace

_CHUNK = 20_000


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read.

    Attributes:
        events: of the traces that were kept.
        traces: how many traces there were.
        spans: how many spans they had.
    """

    events: Events
    traces: int
    spans: int


class _Sample:
    """Keeps traces whose hashed id is below a bound that is halved when there are too many: the same for any order."""

    def __init__(self, encoder: Encoder, max_spans: int) -> None:
        self._encoder = encoder
        self._most = max_spans
        self._bound = 1 << 64
        self._parts: list[tuple[np.ndarray[tuple[int], np.dtype[np.uint64]], Events]] = []
        self._kept_spans = 0
        self.traces = 0
        self.spans = 0

    def wants(self, trace: Trace) -> bool:
        """Count *trace*, and say whether it is among those to keep so far."""
        self.traces += 1
        self.spans += len(trace.spans)
        return _hash(trace) < self._bound

    def add(self, traces: Sequence[Trace]) -> None:
        hashes = np.array([_hash(trace) for trace in traces], np.uint64)
        self._parts.append((hashes, self._encoder.encode(traces)))
        self._kept_spans += sum(len(trace.spans) for trace in traces)
        while self._kept_spans > self._most:
            self._bound //= 2
            self._parts = [
                (hashes[keep], select(part, keep))
                for hashes, part in self._parts
                for keep in [np.flatnonzero(hashes < self._bound)]
            ]
            self._kept_spans = sum(len(part) for _, part in self._parts)

    def events(self) -> Events:
        return concatenate([part for _, part in self._parts])


def _hash(trace: Trace) -> int:
    return int.from_bytes(blake2b(trace.trace_id, digest_size=8).digest(), "big")


def read(
    sources: Sequence[Source],
    template: LabelTemplate,
    order: Order,
    *,
    max_spans: int,
    progress: Progress,
) -> Reading:
    """Read the traces of *sources*, each for itself, and encode them.

    Args:
        sources: files, or what else holds traces.
        template: how spans are named.
        order: how events are ordered.
        max_spans: beyond it a random part of the traces is kept, the same for the same traces.
        progress: told the share that was read.

    Raises:
        InputError: a source cannot be read, or there is no trace in any.
    """
    sample = _Sample(Encoder(template, order), max_spans)
    for chunk in chunks(filter(sample.wants, read_traces(sources, progress)), _CHUNK):
        sample.add(chunk)
    if not sample.traces:
        raise InputError(f"--input: no trace in {', '.join(map(str, sources[:3]))}")
    return Reading(sample.events(), sample.traces, sample.spans)
