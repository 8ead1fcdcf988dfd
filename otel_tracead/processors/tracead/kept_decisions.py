"""Of parcels whose requests are all gone only their decisions are kept, and of these the newest."""

from collections import deque
from typing import Final

from otel_tracead.processors.tracead.journaled import Journaled, Logs
from otel_tracead.storage import StorageUnavailable

_TOGETHER: Final = 4096  # traces


class KeptDecisions:
    """Decisions on disk.

    Args:
        logs: the journal's.
        enough: how many to keep, at least.

    Attributes:
        enough: as given; may be changed.
    """

    def __init__(self, logs: Logs, enough: int) -> None:
        self.enough = enough
        self._logs = logs
        self._records: deque[tuple[int, int]] = deque()  # number, traces
        self._closed: list[Journaled] = []
        self._traces = 0

    @property
    def due(self) -> bool:
        """Whether it is time to `write`."""
        return self._traces >= min(_TOGETHER, self.enough)

    def found(self, number: int, traces: int) -> None:
        """Hear of a record that is there from the start."""
        self._records.append((number, traces))

    def add(self, judged: Journaled) -> None:
        """Take a parcel whose requests are gone."""
        self._closed.append(judged)
        self._traces += judged.traces

    async def write(self) -> None:
        """Put the decisions in the place of all else that is stored of the parcels.

        Raises:
            StorageUnavailable: the disk does not take them; they are written another time.
        """
        closed, self._closed = self._closed, []
        traces, self._traces = self._traces, 0
        if not closed:
            return
        try:
            number = await self._logs.decisions.append(b"".join(judged.decisions for judged in closed), traces)
        except StorageUnavailable:
            self._closed = closed + self._closed
            self._traces += traces
            raise
        self._logs.judged.remove([judged.number for judged in closed if judged.number is not None])
        self._logs.done.remove([judged.done for judged in closed if judged.done is not None])
        self._records.append((number, traces))
        self._forget_old()

    def _forget_old(self) -> None:
        kept = sum(traces for _, traces in self._records)
        while self._records and kept - self._records[0][1] >= self.enough:
            number, traces = self._records.popleft()
            kept -= traces
            self._logs.decisions.remove([number])
