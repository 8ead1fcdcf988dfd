"""All figures of one model on the block of time that it was not trained on, each beside the plain rules."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.targets.rules import AGAINST, WHICH, Ngram, Pairs, Quantiles, limit, strongest
from benchmarks.targets.streams import RESPONSE_TIME, Injected, Seen, stream, streams
from benchmarks.targets.traffic import Block, Traffic
from otel_tracead.detection.detector import DetectionSettings, ModelDetector
from otel_tracead.detection.scorer import Scorer
from otel_tracead.detection.verdicts import ModelInfo
from otel_tracead.traces.encoding import Events, select
from otel_tracead.traces.labels import LabelTemplate
from otel_tracead.traces.sequences import Order
from otel_tracead.training.learning import Learned

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

STRUCTURE: Final = ("replaced", "missing", "extra", "aborted", "swapped")
COUNTS: Final[Mapping[str, int]] = {**dict.fromkeys(STRUCTURE, 200), "stall": 400, "slowdown": 600, RESPONSE_TIME: 1000}
"""Copies of each kind: more where a share is small."""
SPAN_SHARES: Final = (0.05, 0.01, 0.001)
TOP: Final = (1, 3)
DETECTOR: Final = "detector"
PAIRS: Final = "unseen pair"
NGRAM: Final = "4-gram"
UNSEEN: Final = "unseen 4-gram"
FEWEST: Final = 10
"""Traces of a class in a minute, below which its share says nothing."""


@dataclass(frozen=True, slots=True)
class Minute:
    """The share of one minute's traces that was marked.

    Attributes:
        fault: the type of fault, empty for normal traces.
        share: by detector or rule.
    """

    fault: str
    share: dict[str, float]


@dataclass(slots=True)
class Figures:
    """What was measured of one model.

    Attributes:
        share: by row of the table and by detector or rule.
        minutes: of the block.
    """

    share: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    minutes: list[Minute] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Rules:
    """The plain rules that were learned from the same traces as the model."""

    quantiles: dict[str, Quantiles]
    pairs: Pairs
    ngram: Ngram

    @classmethod
    def learn(cls, training: Events) -> "_Rules":
        return cls(
            {
                f"quantile ({which}, {against})": Quantiles.learn(training, which, against)
                for which in WHICH
                for against in AGAINST
            },
            Pairs.learn(training),
            Ngram.learn(training.label, training.offsets, len(training.labels)),
        )

    def fixed(self, events: Events) -> dict[str, Bools]:
        """Say which traces the rules without a threshold mark `[traces]`."""
        unseen = self.ngram.unseen(events.label, events.offsets)
        first = events.offsets[:-1] + np.arange(events.traces)
        return {PAIRS: self.pairs.traces(events), UNSEEN: np.logical_or.reduceat(unseen, first)}

    def surprise(self, events: Events) -> Floats:
        """Give each trace's largest surprise to the 4-gram `[traces]`."""
        found = self.ngram.surprise(events.label, events.offsets)
        return np.asarray(np.maximum.reduceat(found, events.offsets[:-1] + np.arange(events.traces)))


def detector_of(learned: Learned, settings: DetectionSettings | None = None) -> ModelDetector:
    """Make a detector of what was learned, with nothing seen yet."""
    return ModelDetector(
        dictionary=learned.dictionary,
        calibration=learned.calibration,
        scorer=Scorer(learned.network, state=learned.architecture.state, provider="cpu"),
        template=LabelTemplate(),
        order=Order.TREE,
        info=ModelInfo("targets", "0"),
        settings=settings or DetectionSettings(),
    )


def measure(traffic: Traffic, block: Block, learned: Learned, seed: int, counts: Mapping[str, int] = COUNTS) -> Figures:
    """Measure everything on *block*; *seed* draws the injections."""
    figures = Figures()
    rules = _Rules.learn(select(traffic.events, block.training))
    normal = select(traffic.events, block.normal)
    _structure(figures, learned, rules, normal)
    limits = _as_it_came(figures, traffic, block, learned, rules)
    _injected(figures, learned, rules, normal, limits, counts, seed)
    return figures


def _structure(figures: Figures, learned: Learned, rules: _Rules, normal: Events) -> None:
    """Count at how many places of the normal traces the label that came is among the top k.

    There the strict injection is found: a label outside the top k is flagged by the rule itself, and the normal trace
    is not. As in the paper, the first event of a trace is not forecast.
    """
    scorer = Scorer(learned.network, state=learned.architecture.state, provider="cpu")
    detector = detector_of(learned)
    known = detector.assess(normal).known
    rank = scorer.surprise(known.label, known.scaled, normal.offsets, ranks=True).rank
    at = np.arange(len(normal)) + normal.trace
    later = np.ones(len(normal), np.bool_)
    later[normal.offsets[:-1]] = False
    for k in TOP:
        hit = (rank[at] < k) & ~known.unseen
        plain = rules.ngram.among(normal.label, normal.offsets, k)[at]
        row = figures.share[f"structure, k = {k}"]
        row[DETECTOR], row[NGRAM] = float(hit[later].mean()), float(plain[later].mean())
        figures.share[f"structure with first events, k = {k}"] = {
            DETECTOR: float(hit.mean()),
            NGRAM: float(plain.mean()),
        }


@dataclass(slots=True)
class _Limits:
    """Above which value the rules mark, so that they mark as many normal traces, or events, as the detector does."""

    trace: dict[str, float]
    event: dict[float, dict[str, float]]


def _as_it_came(figures: Figures, traffic: Traffic, block: Block, learned: Learned, rules: _Rules) -> _Limits:
    """Judge the block's traces as they came, normal ones and faults, and set the rules' limits on the normal ones."""
    chosen = np.concatenate((block.normal, block.faulty))
    events = select(traffic.events, chosen)
    seen = stream(detector_of(learned), events)
    figures.share["CPU a trace, µs"] = {DETECTOR: 1e6 * seen.cpu_s / events.traces}
    clean = np.arange(events.traces) < len(block.normal)
    marked = {DETECTOR: seen.marked, **rules.fixed(events)}
    share = float(seen.marked[clean].mean())
    clean_events = clean[events.trace]
    limits = _Limits({}, {one: {DETECTOR: limit(seen.slow[clean_events], one)} for one in SPAN_SHARES})
    values = {NGRAM: rules.surprise(events)}
    for name, rule in rules.quantiles.items():
        slow = rule.events(events)
        values[name] = strongest(events, slow)
        for one in SPAN_SHARES:
            limits.event[one][name] = limit(slow[clean_events], one)
    for name, value in values.items():
        limits.trace[name] = limit(value[clean], share)
        marked[name] = value > limits.trace[name]
    figures.share["clean marked"] = {name: float(mark[clean].mean()) for name, mark in marked.items()}
    minute = traffic.minute[chosen]
    for one in np.unique(minute):
        for fault, group in (("", clean), (traffic.fault.get(traffic.minutes[one], ""), ~clean)):
            rows = group & (minute == one)
            if rows.sum() >= FEWEST:
                shares = {name: float(mark[rows].mean()) for name, mark in marked.items()}
                figures.minutes.append(Minute(fault, shares))
    return limits


def _injected(
    figures: Figures,
    learned: Learned,
    rules: _Rules,
    normal: Events,
    limits: _Limits,
    counts: Mapping[str, int],
    seed: int,
) -> None:
    """Judge streams of normal traces with a small share of anomalies."""
    tally: dict[tuple[str, str], list[Bools]] = defaultdict(list)
    detector = detector_of(learned)
    for injected in streams(normal, counts, np.random.default_rng(seed)):
        places = np.flatnonzero(injected.kind != "")
        seen = stream(detector, injected.events)
        tally["clean marked among injected", DETECTOR].append(np.delete(seen.marked, places))
        _tally(tally, injected, places, seen, rules, limits)
    for (row, name), found in tally.items():
        together = np.concatenate(found)
        if len(together):
            figures.share[row][name] = float(together.mean())


def _tally(
    tally: dict[tuple[str, str], list[Bools]],
    injected: Injected,
    places: npt.NDArray[np.int64],
    seen: Seen,
    rules: _Rules,
    limits: _Limits,
) -> None:
    copies = select(injected.events, places)
    kinds = injected.kind[places]
    marked = {
        DETECTOR: seen.marked[places],
        **rules.fixed(copies),
        NGRAM: rules.surprise(copies) > limits.trace[NGRAM],
    }
    slow = {name: rule.events(copies) for name, rule in rules.quantiles.items()}
    marked |= {name: strongest(copies, value) > limits.trace[name] for name, value in slow.items()}
    located = np.array(
        [bool(seen.blamed.get(place, frozenset()).intersection(injected.blame[place])) for place in places.tolist()]
    )
    for kind in np.unique(kinds):
        rows = kinds == kind
        if kind == RESPONSE_TIME:
            at = copies.offsets[:-1][rows] + [injected.blame[place][0] for place in places[rows].tolist()]
            ours = seen.slow[injected.events.offsets[places[rows]] + at - copies.offsets[:-1][rows]]
            for share, limit_of in limits.event.items():
                row = f"{kind}, {share:.1%} of spans"
                tally[row, DETECTOR].append(ours > limit_of[DETECTOR])
                for name, value in slow.items():
                    tally[row, name].append(value[at] > limit_of[name])
            continue
        for name, mark in marked.items():
            tally[f"found {kind}", name].append(mark[rows])
            if kind in STRUCTURE:
                tally["found structure", name].append(mark[rows])
        tally[f"located {kind}", DETECTOR].append(located[rows & marked[DETECTOR]])
        if kind in (*STRUCTURE, "stall"):
            tally["located", DETECTOR].append(located[rows & marked[DETECTOR]])
