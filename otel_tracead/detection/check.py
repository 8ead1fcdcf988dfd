"""Does this detector work on this traffic? Normal traces as they are, and copies with anomalies of every kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from otel_tracead.detection.detector import ModelDetector
from otel_tracead.evaluation.injections import KINDS, inject
from otel_tracead.traces.encoding import Events

Floats = npt.NDArray[np.float64]

_CONFIDENCE: Final = 0.95
_BUDGETS: Final = 3.0
_PREVALENCES: Final = (0.01, 0.001)
_EASY: Final = ("replaced", "missing", "extra", "aborted", "swapped", "stall")
"""The kinds that count for the verdict; a slowdown within what is usual of a label cannot be found one by one."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What the check found.

    Attributes:
        passed: whether the detector may be used.
        reasons: why not.
        figures: numbers by name.
        words: the same in sentences.
    """

    passed: bool
    reasons: tuple[str, ...]
    figures: Mapping[str, float]
    words: tuple[str, ...]


@dataclass(slots=True)
class Tried:
    """Scores of one detector on one part of the traffic.

    Attributes:
        threshold: from which score on a trace is marked.
        clean: scores of the normal traces.
        anomalous: scores of the injected ones, by kind.
        found_at: share of the found ones in which an event that is rightly to blame is marked, by kind.
        unknown: share of spans with labels that the model never saw.
    """

    threshold: float
    clean: Floats
    anomalous: dict[str, Floats]
    found_at: dict[str, Floats]
    unknown: float


def try_out(detector: ModelDetector, events: Events, *, count: int, seed: int) -> Tried:
    """Score *events* and *count* copies with an anomaly of each kind."""
    random = np.random.default_rng(seed)
    judged = detector.assess(events)
    anomalous: dict[str, Floats] = {}
    found_at: dict[str, Floats] = {}
    for kind in KINDS:
        injected = inject(events, kind, count, random)
        if injected is None:
            continue
        tried = detector.assess(injected.events)
        anomalous[kind] = tried.score
        verdicts = detector.verdicts(tried)
        found_at[kind] = np.array(
            [
                float(any(row in verdict.spans for row in blame))
                for verdict, blame in zip(verdicts, injected.blame, strict=True)
                if verdict.anomalous
            ]
        )
    return Tried(detector.threshold, judged.score, anomalous, found_at, float(judged.known.unseen.mean()))


def conclude(tried: list[Tried], budget: float) -> CheckResult:
    """Judge the detector by what it did: figures, and whether it holds.

    It holds if it is better than chance (lower bound of the AUC above one half, and more than chance found at the
    threshold), better than alarming always (F1 above 2p / (1 + p) at the prevalence of the trial), its scores are not
    constant, and the lower bound of the share of normal traces that it marks is at most three budgets.
    """
    threshold = tried[0].threshold
    clean = np.concatenate([one.clean for one in tried])
    kinds = list(dict.fromkeys(kind for one in tried for kind in one.anomalous))
    scores = {kind: np.concatenate([one.anomalous[kind] for one in tried if kind in one.anomalous]) for kind in kinds}
    places = {kind: np.concatenate([one.found_at[kind] for one in tried if kind in one.found_at]) for kind in kinds}
    marked = int((clean >= threshold).sum())
    share = marked / max(len(clean), 1)
    lower = float(beta.ppf(1 - _CONFIDENCE, marked, len(clean) - marked + 1)) if marked else 0.0
    figures: dict[str, float] = {
        "clean_traces": float(len(clean)),
        "clean_marked": share,
        "clean_marked_lower_95": lower,
        "budget": budget,
        "unknown_labels": float(np.mean([one.unknown for one in tried])),
    }
    words = [
        f"Of {len(clean)} normal traces it marks {share:.2%}; the budget is {budget:.2%}.",
    ]
    for kind in kinds:
        figures[f"recall_{kind}"] = float((scores[kind] >= threshold).mean())
        if len(places[kind]):
            figures[f"located_{kind}"] = float(places[kind].mean())
    counted = [kind for kind in kinds if kind in _EASY]
    anomalous = np.concatenate([scores[kind] for kind in counted]) if counted else np.zeros(0)
    area, area_lower = auc(clean, anomalous)
    recall = float((anomalous >= threshold).mean()) if len(anomalous) else 0.0
    figures |= {"auc": area, "auc_lower_95": area_lower, "recall": recall}
    for prevalence in _PREVALENCES:
        figures[f"precision_at_{prevalence:g}"] = _precision(recall, share, prevalence)
    if counted:
        named = ", ".join(f"{kind} {figures[f'recall_{kind}']:.0%}" for kind in kinds)
        words.append(f"Injected anomalies that it finds: {named}.")
    words.append(f"AUC {area:.3f} (at least {area_lower:.3f}); chance is 0.5.")
    prevalence = len(anomalous) / max(len(anomalous) + len(clean), 1)
    precision = _precision(recall, share, prevalence)
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    always = 2 * prevalence / (1 + prevalence) if prevalence else 0.0
    figures |= {"f1": f1, "f1_always_alarm": always}
    rules: list[tuple[Callable[[], bool], str]] = [
        (lambda: len(anomalous) > 0, "no anomaly could be injected into this traffic"),
        (lambda: bool(np.ptp(np.concatenate((clean, anomalous))) > 0), "all scores are the same"),
        (lambda: area_lower > 0.5, f"AUC {area:.3f} is no better than chance"),
        (lambda: recall > share, f"finds {recall:.1%} of injected anomalies and marks {share:.1%} of normal traces"),
        (lambda: f1 > always, f"F1 {f1:.3f} is no better than alarming always ({always:.3f})"),
        (
            lambda: lower <= _BUDGETS * budget,
            f"marks at least {lower:.2%} of normal traces, more than {_BUDGETS:g} times the budget of {budget:.2%}",
        ),
    ]
    reasons = tuple(reason for holds, reason in rules if not holds())
    return CheckResult(not reasons, reasons, figures, tuple(words))


def _precision(recall: float, false_alarms: float, prevalence: float) -> float:
    alarms = recall * prevalence + false_alarms * (1 - prevalence)
    return recall * prevalence / alarms if alarms else 0.0


def auc(normal: Floats, anomalous: Floats) -> tuple[float, float]:
    """Give the area under the ROC curve, ties counted half, and its lower 95 % bound (Hanley and McNeil, 1982)."""
    if not len(normal) or not len(anomalous):
        return 0.5, 0.0
    ordered = np.sort(normal)
    below = np.searchsorted(ordered, anomalous, side="left")
    equal = np.searchsorted(ordered, anomalous, side="right") - below
    area = float((below + 0.5 * equal).mean() / len(ordered))
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    n, m = len(ordered), len(anomalous)
    variance = (area * (1 - area) + (m - 1) * (q1 - area**2) + (n - 1) * (q2 - area**2)) / (n * m)
    return area, area - 1.645 * float(np.sqrt(max(variance, 0.0)))
