"""What trying a detector came to, in numbers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.detection import statistics
from otel_tracead.detection.statistics import Estimate
from otel_tracead.detection.trial import Alarms, Anomalies, Outcome, Tried

Floats = npt.NDArray[np.float64]

PREVALENCES: Final = (0.01, 0.001)
"""Shares of traces that are anomalous where things are as they should be."""
_EASY: Final = ("replaced", "missing", "extra", "aborted", "swapped", "stall")
"""The kinds that count for the verdict; a slowdown within what is usual of a label cannot be found one by one."""
_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Kind:
    """How well anomalies of one kind are found.

    Attributes:
        name: of the kind.
        tried: how many there were.
        found: share that was marked.
        located: of those, the share with a mark on an event that is rightly to blame; None if none was found.
        rule: share that the plain rule finds while it marks as many normal traces.
        ordinary: share whose structure is that of some normal trace, which nobody can find by it; None for kinds that
            leave the structure as it is.
        counts: whether the verdict counts it.
    """

    name: str
    tried: int
    found: Estimate
    located: float | None
    rule: float
    ordinary: float | None
    counts: bool


@dataclass(frozen=True, slots=True)
class Alarm:
    """Where normal traces are marked, and for what.

    Attributes:
        label: of the marked spans.
        type: `structural`, `response_time` or `both`.
        traces: how many normal traces have such a mark.
        expected_ms: what was expected, in the median; None of structural marks.
        observed_ms: how long the spans took instead, in the median.
    """

    label: str
    type: str
    traces: int
    expected_ms: float | None
    observed_ms: float | None


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found on all parts of the traffic together.

    Attributes:
        budget: the share of normal traces that may be marked.
        traces: normal traces.
        normal: of them, those that got a verdict.
        marked: of them, those that were marked.
        spans: of all normal traces.
        unknown: the most frequent labels that the model never saw, and their spans.
        unknown_spans: spans with such labels.
        kinds: what was injected; empty where the traffic had no place for anything.
        alarms: the most frequent marks on normal traces.
        auc: how well the scores tell anomalous traces, of the kinds that count, from normal ones.
        recall: share of them that was marked.
        rule: share of them that the plain rule finds while it marks as many normal traces.
        rule_by_chance: how probable it is that the rule finds so many more, if it is as good as the detector.
        constant: whether all scores are the same.
        strict: share of all traces tried that a tenth of the budget marks.
        loose: share that ten budgets mark (the square root of one, where ten would be all traces).
    """

    budget: float
    traces: int
    normal: int
    marked: int
    spans: int
    unknown: tuple[tuple[str, int], ...]
    unknown_spans: int
    kinds: tuple[Kind, ...]
    alarms: tuple[Alarm, ...]
    auc: Estimate
    recall: Estimate
    rule: float
    rule_by_chance: float
    constant: bool
    strict: float
    loose: float

    @property
    def share(self) -> Estimate:
        """The share of normal traces that was marked."""
        return statistics.share(self.marked, self.normal)

    @property
    def lower(self) -> float:
        """The one-sided lower 95 % bound of that share."""
        return statistics.at_least(self.marked, self.normal)

    @property
    def blind(self) -> float:
        """The share of normal traces that got no verdict."""
        return 1.0 - self.normal / self.traces if self.traces else 0.0

    @property
    def unknown_share(self) -> float:
        """The share of spans with a label that the model never saw."""
        return self.unknown_spans / self.spans if self.spans else 0.0

    def precision(self, prevalence: float) -> float:
        """Give the share of marked traces that are anomalous where a share of *prevalence* of all is."""
        return statistics.precision(self.recall.value, self.share.value, prevalence)

    def f1(self, prevalence: float) -> float:
        """Give the F1 where a share of *prevalence* of all traces is anomalous."""
        return statistics.f1(self.recall.value, self.share.value, prevalence)

    def figures(self) -> dict[str, float]:
        """Give the numbers by name."""
        figures = {
            "clean_traces": float(self.normal),
            "clean_marked": self.share.value,
            "clean_marked_lower_95": self.lower,
            "clean_marked_upper_95": self.share.high,
            "budget": self.budget,
            "unscored_traces": self.blind,
            "unknown_labels": self.unknown_share,
            "auc": self.auc.value,
            "auc_lower_95": self.auc.low,
            "auc_upper_95": self.auc.high,
            "recall": self.recall.value,
            "plain_rule_recall": self.rule,
            "marked_at_tenth_of_budget": self.strict,
            "marked_at_ten_budgets": self.loose,
        }
        for prevalence in PREVALENCES:
            figures[f"precision_at_{prevalence:g}"] = self.precision(prevalence)
            figures[f"f1_at_{prevalence:g}"] = self.f1(prevalence)
            figures[f"f1_always_alarm_at_{prevalence:g}"] = statistics.f1_always(prevalence)
        for kind in self.kinds:
            figures[f"injected_{kind.name}"] = float(kind.tried)
            figures[f"recall_{kind.name}"] = kind.found.value
            figures[f"rule_{kind.name}"] = kind.rule
            if kind.located is not None:
                figures[f"located_{kind.name}"] = kind.located
            if kind.ordinary is not None:
                figures[f"ordinary_{kind.name}"] = kind.ordinary
        return figures


def find(tried: Sequence[Tried], budget: float) -> Findings:
    """Put together what a detector did on all parts of the traffic."""
    normal = _joined([one.normal for one in tried])
    names = list(dict.fromkeys(name for one in tried for name in one.anomalous))
    by_kind = {name: _anomalies([one.anomalous[name] for one in tried if name in one.anomalous]) for name in names}
    limit = _rule_limit(normal)
    counted = [by_kind[name] for name in names if name in _EASY]
    empty = np.zeros(0)
    scores = np.concatenate([empty, *(one.score[one.scored] for one in counted)])
    found = np.concatenate([empty, *(one.marked for one in counted)]).astype(np.bool_)
    by_rule = np.concatenate([empty, *(one.rule for one in counted)]) > limit
    clean = normal.score[normal.scored]
    everything = np.concatenate((clean, scores))
    threshold = tried[0].threshold
    unknown = sum((one.unknown for one in tried), Counter[str]())
    return Findings(
        budget=budget,
        traces=len(normal),
        normal=len(clean),
        marked=int(normal.marked.sum()),
        spans=sum(one.spans for one in tried),
        unknown=tuple(unknown.most_common(_NAMED)),
        unknown_spans=unknown.total(),
        kinds=tuple(_kind(name, by_kind[name], limit) for name in names),
        alarms=_alarms([one.alarms for one in tried]),
        auc=statistics.auc(clean, scores),
        recall=statistics.share(int(found.sum()), len(found)),
        rule=float(by_rule.mean()) if len(by_rule) else 0.0,
        rule_by_chance=statistics.finds_more(found, by_rule),
        constant=not len(everything) or bool(np.ptp(everything) == 0),
        strict=_reach(everything, threshold + 1.0),
        loose=_reach(everything, max(threshold - 1.0, threshold / 2.0)),
    )


def _reach(scores: Floats, threshold: float) -> float:
    return float((scores >= threshold).mean()) if len(scores) else 0.0


def _joined(parts: Sequence[Outcome]) -> Outcome:
    return Outcome(
        score=np.concatenate([part.score for part in parts]),
        marked=np.concatenate([part.marked for part in parts]),
        scored=np.concatenate([part.scored for part in parts]),
        rule=np.concatenate([part.rule for part in parts]),
    )


def _anomalies(parts: Sequence[Anomalies]) -> Anomalies:
    joined = _joined(parts)
    ordinary = [part.ordinary for part in parts if part.ordinary is not None]
    return Anomalies(
        score=joined.score,
        marked=joined.marked,
        scored=joined.scored,
        rule=joined.rule,
        located=np.concatenate([part.located for part in parts]),
        ordinary=np.concatenate(ordinary) if ordinary else None,
    )


def _rule_limit(normal: Outcome) -> float:
    """Give the score above which the plain rule marks as many normal traces as the detector does."""
    scores = np.sort(normal.rule[normal.scored])[::-1]
    marked = int(normal.marked.sum())
    return float(scores[marked]) if marked < len(scores) else -np.inf


def _kind(name: str, outcome: Anomalies, limit: float) -> Kind:
    marked = int(outcome.marked.sum())
    return Kind(
        name=name,
        tried=len(outcome),
        found=statistics.share(marked, len(outcome)),
        located=float(outcome.located[outcome.marked].mean()) if marked else None,
        rule=float((outcome.rule > limit).mean()),
        ordinary=None if outcome.ordinary is None else float(outcome.ordinary.mean()),
        counts=name in _EASY,
    )


def _alarms(parts: Sequence[Mapping[tuple[str, str], Alarms]]) -> tuple[Alarm, ...]:
    joined: dict[tuple[str, str], Alarms] = {}
    for part in parts:
        for key, one in part.items():
            own = joined.setdefault(key, Alarms())
            own.traces += one.traces
            own.expected_ms += one.expected_ms
            own.observed_ms += one.observed_ms
    ranked = sorted(joined.items(), key=lambda item: (-item[1].traces, item[0]))[:_NAMED]
    return tuple(
        Alarm(
            label,
            kind,
            own.traces,
            float(np.median(own.expected_ms)) if own.expected_ms else None,
            float(np.median(own.observed_ms)) if own.observed_ms else None,
        )
        for (label, kind), own in ranked
    )
