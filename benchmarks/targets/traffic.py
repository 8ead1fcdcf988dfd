"""Real traces, cut by trace and by the time of an injection, and minutes by blocks of time."""

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from otel_tracead.traces.encoding import Encoder, Events, concatenate
from otel_tracead.traces.labels import LabelTemplate
from otel_tracead.traces.offline import gather
from otel_tracead.traces.reading import TraceFile, read_batches
from otel_tracead.traces.trace import Trace

Ints = npt.NDArray[np.int64]

NORMAL, FAULT, NEITHER = range(3)
SYSTEMS: Final = ("online_boutique", "train_ticket")
VISIBLE: Final = ("cpu_contention", "cpu_consumed", "network_delay")
"""The types of fault that leave a trace in the spans of both systems."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """The traces of one system.

    Attributes:
        system: its name.
        events: all traces.
        minute: of each trace, an index into `minutes` `[traces]`.
        state: of each trace: NORMAL, FAULT (began after the injection) or NEITHER `[traces]`.
        minutes: names of the minutes' files, in the order of time.
        fault: the type of the fault of each minute that has one.
    """

    system: str
    events: Events
    minute: Ints
    state: Ints
    minutes: Sequence[str]
    fault: dict[str, str]


@dataclass(frozen=True, slots=True)
class Block:
    """What one model learns from and is tried on, as indices of traces in the order of time.

    Attributes:
        number: which of the blocks is held out.
        training: normal traces of all other blocks.
        normal: normal traces of this one.
        faulty: all traces of the day that a fault was active in; no model learns from them.
    """

    number: int
    training: Ints
    normal: Ints
    faulty: Ints


def folder() -> Path:
    """Give the folder of the real traces: `$TRACEAD_DATA`, else `../shared/data` beside the checkout."""
    return Path(os.environ.get("TRACEAD_DATA") or Path(__file__).parents[3] / "shared" / "data")


@dataclass(frozen=True, slots=True)
class Minute:
    """The traces of one file.

    Attributes:
        name: of the file.
        traces: in any order.
        events: of the traces.
        state: of each trace: NORMAL, FAULT or NEITHER `[traces]`.
    """

    name: str
    traces: Sequence[Trace]
    events: Events
    state: Ints


def minutes(system: str) -> Iterator[Minute]:
    """Read the minutes of *system*, one after the other.

    Raises:
        FileNotFoundError: there are no real traces where `folder` says.
    """
    place = folder() / system
    by_file = defaultdict(list)
    for fault in _faults(system):
        for name in fault["files"]:
            by_file[name].append(fault)
    encoder = Encoder(LabelTemplate())
    files = [TraceFile(path) for path in sorted(place.glob("*.jsonl.gz"))]
    for file, batches in zip(files, (batches for _, batches in read_batches(files)), strict=True):
        name, traces = file.path.name, list(gather(batches))
        events = encoder.encode(traces)
        yield Minute(name, traces, events, _states(events, name, by_file[name]))


def read(system: str) -> Traffic:
    """Read all of *system*; see `minutes`."""
    parts, names, states = [], [], []
    for minute in minutes(system):
        parts.append(minute.events)
        names += [minute.name] * minute.events.traces
        states.append(minute.state)
    kinds = {name: fault["type"] for fault in _faults(system) for name in fault["files"]}
    return arrange(system, concatenate(parts), np.array(names), np.concatenate(states), kinds)


def _faults(system: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder() / system / "faults.json").read_text())["faults"]
    return found


def _states(events: Events, name: str, faults: Sequence[dict[str, Any]]) -> Ints:
    """Cut by trace, not by file: one that ended before the injection is normal, one that began after it is faulty."""
    first = events.began
    last = np.maximum.reduceat(events.start + (events.duration_us * 1e3).astype(np.int64), events.offsets[:-1])
    state = np.full(events.traces, NORMAL)
    if name.startswith("fault_free"):
        return state
    for fault in faults:
        at = fault["injected_at_unix_nano"]
        before = NEITHER if fault["active_before_injection"] else NORMAL
        own = np.where(first >= at, FAULT, np.where(last < at, before, NEITHER))
        state = np.where(state == NORMAL, own, state)
    return state


def arrange(system: str, events: Events, names: npt.NDArray[np.str_], state: Ints, fault: dict[str, str]) -> Traffic:
    """Number the minutes in the order of time."""
    first = events.began
    distinct, place = np.unique(names, return_inverse=True)
    began = np.array([np.median(first[place == index]) for index in range(len(distinct))])
    order = np.argsort(began, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return Traffic(system, events, rank[place], state, distinct[order].tolist(), fault)


def blocks(traffic: Traffic, folds: int) -> Iterator[Block]:
    """Cut the minutes with normal traces into *folds* blocks of time."""
    minutes = np.unique(traffic.minute[traffic.state == NORMAL])
    for number, part in enumerate(np.array_split(minutes, folds)):
        yield block(traffic, number, np.isin(traffic.minute, part))


def block(traffic: Traffic, number: int, held: npt.NDArray[np.bool_]) -> Block:
    """Hold the traces *held* `[traces]` out."""
    in_time = np.argsort(traffic.events.began, kind="stable")
    held, state = held[in_time], traffic.state[in_time]
    return Block(
        number,
        np.sort(in_time[(state == NORMAL) & ~held]),
        in_time[(state == NORMAL) & held],
        in_time[state == FAULT],
    )
