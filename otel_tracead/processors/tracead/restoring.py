"""Has the spans that were stored and not handed on come back, before anything else comes."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

from otel_tracead.component import Settings
from otel_tracead.metrics import JOURNAL_SPANS
from otel_tracead.processors.tracead.journal import Journal
from otel_tracead.processors.tracead.judged import StoredRequest
from otel_tracead.processors.tracead.parcels import Parcel
from otel_tracead.wire.batch import SpanBatch

_TICK: Final = 0.2  # seconds


async def restore(
    journal: Journal,
    settings: Settings,
    send: Callable[[Parcel], None],
    add: Callable[[SpanBatch, StoredRequest], None],
    full: Callable[[], bool],
) -> None:
    """Read what is stored, wait while the next consumer is full, and say what came of it.

    Args:
        journal: open.
        settings: id, telemetry, logger.
        send: takes parcels that were judged before.
        add: takes spans as if they had just arrived, and settles the request.
        full: says whether nothing more is to be read now.
    """
    counts: Counter[str] = Counter()
    async for one in journal.restored():
        for parcel in one.again:
            send(parcel)
            counts["sent_again"] += parcel.spans
        counts["skipped"] += one.left
        counts["gathered"] += len(one.spans)
        if one.request is not None:
            add(one.spans, one.request)
        while full():  # noqa: ASYNC110 (the next consumer is full: it takes long)
            await asyncio.sleep(_TICK)
    for outcome, spans in counts.items():
        settings.telemetry.counter(JOURNAL_SPANS, settings.id, outcome).add(spans)
    if counts:
        settings.logger.info("spans come back from the storage", **counts)
