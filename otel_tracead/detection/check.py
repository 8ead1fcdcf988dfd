"""Does this detector work on this traffic? The verdict on what it did when it was tried, and the reasons."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from otel_tracead.detection import findings as collected
from otel_tracead.detection import statistics
from otel_tracead.detection.findings import PREVALENCES, Alarm, Findings
from otel_tracead.detection.trial import Candidate, Tried, try_out

__all__ = [
    "Candidate",
    "CheckResult",
    "Tried",
    "conclude",
    "spoken",
    "spoken_kinds",
    "spoken_share",
    "spoken_weakness",
    "try_out",
]

_BUDGETS: Final = 3.0
_BLIND: Final = 0.1  # of normal traces may go without a verdict
_BY_CHANCE: Final = 0.05
_ROUNDING: Final = 1e-9
_FEW: Final = 0.5


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What the check found.

    Attributes:
        passed: whether the detector may be used.
        reasons: why not.
        words: what was found, in sentences.
        findings: the same in numbers.
    """

    passed: bool
    reasons: tuple[str, ...]
    words: tuple[str, ...]
    findings: Findings

    @property
    def figures(self) -> Mapping[str, float]:
        """Numbers by name."""
        return self.findings.figures()


def conclude(tried: Sequence[Tried], budget: float) -> CheckResult:
    """Judge a detector by what it did on all parts of the traffic.

    It holds if all of this does: enough normal traces were there to tell; nearly all of them got a verdict; the scores
    are not constant, tell anomalous from normal traces better than chance (lower bound of the AUC above one half, lower
    bound of the share found above the share of normal traces marked), and move with the threshold; it is better than
    marking every trace (F1 above 2p / (1 + p) where a share p of 1 % and of 0.1 % is anomalous), and not worse than the
    plain rule at the same share of normal traces marked; and the lower bound of the share of normal traces that it
    marks is at most three budgets.

    Args:
        tried: by parts of the traffic.
        budget: the share of normal traces that the detector may mark.
    """
    found = collected.find(tried, budget)
    reasons = tuple(_reasons(found))
    return CheckResult(not reasons, reasons, tuple(_words(found)), found)


def _reasons(found: Findings) -> Iterator[str]:
    fewest = statistics.fewest_cases(_BUDGETS * found.budget)
    if found.blind > _BLIND:
        named = "; ".join(label for label, _ in found.unknown)
        yield (
            f"the model does not know this traffic: {spoken_share(found.blind)} of the traces get no verdict, for labels "
            f"that training never saw (such as {named}); train a model on it, or look whether these files are of the "
            "system that the model was trained on"
        )
    if found.traces < fewest:
        yield (
            f"too few traces to tell: {found.traces}, and a budget of {spoken_share(found.budget)} takes at least "
            f"{fewest} (fewer cannot show that less than {_BUDGETS:g} budgets are marked, even if none is)"
        )
    if not found.normal:
        return
    if found.kinds:
        yield from _no_better(found)
    else:
        yield "no anomaly could be injected into this traffic, so nothing was tried"
    if found.lower > _BUDGETS * found.budget:
        yield (
            f"marks at least {spoken_share(found.lower)} of normal traces, more than {_BUDGETS:g} times the budget of "
            f"{spoken_share(found.budget)}"
        )


def _no_better(found: Findings) -> Iterator[str]:
    """Say what the detector is no better than."""
    recall, share = found.recall, found.share.value
    if found.constant:
        yield "all scores are the same"
    elif found.auc.low <= 0.5:
        yield f"AUC {found.auc.value:.3f} (at least {found.auc.low:.3f}) is no better than chance, which is 0.5"
    if recall.low <= share:
        yield (
            f"finds {spoken_share(recall.value)} of injected anomalies and marks {spoken_share(share)} of normal traces, "
            "which is no better than chance"
        )
    for prevalence in PREVALENCES:
        always = statistics.f1_always(prevalence)
        if found.f1(prevalence) <= always + _ROUNDING:
            yield (
                f"F1 {found.f1(prevalence):.4f} where {spoken_share(prevalence)} of traces are anomalous is no better than "
                f"that of marking every trace, {always:.4f}"
            )
    if found.rule_by_chance < _BY_CHANCE:
        yield (
            f"finds {spoken_share(recall.value)} of injected anomalies; a plain rule for each label's own times finds "
            f"{spoken_share(found.rule)} while it marks as many normal traces"
        )
    if found.loose <= found.strict and not found.constant:
        yield (
            f"the threshold changes nothing: with a tenth of the budget it marks {spoken_share(found.strict)} of all "
            f"traces tried, with ten times the budget {spoken_share(found.loose)}"
        )


def _words(found: Findings) -> Iterator[str]:
    share = found.share
    if found.normal:
        yield (
            f"Of {found.normal} normal traces it marks {spoken_share(share.value)} (95 % sure: {spoken_share(share.low)} to "
            f"{spoken_share(share.high)}); the budget is {spoken_share(found.budget)}."
        )
    often = [f"{alarm.traces} {spoken(alarm)}" for alarm in found.alarms if alarm.traces > 1]
    if often:
        yield f"Most frequent of those {found.marked}: {'; '.join(often)}."
    if found.blind:
        yield f"{spoken_share(found.blind)} of the traces get no verdict, for labels that training never saw."
    if found.unknown:
        named = "; ".join(f"{label} ({count})" for label, count in found.unknown)
        yield f"{spoken_share(found.unknown_share)} of spans have labels that training never saw: {named}."
    if found.kinds:
        few = spoken_weakness(found)
        if few:
            yield f"It {few}."
        yield from _words_of_kinds(found)


def _words_of_kinds(found: Findings) -> Iterator[str]:
    yield (
        f"A plain rule for each label's own times, marking as many normal traces, finds {spoken_share(found.rule)} of those "
        f"that count; this detector finds {spoken_share(found.recall.value)}."
    )
    for kind in found.kinds:
        if kind.rule > kind.found.high:
            yield f"Of {kind.name} alone the rule finds more: {spoken_share(kind.rule)}."
    for kind in found.kinds:
        if kind.ordinary:
            yield (
                f"Of those injected as {kind.name}, {spoken_share(kind.ordinary)} are built like some normal trace: "
                "nobody can find these."
            )
    area = found.auc
    yield f"AUC {area.value:.3f} (95 % sure: {area.low:.3f} to {area.high:.3f}); chance is 0.5."
    for prevalence in PREVALENCES:
        yield (
            f"Where {spoken_share(prevalence)} of traces are anomalous like these, "
            f"{spoken_share(found.precision(prevalence))} of the marked ones are."
        )
    yield (
        f"With a tenth of the budget it marks {spoken_share(found.strict)} of all traces tried, with ten times the budget "
        f"{spoken_share(found.loose)}."
    )


def spoken_kinds(found: Findings) -> str:
    """Say how much is found of each kind, where there is no room for a table."""
    return (
        f"Injected anomalies that it finds: {', '.join(f'{kind.name} {kind.found.value:.0%}' for kind in found.kinds)}."
    )


def spoken_weakness(found: Findings) -> str:
    """Say of which kinds that count less than half is surely found; nothing where there is none."""
    few = [f"{kind.name} ({kind.found.value:.0%})" for kind in found.kinds if kind.counts and kind.found.high < _FEW]
    return f"finds few of {', '.join(few)}" if few else ""


def spoken(alarm: Alarm) -> str:
    """Say for what and where normal traces are marked."""
    what = f"{alarm.type} at {alarm.label}"
    if alarm.expected_ms is None or alarm.observed_ms is None:
        return what
    return f"{what} ({alarm.observed_ms:.3g} ms, expected {alarm.expected_ms:.3g})"


def spoken_share(share: float) -> str:
    """Write a share as the check's sentences do: to a hundredth of a percent where it is small."""
    return f"{share:.0%}" if share in (0, 1) else f"{share:.2%}" if share < 0.0995 else f"{share:.1%}"
