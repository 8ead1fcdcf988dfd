"""Streams of normal traces, with a small share of copies with an anomaly among them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.evaluation.injections import KINDS, Typical, typical
from otel_tracead.traces.editing import longer
from otel_tracead.traces.encoding import Events, concatenate, select

Ints = npt.NDArray[np.int64]

_TRIES: Final = 50
SHARE: Final = 0.02
"""Of the traces of a stream that are replaced by a copy with an anomaly."""
RESPONSE_TIME: Final = "response_time"
"""The paper's injection: a random event takes 2 to 5 times its response time longer."""


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
    row = int(random.integers(len(trace)))
    return longer(trace, row, trace.duration_us[row] * random.uniform(2, 5)), (row,)
