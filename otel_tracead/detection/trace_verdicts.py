"""One verdict a trace of what a detector found in it: all that every detector says alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.detection.verdicts import UNKNOWN_TRAFFIC, Level, SpanVerdict, TraceVerdict
from otel_tracead.traces.encoding import Events

Bools = npt.NDArray[np.bool_]

_HIGH: Final = 1.0
"""Decades above the threshold from which on a level is high (contract, section 3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a detector found in one trace of known traffic.

    Attributes:
        anomalous: whether any span is.
        score: the largest span score.
        spans: verdicts by span index.
        missing: labels that should have come and did not.
    """

    anomalous: bool
    score: float
    spans: Mapping[int, SpanVerdict] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def level(score: float, threshold: float) -> Level:
    """Give the level of a score that is not below *threshold*."""
    return Level.HIGH if score >= threshold + _HIGH else Level.LOW


def share_by_trace(events: Events, which: Bools) -> npt.NDArray[np.float64]:
    """Give the share of each trace's events that are among *which* `[m]`, `[traces]`."""
    counts = np.bincount(events.trace, weights=which, minlength=events.traces)
    return np.asarray(counts / np.maximum(np.diff(events.offsets), 1))


def verdicts(
    events: Events, *, unknown: Bools, unseen: Bools, threshold: float, find: Callable[[int], Finding]
) -> list[TraceVerdict]:
    """Give one verdict a trace.

    Args:
        events: of the traces.
        unknown: traces of traffic that the model was not trained on; they are unscored `[traces]`.
        unseen: events with a label that it never saw `[m]`.
        threshold: the score from which on a trace is anomalous.
        find: gives what was found in a trace that is not unknown.
    """
    complete = ((events.roots == 1) & (events.orphans == 0)).tolist()
    counts = np.bincount(events.trace, weights=unseen, minlength=events.traces).astype(int).tolist()
    out: list[TraceVerdict] = []
    for trace, verdict_span in enumerate(events.root.tolist()):
        if unknown[trace]:
            verdict = TraceVerdict(
                verdict_span=verdict_span,
                complete=complete[trace],
                unscored=UNKNOWN_TRAFFIC,
                unknown_labels=counts[trace],
            )
        else:
            found = find(trace)
            verdict = TraceVerdict(
                verdict_span=verdict_span,
                complete=complete[trace],
                anomalous=found.anomalous,
                score=found.score,
                level=level(found.score, threshold) if found.anomalous else None,
                missing=found.missing,
                spans=found.spans,
                unknown_labels=counts[trace],
            )
        out.append(verdict)
    return out
