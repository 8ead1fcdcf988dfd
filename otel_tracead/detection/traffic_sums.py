"""What traffic does, summed up: times of labels, which call followed which, and which calls failed.

The sums grow with the names in the traffic, not with the traces, and have a bound. Traffic that tells what is normal is
split by time, so that it can be said how much one minute differs from another; a window that is to be explained is
split by instance.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from otel_tracead.detection import grammar
from otel_tracead.detection.path_learning import call_name
from otel_tracead.traces.encoding import Events
from otel_tracead.traces.labels import is_failure, stem

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_Name = TypeVar("_Name", bound=Hashable)

NOTHING: Final = -1
"""In a key: no call before, no call that came, nobody that was called."""
_LEFT_OUT: Final = -2
_MINUTE_NS: Final = 60_000_000_000
_MOST_SUMS: Final = 300_000
_MOST_NAMES: Final = 100_000
_MOST_BLOCKS: Final = 240

Key = tuple[int, int, int, int, int]
"""Three numbers that say what was counted, and two that say where."""


class Split(StrEnum):
    """What sums are kept apart by."""

    TIME = "time"
    INSTANCE = "instance"


@dataclass(slots=True)
class Sum:
    """Of one thing at one place.

    Attributes:
        count: spans.
        total: of log10(1 + own work in µs); of failures, how many.
        squares: of the squares of the same.
    """

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, count: int, total: float, squares: float) -> None:
        """Add to all three."""
        self.count += count
        self.total += total
        self.squares += squares


@dataclass(slots=True)
class TrafficSums:
    """Sums of the traffic that was added; the order in which traces come does not matter.

    The last two numbers of a key are the block of time and `NOTHING`, or the process that did it and the one that it
    called (the numbers of `processes`, or `NOTHING`).

    Attributes:
        split: what the sums are kept apart by.
        traces: how many were added, and
        spans: of them.
        first: start of the earliest span in ns, and
        last: of the latest one; None before there is any.
        left_out: spans that were not summed up, because there were too many names.
        names: labels, calls and stems, by number.
        processes: (service, instance), by number.
        times: key (label, -, -) -> own work.
        steps: key (caller's call, the call before, the call that came) -> how often.
        failures: key (stem, -, -) -> how many calls, and how many failed without a failing call below them.
    """

    split: Split
    traces: int = 0
    spans: int = 0
    first: int | None = None
    last: int | None = None
    left_out: int = 0
    names: dict[str, int] = field(default_factory=dict)
    processes: dict[tuple[str, str], int] = field(default_factory=dict)
    times: dict[Key, Sum] = field(default_factory=dict)
    steps: dict[Key, Sum] = field(default_factory=dict)
    failures: dict[Key, Sum] = field(default_factory=dict)
    _width_ns: int = _MINUTE_NS
    _blocks: set[int] = field(default_factory=set)

    def add(self, events: Events) -> None:
        """Add the traces of *events*; a trace with orphans tells nothing of which calls were made."""
        if not len(events):
            return
        self.traces += events.traces
        self.spans += len(events)
        first, last = int(events.start.min()), int(events.start.max())
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)
        own, called = self._blocks_of_time(events) if self.split is Split.TIME else self._processes(events)
        nothing = np.full(len(events), NOTHING)

        label = _numbers(self.names, events.labels)[events.label]
        log_us = np.log10(1.0 + events.self_us)
        self.left_out += int((label == _LEFT_OUT).sum())
        self._sum_up(self.times, (label, nothing, nothing, own, called), log_us)

        call = _numbers(self.names, [stem(one) for one in events.labels])[events.label]
        failing = np.array([is_failure(one) for one in events.labels], np.bool_)[events.label]
        explained = np.zeros(len(events), np.bool_)
        explained[events.parent[np.flatnonzero(failing & (events.parent >= 0))]] = True
        self._sum_up(self.failures, (call, nothing, nothing, own, called), (failing & ~explained).astype(np.float64))

        self._add_steps(events, own, called)
        while len(self._blocks) > _MOST_BLOCKS:
            self._widen()

    def _add_steps(self, events: Events, own: Ints, called: Ints) -> None:
        found = grammar.steps(events.parent, events.offsets)
        real = np.flatnonzero((found.caller >= 0) & (events.orphans[found.trace] == 0))
        caller, before, came = found.caller[real], found.before[real], found.event[real]
        call = _numbers(self.names, [call_name(one) for one in events.labels])[events.label]
        call, called = np.append(call, NOTHING), np.append(called, NOTHING)  # -1 indexes what is appended
        key = (call[caller], call[before], call[came], own[caller], called[before])
        self._sum_up(self.steps, key, np.zeros(len(real)))

    def _blocks_of_time(self, events: Events) -> tuple[Ints, Ints]:
        begin = events.began // self._width_ns
        self._blocks.update(np.unique(begin).tolist())
        return begin[events.trace], np.full(len(events), NOTHING)

    def _processes(self, events: Events) -> tuple[Ints, Ints]:
        """Give the process of each event, and the one that it called `[m]` each."""
        used, first, place = np.unique(events.instance, return_index=True, return_inverse=True)
        names = [
            (events.services[service], events.instances[instance])
            for service, instance in zip(events.service[first].tolist(), used.tolist(), strict=True)
        ]
        process = _numbers(self.processes, names)[place]
        called = np.full(len(events), NOTHING)
        child = np.flatnonzero(events.parent >= 0)
        owner = events.parent[child]
        taken = (events.instance[child] != events.instance[owner]) & (events.service[child] == events.callee[owner])
        # Of several the first, which is written last.
        called[owner[taken][::-1]] = process[child[taken]][::-1]
        return process, called

    def _sum_up(self, sums: dict[Key, Sum], key: tuple[Ints, Ints, Ints, Ints, Ints], values: Floats) -> None:
        """Add each row's value to the sum of its key; *values* `[n]`."""
        rows, group = _grouped(key)
        counts = np.bincount(group, minlength=len(rows)).tolist()
        totals = np.bincount(group, weights=values, minlength=len(rows)).tolist()
        squares = np.bincount(group, weights=values * values, minlength=len(rows)).tolist()
        keys = zip(*(column[rows].tolist() for column in key), strict=True)
        for one, count, total, square in zip(keys, counts, totals, squares, strict=True):
            found = sums.get(one)
            if found is None:
                if _LEFT_OUT in one or len(sums) >= _MOST_SUMS:
                    self.left_out += count if sums is self.times and _LEFT_OUT not in one else 0
                    continue
                found = sums[one] = Sum()
            found.add(count, total, square)

    def _widen(self) -> None:
        """Double the blocks of time: two of them become one."""
        self._width_ns *= 2
        self._blocks = {block // 2 for block in self._blocks}
        self.times, self.steps, self.failures = map(_halved, (self.times, self.steps, self.failures))


def _numbers(known: dict[_Name, int], names: Sequence[_Name]) -> Ints:
    """Give the number of each name, a new one where it is new and there is room."""
    return np.array(
        [
            known.setdefault(name, len(known)) if len(known) < _MOST_NAMES else known.get(name, _LEFT_OUT)
            for name in names
        ],
        np.int64,
    )


def _grouped(columns: tuple[Ints, ...]) -> tuple[Ints, Ints]:
    """Group rows that are equal in all columns: the first row of each group, and the group of each row `[n]`."""
    group = np.zeros(len(columns[0]), np.int64)
    rows = group[:0]
    for column in columns:
        _, dense = np.unique(column, return_inverse=True)
        # Both are below the number of rows, so the product fits.
        _, rows, group = np.unique(
            group * (int(dense.max(initial=0)) + 1) + dense, return_index=True, return_inverse=True
        )
    return rows, group


def _halved(sums: dict[Key, Sum]) -> dict[Key, Sum]:
    out: dict[Key, Sum] = {}
    for (a, b, c, block, other), one in sums.items():
        out.setdefault((a, b, c, block // 2, other), Sum()).add(one.count, one.total, one.squares)
    return out
