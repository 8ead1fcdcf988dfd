"""Traces judged as they would come: in the order of time, a few hundred at once, with injected copies among normal ones."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.targets.traffic import first_start
from otel_tracead.detection.detector import ModelDetector
from otel_tracead.evaluation.injections import KINDS, Typical, typical
from otel_tracead.traces.encoding import Events, concatenate, select

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_BATCH: Final = 256
_TRIES: Final = 50
SHARE: Final = 0.05
"""Of the traces of a stream that are replaced by a copy with an anomaly."""
RESPONSE_TIME: Final = "response_time"
"""The paper's injection: a random event takes 2 to 5 times its response time longer."""


@dataclass(slots=True)
class Seen:
    """What a detector said of a stream.

    Attributes:
        marked: which traces `[traces]`.
        score: how strong each trace speaks `[traces]`.
        slow: how strong each event's time speaks, comparable between labels `[m]`.
        blamed: rows, counted from the trace's first, that were marked; of the marked traces.
        cpu_s: what scoring took, without words.
    """

    marked: npt.NDArray[np.bool_]
    score: Floats
    slow: Floats
    blamed: dict[int, frozenset[int]]
    cpu_s: float = 0.0


def stream(detector: ModelDetector, events: Events) -> Seen:
    """Judge *events* in the order of time, with a *detector* that has seen nothing yet."""
    seen = Seen(np.zeros(events.traces, np.bool_), np.zeros(events.traces), np.zeros(len(events)), {})
    in_time = np.argsort(first_start(events), kind="stable")
    for begin in range(0, len(in_time), _BATCH):
        chosen = in_time[begin : begin + _BATCH]
        part = select(events, chosen)
        began = time.process_time()
        judged = detector.assess(part)
        seen.cpu_s += time.process_time() - began
        rows = np.concatenate([np.arange(events.offsets[one], events.offsets[one + 1]) for one in chosen])
        seen.slow[rows] = judged.surprise.time[np.arange(len(rows)) + part.trace]
        seen.score[chosen] = judged.score
        for place, verdict in enumerate(detector.verdicts(judged)):
            if verdict.anomalous:
                spans = part.span[part.offsets[place] : part.offsets[place + 1]]
                seen.marked[chosen[place]] = True
                seen.blamed[int(chosen[place])] = frozenset(
                    np.flatnonzero(np.isin(spans, list(verdict.spans))).tolist()
                )
    return seen


@dataclass(slots=True)
class Injected:
    """One stream of normal traces, some of which were replaced by copies with an anomaly.

    Attributes:
        events: the traces.
        kind: of the anomaly of each, empty for none `[traces]`.
        blame: the rows of a trace, counted from its first, any of which is rightly to blame, by trace.
    """

    events: Events
    kind: npt.NDArray[np.str_]
    blame: dict[int, tuple[int, ...]]


def streams(normal: Events, counts: Mapping[str, int], random: np.random.Generator) -> Iterator[Injected]:
    """Give streams of all of *normal* with `SHARE` of them replaced, until each kind came as often as *counts* says.

    A kind that the traffic has no place for comes less often, or not at all.
    """
    known = typical(normal)
    able = np.flatnonzero(normal.orphans == 0)
    wanted = [kind for kind, count in counts.items() for _ in range(count)]
    random.shuffle(wanted)
    tries = dict.fromkeys(counts, 0)
    while wanted and len(able):
        kinds = np.full(normal.traces, "", dtype="<U16")
        parts: list[Events] = []
        places: list[int] = []
        blame: dict[int, tuple[int, ...]] = {}
        for trace in random.choice(able, max(1, min(len(able), round(SHARE * normal.traces))), replace=False).tolist():
            if not wanted:
                break
            kind = wanted.pop()
            found = _inject(select(normal, np.array([trace])), kind, known, random)
            if found is None:
                tries[kind] += 1
                if tries[kind] <= _TRIES * counts[kind]:
                    wanted.insert(int(random.integers(len(wanted) + 1)), kind)
                continue
            parts.append(found[0])
            places.append(trace)
            kinds[trace], blame[trace] = kind, found[1]
        source = np.arange(normal.traces)
        source[places] = normal.traces + np.arange(len(places))
        yield Injected(select(concatenate([normal, *parts]), source), kinds, blame)


def _inject(
    trace: Events, kind: str, known: Typical, random: np.random.Generator
) -> tuple[Events, tuple[int, ...]] | None:
    # Verdicts name spans by their place in the trace; here that is their row.
    trace = replace(trace, span=np.arange(len(trace)), root=np.zeros(1, np.int64))
    if kind != RESPONSE_TIME:
        return KINDS[kind](trace, known, random)
    row = cursor = int(random.integers(len(trace)))
    own, duration = trace.self_us.copy(), trace.duration_us.copy()
    more_us = trace.duration_us[row] * random.uniform(2, 5)
    own[row] += more_us
    while cursor >= 0:
        duration[cursor] += more_us
        cursor = int(trace.parent[cursor])
    return replace(trace, self_us=own, duration_us=duration), (row,)
