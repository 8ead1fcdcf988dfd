"""What became of traces that were released: the memory that late spans are judged by."""

from collections import OrderedDict
from enum import StrEnum


class Decision(StrEnum):
    """What a released trace was found to be; the value of `tracead.late_verdict`."""

    NORMAL = "normal"
    ANOMALOUS = "anomalous"
    UNSCORED = "unscored"


class DecisionCache:
    """The decisions on the traces that were last decided or last asked for; bounded, the least recent one goes first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # Not a dict: its first key is behind all the deleted ones, and walking over them would make this quadratic.
        self._decisions: OrderedDict[bytes, Decision] = OrderedDict()

    def __len__(self) -> int:
        return len(self._decisions)

    def resize(self, limit: int) -> None:
        """Remember *limit* decisions from now on."""
        self._limit = limit
        while len(self._decisions) > limit:
            self._decisions.popitem(last=False)

    def get(self, trace_id: bytes) -> Decision | None:
        """Give the decision on *trace_id*, if it is still known."""
        found = self._decisions.get(trace_id)
        if found is not None:
            self._decisions.move_to_end(trace_id)
        return found

    def put(self, trace_id: bytes, decision: Decision) -> None:
        """Remember *decision*, and forget the least recent one where that is one too many."""
        self._decisions[trace_id] = decision
        self._decisions.move_to_end(trace_id)
        if len(self._decisions) > self._limit:
            self._decisions.popitem(last=False)
