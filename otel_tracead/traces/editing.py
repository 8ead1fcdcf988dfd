"""Copies of one trace with events taken out, moved or made longer: what is done to `Events` to change what happened."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from otel_tracead.traces.encoding import Events

Ints = npt.NDArray[np.int64]


def take(trace: Events, rows: Ints, parent: Ints) -> Events:
    """Give a trace of chosen *rows* in a new order, with the *parent* rows of the new order."""
    return replace(
        trace,
        offsets=np.array([0, len(rows)]),
        span=np.arange(len(rows)),
        label=trace.label[rows],
        self_us=trace.self_us[rows],
        duration_us=trace.duration_us[rows],
        start=trace.start[rows],
        parent=parent,
        service=trace.service[rows],
        instance=trace.instance[rows],
        callee=trace.callee[rows],
        root=np.zeros(1, np.int64),
    )


def moved(parent: Ints, rows: Ints) -> Ints:
    """Give the parents of *rows*, where each row is known by its place among *rows*; -1 where the parent is not there."""
    place = np.full(len(parent) + 1, -1)
    place[rows] = np.arange(len(rows))
    return place[parent[rows]]


def below(trace: Events, row: int) -> npt.NDArray[np.bool_]:
    """Mark *row* and all events below it `[m]`; nothing is assumed of their order."""
    inside = np.zeros(len(trace) + 1, np.bool_)
    inside[row] = True
    count = 0
    while count != (count := int(inside.sum())):
        inside[:-1] |= inside[trace.parent]
    return inside[:-1]


def callers(parent: Ints, row: int) -> list[int]:
    """Give *row*, its caller, and so on up to the root."""
    rows = [row]
    while parent[rows[-1]] >= 0:
        rows.append(int(parent[rows[-1]]))
    return rows


def longer(trace: Events, row: int, more_us: float) -> Events:
    """Let the own work of *row* take longer: its callers wait for it, and what started after its end starts later."""
    own, duration, start = trace.self_us.copy(), trace.duration_us.copy(), trace.start.copy()
    own[row] += more_us
    end = int(start[row]) + max(round(1e3 * duration[row]), 1)  # not in floats: they hold nanoseconds of today to 256
    start[start >= end] += round(1e3 * more_us)
    for caller in callers(trace.parent, row):
        duration[caller] = max(duration[caller] + more_us, 0.0)
    return replace(trace, self_us=own, duration_us=duration, start=start)
