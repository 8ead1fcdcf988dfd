"""Batches measured and cut; pure."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Final

from otel_tracead.exporting.config import Sizer
from otel_tracead.wire.batch import Envelope, SpanBatch

SIZERS: Final[Mapping[Sizer, Callable[[SpanBatch], int]]] = {
    "requests": lambda _batch: 1,
    "items": len,
    "bytes": SpanBatch.size,
}


def halves(batch: SpanBatch) -> list[SpanBatch]:
    """Cut a batch of at least two spans into two, of as many spans each as can be."""
    spans = len(batch)
    return _cut(batch, [0, spans // 2, spans])


def parts(batch: SpanBatch, max_size: int, sizer: Sizer) -> list[SpanBatch]:
    """Cut *batch* into as few parts of at most *max_size* as keep the order; a span above it stands alone.

    Args:
        batch: what to cut.
        max_size: in spans or bytes; 0 for no limit.
        sizer: `items` or `bytes`.
    """
    if max_size == 0 or SIZERS[sizer](batch) <= max_size:
        return [batch]
    bounds, size = [0], 0
    for index, (_, span) in enumerate(batch):
        weight = len(span) if sizer == "bytes" else 1
        if size + weight > max_size and index > bounds[-1]:
            bounds.append(index)
            size = 0
        size += weight
    return _cut(batch, [*bounds, len(batch)])


def _cut(batch: SpanBatch, bounds: list[int]) -> list[SpanBatch]:
    """Cut *batch* at the span indices *bounds*, of which the first is 0 and the last its length."""
    cut: list[SpanBatch] = []
    groups = iter(batch.groups)
    envelope: Envelope | None = None
    spans: list[bytes] = []
    used = 0
    for start, end in pairwise(bounds):
        wanted = end - start
        part: list[tuple[Envelope, list[bytes]]] = []
        while wanted:
            if envelope is None or used == len(spans):
                envelope, spans = next(groups)
                used = 0
                continue
            taken = spans[used : used + wanted]
            part.append((envelope, taken))
            used += len(taken)
            wanted -= len(taken)
        cut.append(SpanBatch(part))
    return cut
