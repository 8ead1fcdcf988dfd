"""Released traces become parcels and numbers: judge, annotate, sample, pack. Pure; runs in the scoring thread."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from otel_tracead import metrics
from otel_tracead.detection.annotate import Mode, annotate_late, annotate_unscored
from otel_tracead.detection.marking import ERROR, INVALID_ID, TIMEOUT, Marked, mark, mark_unscored
from otel_tracead.detection.verdicts import UNKNOWN_TRAFFIC, AnomalyType, Detector, Level, TraceVerdict
from otel_tracead.metrics import Metric
from otel_tracead.processors.tracead.config import TraceadConfig
from otel_tracead.processors.tracead.parcels import Parcel, left_out, pack, pack_loose
from otel_tracead.traces.assembler import Invalid, Late
from otel_tracead.traces.late import Decision
from otel_tracead.traces.trace import Trace

Tally = Counter[tuple[Metric, tuple[str, ...]]]
"""How much to add to which metric, by its labels after the first (the processor's id)."""

SHOWN_AT_ONCE: Final[tuple[tuple[Metric, tuple[str, ...]], ...]] = (
    (metrics.TRACES_SCORED, ()),
    *((metrics.TRACES_ANOMALOUS, (level.value,)) for level in Level),
    *((metrics.SPANS_ANOMALOUS, (type_.value,)) for type_ in AnomalyType),
    *((metrics.TRACES_UNSCORED, (reason,)) for reason in (UNKNOWN_TRAFFIC, ERROR, TIMEOUT)),
    (metrics.TRACES_INCOMPLETE, ()),
    (metrics.SPANS_LATE, ()),
    (metrics.SPANS_INVALID_ID, ()),
    (metrics.SPANS_SPOOFED, ()),
    (metrics.SPANS_UNKNOWN_LABEL, ()),
)
"""What a stage shows as 0 from its start: who watches a series for growth does not see how it began."""


@dataclass(slots=True)
class Scored:
    """What came of a batch.

    Attributes:
        parcels: what goes on, in order.
        tally: what to count.
        error: why scoring failed, if it did for any trace.
    """

    parcels: list[Parcel]
    tally: Tally
    error: Exception | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What of the configuration matters here.

    Attributes:
        mode: which spans are annotated.
        normal_percentage: share of normal traces that go on.
        stored: whether there is a journal that is to have the verdicts.
    """

    mode: Mode = Mode.ANOMALOUS
    normal_percentage: float = 100
    stored: bool = False

    def keep(self, trace_id: bytes, decision: Decision) -> bool:
        """Say whether sampling lets the spans of a trace go on: of normal ones the share, of others all."""
        share = self.normal_percentage
        return decision is not Decision.NORMAL or share >= 100 or is_kept(trace_id, share)

    @classmethod
    def of(cls, config: TraceadConfig) -> "Rules":
        """Take them out of *config*."""
        return cls(
            mode=config.annotate,
            normal_percentage=config.sampling.normal_percentage,
            stored=config.storage is not None,
        )


def score(detector: Detector, traces: Sequence[Trace], rules: Rules) -> Scored:
    """Judge, annotate and pack *traces*; fails open, never raises for what a detector does."""
    marked, failures = mark(detector, traces, rules.mode)
    scored = _scored(marked, rules)
    scored.error = failures.error
    return scored


def pass_unscored(traces: Sequence[Trace], reason: str, rules: Rules) -> Scored:
    """Annotate and pack *traces* without asking a detector."""
    return _scored(mark_unscored(traces, reason), rules)


def pass_late(late: Late, rules: Rules) -> Scored:
    """Annotate and pack spans that came after their trace's verdict; those of traces left out are left out too."""
    tally: Tally = Counter()
    tally[metrics.SPANS_LATE, ()] = len(late.spans)
    annotated = annotate_late(late.spans, late.decisions)
    tally[metrics.SPANS_SPOOFED, ()] = annotated.spoofed
    spans, envelopes = annotated.spans, late.envelopes
    if rules.normal_percentage < 100:
        kept = [rules.keep(*of_span) for of_span in zip(late.trace_ids, late.decisions, strict=True)]
        spans = [span for span, keep in zip(spans, kept, strict=True) if keep]
        envelopes = [envelope for envelope, keep in zip(envelopes, kept, strict=True) if keep]
        tally[metrics.SPANS_SAMPLED_OUT, ()] = kept.count(False)
    return Scored([pack_loose(spans, envelopes, late.holds)], tally)


def pass_invalid(invalid: Invalid) -> Scored:
    """Annotate and pack spans that belong to no trace."""
    annotated = annotate_unscored(invalid.spans, INVALID_ID)
    tally: Tally = Counter()
    tally[metrics.SPANS_INVALID_ID, ()] = len(invalid.spans)
    tally[metrics.SPANS_SPOOFED, ()] = annotated.spoofed
    return Scored([pack_loose(annotated.spans, invalid.envelopes, invalid.holds)], tally)


def is_kept(trace_id: bytes, percentage: float) -> bool:
    """Say whether sampling keeps a trace: the same answer everywhere, and what a smaller share keeps a larger one keeps.

    Hashed, so that it does not depend on what a sampler before us did with the same id.
    """
    digest = blake2b(trace_id, digest_size=8, person=b"tracead").digest()
    return int.from_bytes(digest, "big") < percentage / 100 * 2**64


def _scored(marked: list[Marked], rules: Rules) -> Scored:
    tally = counted(marked)
    if rules.normal_percentage >= 100:
        return Scored(pack(marked, stored=rules.stored), tally)
    going: list[Marked] = []
    staying: list[Marked] = []
    for trace in marked:
        (going if rules.keep(trace.trace.trace_id, trace.decision) else staying).append(trace)
    parcels = pack(going, stored=rules.stored)
    if staying:
        parcels.append(left_out(staying, stored=rules.stored))
        tally[metrics.TRACES_SAMPLED_OUT, ()] = len(staying)
        tally[metrics.SPANS_SAMPLED_OUT, ()] = sum(len(trace.spans) for trace in staying)
    return Scored(parcels, tally)


def counted(marked: Sequence[Marked]) -> Tally:
    """Say what of *marked* traces goes into which metric."""
    tally: Tally = Counter()
    scored = spoofed = 0
    for one in marked:
        verdict = one.verdict
        spoofed += one.spoofed
        if verdict.unscored is None:
            scored += 1
        if verdict.unscored is not None or verdict.anomalous or verdict.unknown_labels or not verdict.complete:
            _count_unusual(verdict, tally)
    tally[metrics.TRACES_SCORED, ()] = scored
    tally[metrics.SPANS_SPOOFED, ()] = spoofed
    return tally


def _count_unusual(verdict: TraceVerdict, tally: Tally) -> None:
    tally[metrics.SPANS_UNKNOWN_LABEL, ()] += verdict.unknown_labels
    if not verdict.complete and verdict.unscored not in (ERROR, TIMEOUT):  # there nobody looked
        tally[metrics.TRACES_INCOMPLETE, ()] += 1
    if verdict.unscored is not None:
        tally[metrics.TRACES_UNSCORED, (verdict.unscored,)] += 1
    elif verdict.anomalous:
        tally[metrics.TRACES_ANOMALOUS, (verdict.level or "",)] += 1
        for span in verdict.spans.values():
            if span.anomalous:
                tally[metrics.SPANS_ANOMALOUS, (span.type or "",)] += 1
