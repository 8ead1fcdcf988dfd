"""What the paper claims, beside what was measured, in words: what held and what did not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from otel_tracead.evaluation.experiments import INTERVAL_RULE, RANKS, SPAN_SHARES, By, Kind, Row, rule_at, rule_of
from otel_tracead.evaluation.tables import NOTHING, Spread, spread

_OVER: Final = 0.90
_MARGIN: Final = 0.16
_BEARABLE: Final = 0.10  # of clean traces that are flagged; recall at a higher price says little
_TRAINING_S: Final = 30 * 60.0
_TRACE_MS: Final = 50.0


class Verdict(StrEnum):
    """Whether a claim held here."""

    HELD = "held"
    PARTLY = "held in part"
    FAILED = "did not hold"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim.

    Attributes:
        said: what the paper says, or what one would expect.
        verdict: whether it held.
        measured: what was measured, in a few words.
        words: what that means.
        paper: whether the paper says it; else it is our question.
    """

    said: str
    verdict: Verdict
    measured: str
    words: str
    paper: bool = True


@dataclass(frozen=True, slots=True)
class Cost:
    """What one trained model took.

    Attributes:
        model: as the tables name it.
        seed: of its training.
        training_s: seconds of training.
        trace_ms: milliseconds for one trace alone, the median of some.
    """

    model: str
    seed: int
    training_s: float
    trace_ms: float


@dataclass(frozen=True, slots=True)
class Cast:
    """Which model plays which part, by name.

    Attributes:
        multimodal: the paper's multimodal LSTM.
        structure: its single-modality LSTM for labels.
        dense: the multimodal dense baseline.
        labels_reference: what structure is compared with: the n-gram model.
        times_reference: what response times are compared with: the quantile of each label.
    """

    multimodal: str
    structure: str
    dense: str
    labels_reference: str
    times_reference: str


def judge(rows: Sequence[Row], costs: Sequence[Cost], cast: Cast, *, as_paper: bool = True) -> list[Claim]:
    """Put every claim beside what was measured.

    Args:
        rows: of all models and seeds.
        costs: likewise.
        cast: which model plays which part.
        as_paper: whether as many traces and epochs were given as in the paper; else its time of training is not judged.
    """
    whole = [row for row in rows if row.by is By.ALL]
    mine = [one for one in costs if one.model == cast.multimodal]
    # Structure at the strictest k alone, since larger ones are won by all; times wherever false alarms are the same.
    label_rules, time_rules = (rule_of(1),), tuple(map(rule_at, SPAN_SHARES))
    compared: tuple[tuple[str, str, Kind, tuple[str, ...], bool], ...] = (
        (cast.dense, "the dense baseline", Kind.STRUCTURE, label_rules, True),
        (cast.dense, "the dense baseline", Kind.TIME, time_rules, True),
        (cast.labels_reference, f"a {cast.labels_reference} model", Kind.STRUCTURE, label_rules, False),
        (cast.times_reference, f"the plain {cast.times_reference}", Kind.TIME, time_rules, False),
    )
    return [
        _structure(whole, cast.multimodal),
        _time(whole, cast.multimodal),
        _margin(whole, cast),
        _training([one.training_s for one in mine], as_paper=as_paper),
        _speed([one.trace_ms for one in mine]),
        *(_against(whole, cast.multimodal, *one) for one in compared),
    ]


def percent(share: float) -> str:
    """Write a share with as many digits as tell it from none and from all."""
    value = 100 * share
    if value in (0.0, 100.0):
        return f"{value:.0f} %"
    if value < 1 or value > 99:
        return f"{value:.2f} %"
    return f"{value:.1f} %"


def points(difference: float) -> str:
    """Write a difference of shares."""
    return f"{100 * difference:+.1f} points"


def seconds(value: float) -> str:
    """Write a time of training."""
    return f"{value:.0f} s" if value < 120 else f"{value / 60:.1f} min"


def milliseconds(value: float) -> str:
    """Write the time of one trace."""
    return f"{value:.2g} ms"


def _rows(rows: Sequence[Row], model: str, kind: Kind, rule: str) -> list[Row]:
    return [row for row in rows if (row.model, row.kind, row.rule) == (model, kind, rule)]


def _structure(rows: Sequence[Row], model: str) -> Claim:
    said = "The multimodal LSTM finds over 90 % of structural anomalies (k = 1, 3, 5)."
    of_rule = {rule_of(k): _rows(rows, model, Kind.STRUCTURE, rule_of(k)) for k in RANKS}
    if not all(of_rule.values()):
        return Claim(said, Verdict.OPEN, NOTHING, "No label could be replaced: the traffic has too few.")
    strict = {rule: spread(row.strict for row in own) for rule, own in of_rule.items()}
    traces = {rule: spread(row.clean_traces for row in own).mean for rule, own in of_rule.items()}
    held = [rule for rule in of_rule if strict[rule].mean > _OVER and traces[rule] <= _BEARABLE]
    verdict = Verdict.HELD if len(held) == len(strict) else Verdict.PARTLY if held else Verdict.FAILED
    plain = min(row.found for own in of_rule.values() for row in own)
    flagged = ", ".join(f"{percent(share)} at {rule}" for rule, share in traces.items())
    return Claim(
        said,
        verdict,
        ", ".join(f"{rule}: {one.words(percent)}" for rule, one in strict.items()),
        f"Clean traces flagged by the same rule: {flagged}; {' and '.join(held) or 'none'} can be lived with. Counted "
        f"strictly: found, and not flagged before the injection too. Counted as the paper words it, it is {percent(plain)}, "
        "but by construction: the injected label is one that the model does not expect.",
    )


def _time(rows: Sequence[Row], model: str) -> Claim:
    said = "The multimodal LSTM finds over 90 % of response-time anomalies at its 95 % interval."
    own = _rows(rows, model, Kind.TIME, INTERVAL_RULE)
    if not own:
        return Claim(said, Verdict.OPEN, NOTHING, "No response time could be prolonged: they are all 0.")
    found, traces = spread(row.found for row in own), spread(row.clean_traces for row in own)
    fixed = [(share, _rows(rows, model, Kind.TIME, rule_at(share))) for share in SPAN_SHARES]
    at_shares = ", ".join(
        f"{percent(spread(row.found for row in there).mean)} at {100 * share:g} %" for share, there in fixed if there
    )
    over = found.mean > _OVER
    return Claim(
        said,
        Verdict.HELD if over and traces.mean <= _BEARABLE else Verdict.PARTLY if over else Verdict.FAILED,
        found.words(percent),
        f"The same interval flags {percent(spread(row.clean_events for row in own).mean)} of clean spans and "
        f"{percent(traces.mean)} of clean traces{', too many to live with' if traces.mean > _BEARABLE else ''}. With a "
        f"threshold that flags a fixed share of clean spans instead, it finds {at_shares}.",
    )


def _margin(rows: Sequence[Row], cast: Cast) -> Claim:
    said = "At k = 1 the multimodal LSTM is 16 points better than the one for structure alone."
    difference = _difference(rows, cast.multimodal, cast.structure, Kind.STRUCTURE, rule_of(1))
    if math.isnan(difference.mean):
        return Claim(said, Verdict.OPEN, NOTHING, "One of the two was not measured.")
    if difference.mean >= _MARGIN:
        verdict, words = Verdict.HELD, "Response times help to foresee the next label that much."
    elif difference.low > 0 and difference.mean >= _MARGIN / 2:
        verdict, words = Verdict.PARTLY, "It is better with every seed, but by less."
    elif difference.low > 0:
        verdict, words = Verdict.FAILED, "It is better with every seed, but by far less: labels foretell labels."
    else:
        verdict, words = (
            Verdict.FAILED,
            "Response times do not help to foresee the next label here: labels say it already.",
        )
    return Claim(said, verdict, difference.words(points), f"{words} Counted strictly, each seed against its own.")


def _training(seconds_: Sequence[float], *, as_paper: bool) -> Claim:
    said = "Training takes 30 minutes (on a GTX 1060)."
    if not seconds_:
        return Claim(said, Verdict.OPEN, NOTHING, "It was not measured.")
    found = spread(seconds_)
    if not as_paper:
        words = "With fewer traces and epochs than the paper's, so this says nothing of its claim."
        return Claim(said, Verdict.OPEN, found.words(seconds), words)
    verdict = Verdict.HELD if found.high <= _TRAINING_S else Verdict.FAILED
    return Claim(said, verdict, found.words(seconds), "On one core of the machine named below, beside other trainings.")


def _speed(trace_ms: Sequence[float]) -> Claim:
    said = "A trace is judged in less than 50 ms."
    if not trace_ms:
        return Claim(said, Verdict.OPEN, NOTHING, "It was not measured.")
    found = spread(trace_ms)
    verdict = Verdict.HELD if found.high < _TRACE_MS else Verdict.FAILED
    return Claim(said, verdict, found.words(milliseconds), "One trace at a time, on one core; the median of some.")


def _against(
    rows: Sequence[Row], model: str, other: str, named: str, kind: Kind, rules: Sequence[str], paper: bool
) -> Claim:
    what = (
        f"structure ({rules[0]})" if kind is Kind.STRUCTURE else "response time, at every share of clean spans flagged"
    )
    said = f"The multimodal LSTM is better than {named} at {what}."
    differences = {rule: _difference(rows, model, other, kind, rule) for rule in rules}
    if any(math.isnan(one.mean) for one in differences.values()):
        return Claim(said, Verdict.OPEN, NOTHING, "One of the two was not measured.", paper)
    better = [rule for rule, one in differences.items() if one.low > 0]
    verdict = Verdict.HELD if len(better) == len(rules) else Verdict.PARTLY if better else Verdict.FAILED
    return Claim(
        said,
        verdict,
        ", ".join(f"{rule}: {one.words(points)}" for rule, one in differences.items()),
        "; ".join(
            f"{rule}: {_agreed(one)}, {_strict(rows, model, kind, rule)} against {_strict(rows, other, kind, rule)}"
            for rule, one in differences.items()
        )
        + ". Counted strictly.",
        paper,
    )


def _agreed(difference: Spread) -> str:
    if difference.low > 0:
        return "better with every seed"
    return "worse with every seed" if difference.high < 0 else "no difference on which the seeds agree"


def _strict(rows: Sequence[Row], model: str, kind: Kind, rule: str) -> str:
    return percent(spread(row.strict for row in _rows(rows, model, kind, rule)).mean)


def _difference(rows: Sequence[Row], model: str, other: str, kind: Kind, rule: str) -> Spread:
    """Give how much better *model* is, seed by seed; a model without chance has one seed, and counts for all."""
    theirs = {row.seed: row.strict for row in _rows(rows, other, kind, rule)}
    return spread(row.strict - theirs[row.seed] for row in _rows(rows, model, kind, rule) if row.seed in theirs)
