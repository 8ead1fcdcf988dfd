"""Which faults hold at a place and a time."""

from collections.abc import Iterable
from typing import Final

from otel_tracead.generator.chance import Draws
from otel_tracead.generator.faults import Fault, Work, apply
from otel_tracead.generator.topology import Operation

_EDGE_KINDS: Final = frozenset({"slow_edge", "retry_storm"})


class Schedule:
    """The faults of a scenario, found by the place that they concern."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._at: dict[str, list[Fault]] = {}
        self._edges: dict[str, list[Fault]] = {}
        self._missing: list[Fault] = []
        for fault in faults:
            if fault.kind in _EDGE_KINDS:
                self._edges.setdefault(fault.service, []).append(fault)
            elif fault.kind == "missing_call":
                self._missing.append(fault)
            else:
                self._at.setdefault(fault.service, []).append(fault)

    def change(self, work: Work, now_s: float, draws: Draws) -> list[Fault]:
        """Apply what holds now to the work of one request; return the faults that really changed it."""
        operation = work.operation
        faults = [*self._at.get(operation.service.name, ()), *self._missing]
        return [
            fault
            for fault in faults
            if fault.holds(now_s)
            and (fault.kind == "missing_call" or fault.concerns(operation))
            and fault.caller in {"", operation.service.name}
            and draws.uniform() < fault.share
            and apply(fault, work, draws)
        ]

    def on_the_way(self, caller: str, operation: Operation, now_s: float, draws: Draws) -> list[Fault]:
        """Return the faults that hit a call between caller and callee now."""
        return [
            fault
            for fault in self._edges.get(operation.service.name, ())
            if fault.holds(now_s)
            and fault.caller in {"", caller}
            and fault.concerns(operation)
            and draws.uniform() < fault.share
        ]
