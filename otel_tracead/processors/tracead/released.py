"""Traces that were released and wait to be judged, in batches that are no larger than they should be."""

import asyncio
from collections import deque
from collections.abc import Iterable

from otel_tracead.traces.trace import Trace


class ReleasedTraces:
    """A queue of traces.

    Args:
        spans: how many go together, unless one trace alone has more.
        size: how many bytes of them, likewise.
    """

    def __init__(self, spans: int, size: int) -> None:
        self._spans = spans
        self._bytes = size
        self._traces: deque[Trace] = deque()
        self._wake = asyncio.Event()

    def put(self, traces: Iterable[Trace]) -> None:
        """Queue traces."""
        self._traces.extend(traces)
        self._wake.set()

    async def next_batch(self) -> list[Trace]:
        """Wait for traces, and give those that go together."""
        while not self._traces:
            self._wake.clear()
            await self._wake.wait()
        traces: list[Trace] = []
        room, bytes_left = self._spans, self._bytes
        while self._traces:
            room -= len(self._traces[0].spans)
            bytes_left -= self._traces[0].size  # joins the spans: whoever judges them does not touch them again
            if traces and (room < 0 or bytes_left < 0):
                break
            traces.append(self._traces.popleft())
        return traces
