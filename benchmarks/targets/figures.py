"""All figures of one model on the block of time that it was not trained on, each beside the plain rules."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.targets.candidate import Candidate, Seen
from benchmarks.targets.rules import AGAINST, WHICH, Ngram, Pairs, Quantiles, limit, strongest
from benchmarks.targets.streams import RESPONSE_TIME, Injected, streams
from benchmarks.targets.traffic import Block, Traffic
from otel_tracead.evaluation.injections import STRUCTURAL, structures
from otel_tracead.traces.encoding import Events, select

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

COUNTS: Final[Mapping[str, int]] = {**dict.fromkeys(STRUCTURAL, 80), "stall": 150, "slowdown": 250, RESPONSE_TIME: 300}
"""Copies of each kind: more where a share is small."""
SPAN_SHARES: Final = (0.05, 0.01, 0.001)
TOP: Final = (1, 3)
DETECTOR: Final = "detector"
PAIRS: Final = "unseen pair"
NGRAM: Final = "4-gram"
UNSEEN: Final = "unseen 4-gram"
TREE: Final = "unseen tree"
NOBODY: Final = np.zeros(0, np.int64)
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
    trees: frozenset[bytes]

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
            frozenset(structures(training)),
        )

    def fixed(self, events: Events) -> dict[str, Bools]:
        """Say which traces the rules without a threshold mark `[traces]`."""
        unseen = self.ngram.unseen(events.label, events.offsets)
        first = events.offsets[:-1] + np.arange(events.traces)
        return {
            PAIRS: self.pairs.traces(events),
            UNSEEN: np.logical_or.reduceat(unseen, first),
            TREE: np.array([tree not in self.trees for tree in structures(events)]),
        }

    def values(self, events: Events) -> dict[str, Floats]:
        """Say how strong each trace speaks to the rules that need a threshold `[traces]`."""
        surprise = self.ngram.surprise(events.label, events.offsets)
        first = events.offsets[:-1] + np.arange(events.traces)
        slow = {name: strongest(events, rule.events(events)) for name, rule in self.quantiles.items()}
        return {NGRAM: np.asarray(np.maximum.reduceat(surprise, first)), **slow}


def measure(
    traffic: Traffic, block: Block, candidate: Candidate, seed: int, counts: Mapping[str, int] = COUNTS
) -> Figures:
    """Measure everything on *block*; *seed* draws the injections."""
    figures = Figures()
    rules = _Rules.learn(select(traffic.events, block.training))
    normal = select(traffic.events, block.normal)
    _structure(figures, candidate, rules, normal)
    _day(figures, traffic, block, candidate, rules)
    _injected(figures, candidate, rules, normal, counts, seed)
    return figures


def _structure(figures: Figures, candidate: Candidate, rules: _Rules, normal: Events) -> None:
    """Count at how many places of the normal traces the label that came is among the top k.

    There the strict injection is found: a label outside the top k is flagged by the rule itself, and the normal trace
    is not. As in the paper, the first event of a trace is not forecast.
    """
    rank = candidate.ranks(normal)
    at = np.arange(len(normal)) + normal.trace
    later = np.ones(len(normal), np.bool_)
    later[normal.offsets[:-1]] = False
    for k in TOP:
        hit = rank < k
        plain = rules.ngram.among(normal.label, normal.offsets, k)[at]
        row = figures.share[f"structure, k = {k}"]
        row[DETECTOR], row[NGRAM] = float(hit[later].mean()), float(plain[later].mean())
        figures.share[f"structure with first events, k = {k}"] = {
            DETECTOR: float(hit.mean()),
            NGRAM: float(plain.mean()),
        }


def _day(figures: Figures, traffic: Traffic, block: Block, candidate: Candidate, rules: _Rules) -> None:
    """Judge the day as it came; normal traces of the block and faulty ones count."""
    seen = candidate.stream(traffic.events, NOBODY)
    figures.share["CPU a trace, µs"] = {DETECTOR: 1e6 * seen.cpu_s / traffic.events.traces}
    chosen = np.concatenate((block.normal, block.faulty))
    events = select(traffic.events, chosen)
    clean = np.arange(len(chosen)) < len(block.normal)
    marked = {DETECTOR: seen.marked[chosen], **rules.fixed(events)}
    share = float(marked[DETECTOR][clean].mean())
    for name, value in rules.values(events).items():
        marked[name] = value > limit(value[clean], share)
    figures.share["clean marked"] = {name: float(mark[clean].mean()) for name, mark in marked.items()}
    figures.minutes += minutes(traffic, chosen, clean, marked)


def minutes(traffic: Traffic, chosen: Ints, clean: Bools, marked: Mapping[str, Bools]) -> Iterator[Minute]:
    """Give the marked shares of the minutes with enough traces.

    Args:
        traffic: all of it.
        chosen: indices of some traces `[n]`.
        clean: which of them are normal `[n]`; the others are faulty.
        marked: which of them were marked `[n]`, by detector or rule.
    """
    minute = traffic.minute[chosen]
    for one in np.unique(minute).tolist():
        for fault, group in (("", clean), (traffic.fault.get(traffic.minutes[one], "?"), ~clean)):
            rows = group & (minute == one)
            if rows.sum() >= FEWEST:
                yield Minute(fault, {name: float(mark[rows].mean()) for name, mark in marked.items()})


@dataclass(slots=True)
class _Copies:
    """The copies with an anomaly of one stream, and what became of them.

    Attributes:
        kind: of each `[n]`.
        marked: by the detector and by rules without a threshold `[n]`.
        located: whether a span that is rightly to blame was marked `[n]`.
        value: of each, by rules with a threshold `[n]`.
        slow: how strong the time of the event that was made longer speaks, by detector or rule `[n]`; 0 for other kinds.
    """

    kind: npt.NDArray[np.str_]
    marked: dict[str, Bools]
    located: Bools
    value: dict[str, Floats]
    slow: dict[str, Floats]


def _injected(
    figures: Figures, candidate: Candidate, rules: _Rules, normal: Events, counts: Mapping[str, int], seed: int
) -> None:
    """Judge streams of normal traces with a small share of anomalies."""
    copies: list[_Copies] = []
    clean: list[float] = []
    slow: list[Floats] = []
    for injected in streams(normal, counts, np.random.default_rng(seed)):
        untouched = injected.kind == ""
        seen = candidate.stream(injected.events, np.flatnonzero(~untouched))
        clean.append(float(seen.marked[untouched].mean()))
        slow.append(seen.slow[untouched[injected.events.trace]])
        copies.append(_copies(injected, seen, rules))
    share = float(np.mean(clean))
    figures.share["clean marked among injected"] = {DETECTOR: share}
    limits = {name: limit(value, share) for name, value in rules.values(normal).items()}
    values = {DETECTOR: np.concatenate(slow), **{name: rule.events(normal) for name, rule in rules.quantiles.items()}}
    kind = np.concatenate([one.kind for one in copies])
    marked = {name: np.concatenate([one.marked[name] for one in copies]) for name in copies[0].marked}
    marked |= {name: np.concatenate([one.value[name] for one in copies]) > line for name, line in limits.items()}
    located = np.concatenate([one.located for one in copies])
    groups = {"structure": STRUCTURAL, **{one: (one,) for one in counts if one != RESPONSE_TIME}}
    for group, kinds in groups.items():
        rows = np.isin(kind, kinds)
        if rows.any():
            figures.share[f"found {group}"] = {name: float(mark[rows].mean()) for name, mark in marked.items()}
    new = np.isin(kind, STRUCTURAL) & marked[TREE]
    if new.any():
        figures.share["found structure, new"] = {name: float(mark[new].mean()) for name, mark in marked.items()}
    for group, kinds in (groups | {"": (*STRUCTURAL, "stall")}).items():
        rows = np.isin(kind, kinds) & marked[DETECTOR]
        if rows.any():
            figures.share[f"located {group}".strip()] = {DETECTOR: float(located[rows].mean())}
    longer = kind == RESPONSE_TIME
    for share in SPAN_SHARES if longer.any() else ():
        figures.share[f"{RESPONSE_TIME}, {share:.1%} of spans"] = {
            name: float((np.concatenate([one.slow[name] for one in copies])[longer] > limit(value, share)).mean())
            for name, value in values.items()
        }


def _copies(injected: Injected, seen: Seen, rules: _Rules) -> _Copies:
    places = np.flatnonzero(injected.kind != "")
    events = select(injected.events, places)
    blame = [injected.blame[place] for place in places.tolist()]
    first = [rows[0] for rows in blame]
    at = events.offsets[:-1] + first
    return _Copies(
        kind=injected.kind[places],
        marked={DETECTOR: seen.marked[places], **rules.fixed(events)},
        located=np.array(
            [
                not seen.blamed.get(place, frozenset()).isdisjoint(rows)
                for place, rows in zip(places.tolist(), blame, strict=True)
            ]
        ),
        value=rules.values(events),
        slow={
            DETECTOR: seen.slow[injected.events.offsets[places] + first],
            **{name: rule.events(events)[at] for name, rule in rules.quantiles.items()},
        },
    )
