"""Traces of files become one table of events, in bounded memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from otel_tracead.errors import InputError
from otel_tracead.traces.encoding import Encoder, Events, concatenate, select
from otel_tracead.traces.labels import LabelTemplate
from otel_tracead.traces.offline import Gatherer
from otel_tracead.traces.sequences import Order
from otel_tracead.traces.trace import Trace
from otel_tracead.wire.files import read_file
from otel_tracead.wire.otlp import Envelopes

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
        self._chunk: list[Trace] = []
        self._chunk_spans = 0
        self._kept_spans = 0
        self.traces = 0
        self.spans = 0

    def add(self, trace: Trace) -> None:
        self.traces += 1
        self.spans += len(trace.spans)
        if _hash(trace) < self._bound:
            self._chunk.append(trace)
            self._chunk_spans += len(trace.spans)
            if self._chunk_spans >= _CHUNK:
                self.flush()

    def flush(self) -> None:
        if not self._chunk:
            return
        hashes = np.array([_hash(trace) for trace in self._chunk], np.uint64)
        self._parts.append((hashes, self._encoder.encode(self._chunk)))
        self._kept_spans += self._chunk_spans
        self._chunk, self._chunk_spans = [], 0
        while self._kept_spans > self._most:
            self._bound //= 2
            self._parts = [
                (hashes[keep], select(part, keep))
                for hashes, part in self._parts
                for keep in [np.flatnonzero(hashes < self._bound)]
            ]
            self._kept_spans = sum(len(part) for _, part in self._parts)

    def events(self) -> Events:
        self.flush()
        return concatenate([part for _, part in self._parts])


def _hash(trace: Trace) -> int:
    return int.from_bytes(blake2b(trace.trace_id, digest_size=8).digest(), "big")


def read(
    paths: Sequence[Path],
    template: LabelTemplate,
    order: Order,
    *,
    max_spans: int,
    progress: Callable[[float], None] = lambda _share: None,
) -> Reading:
    """Read the traces of files, each for itself, and encode them.

    Args:
        paths: the files.
        template: how spans are named.
        order: how events are ordered.
        max_spans: beyond it a random part of the traces is kept, the same for the same traces.
        progress: told the share of the bytes that was read.

    Raises:
        InputError: a file cannot be read, or there is no trace in any.
    """
    sample = _Sample(Encoder(template, order), max_spans)
    envelopes = Envelopes()
    sizes = [path.stat().st_size for path in paths]
    for number, path in enumerate(paths):
        gatherer = Gatherer()
        for _, batch in read_file(path, envelopes):
            for trace in gatherer.add(batch):
                sample.add(trace)
            gatherer.invalid.clear()
        for trace in gatherer.drain():
            sample.add(trace)
        progress(sum(sizes[: number + 1]) / max(sum(sizes), 1))
    if not sample.traces:
        raise InputError(f"--input: no trace in {', '.join(str(path) for path in paths[:3])}")
    return Reading(sample.events(), sample.traces, sample.spans)
