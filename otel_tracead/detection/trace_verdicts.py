"""One verdict a trace of what a detector found in it: all that every detector says alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.detection.verdicts import NO_SPANS, UNKNOWN_TRAFFIC, Level, SpanVerdict, TraceVerdict
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
    if not which.any():
        return np.zeros(events.traces)
    counts = np.bincount(events.trace, weights=which, minlength=events.traces)
    return np.asarray(counts / np.maximum(np.diff(events.offsets), 1))


def verdicts(
    events: Events,
    *,
    unknown: Bools,
    unseen: Bools,
    threshold: float,
    scores: Sequence[float],
    found: Mapping[int, Finding],
) -> list[TraceVerdict]:
    """Give one verdict a trace.

    Args:
        events: of the traces.
        unknown: traces of traffic that the model was not trained on; they are unscored `[traces]`.
        unseen: events with a label that it never saw `[m]`.
        threshold: the score from which on a trace is anomalous.
        scores: of the traces, for those that nothing more is to be said of `[traces]`.
        found: what there is to say of the others.
    """
    complete = ((events.roots == 1) & (events.orphans == 0)).tolist()
    counts = [0] * events.traces
    if unseen.any():
        counts = np.bincount(events.trace, weights=unseen, minlength=events.traces).astype(int).tolist()
    # Most traces are normal, and made in one go.
    out = [
        TraceVerdict(verdict_span, whole, None, False, score, None, (), NO_SPANS, count)
        for verdict_span, whole, score, count in zip(events.root.tolist(), complete, scores, counts, strict=True)
    ]
    for trace, finding in found.items():
        out[trace] = out[trace]._replace(
            anomalous=finding.anomalous,
            score=finding.score,
            level=level(finding.score, threshold) if finding.anomalous else None,
            missing=finding.missing,
            spans=finding.spans,
        )
    for trace in np.flatnonzero(unknown).tolist():
        out[trace] = TraceVerdict(
            verdict_span=out[trace].verdict_span,
            complete=complete[trace],
            unscored=UNKNOWN_TRAFFIC,
            unknown_labels=counts[trace],
        )
    return out
