"""The rows of the table: what is wanted of each system, what was measured, and what the plain rules reach."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.targets.figures import DETECTOR, NGRAM, PAIRS, TREE, UNSEEN, Figures, Minute
from benchmarks.targets.traffic import VISIBLE
from otel_tracead.detection.statistics import auc
from otel_tracead.evaluation.injections import STRUCTURAL

QUANTILE: Final = "quantile"
Floats = npt.NDArray[np.float64]
Shares = Mapping[str, float]
"""Of one seed and row, by detector or rule."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        title: what it says.
        targets: by system; a row without one is information.
        figure: gives a seed's shares from the figures of its blocks.
        rules: which plain rules stand beside; `quantile` is the best of those by label.
        most: whether the target is the most that is allowed, not the least.
        unit: `%`, or empty for a plain number.
        against: the target is a factor of the best rule's share.
    """

    title: str
    targets: Mapping[str, float]
    figure: Callable[[Sequence[Figures]], Shares]
    rules: Sequence[str] = ()
    most: bool = False
    unit: str = "%"
    against: bool = False


def _mean(key: str) -> Callable[[Sequence[Figures]], Shares]:
    """Give the mean over blocks."""

    def figure(blocks: Sequence[Figures]) -> Shares:
        names = dict.fromkeys(name for one in blocks for name in one.share.get(key, {}))
        return {
            name: float(np.mean([one.share[key][name] for one in blocks if name in one.share.get(key, {})]))
            for name in names
        }

    return figure


def _area(kinds: Sequence[str] | None) -> Callable[[Sequence[Figures]], Shares]:
    """Give the AUC of minutes: the mean over blocks."""

    def figure(blocks: Sequence[Figures]) -> Shares:
        areas = [area(one.minutes, kinds) for one in blocks]
        return {name: float(np.mean([one[name] for one in areas])) for name in areas[0]}

    return figure


def area(minutes: Sequence[Minute], kinds: Sequence[str] | None = None) -> Shares:
    """Give how well marked shares tell minutes with faults (of some *kinds*) from normal ones, as the AUC."""
    normal = [minute for minute in minutes if not minute.fault]
    faulty = [minute for minute in minutes if minute.fault and (kinds is None or minute.fault in kinds)]

    def shares(of: Sequence[Minute], name: str) -> Floats:
        return np.array([one.share[name] for one in of])

    names = normal[0].share if normal and faulty else ()
    return {name: auc(shares(normal, name), shares(faulty, name)).value for name in names}


def _both(online_boutique: float, train_ticket: float) -> dict[str, float]:
    return {"online_boutique": online_boutique, "train_ticket": train_ticket}


_CLEAN: Final = (PAIRS, UNSEEN, TREE, NGRAM)
_FOUND: Final = (*_CLEAN, QUANTILE)
ROWS: Final = (
    Row("structure, strict injection, k = 1", _both(0.99, 0.96), _mean("structure, k = 1"), (NGRAM,)),
    Row("structure, strict injection, k = 3", _both(0.999, 0.997), _mean("structure, k = 3"), (NGRAM,)),
    *(
        Row(
            f"the paper's response times, {share:.1%} of spans marked",
            _both(*wanted),
            _mean(f"response_time, {share:.1%} of spans"),
            (QUANTILE,),
        )
        for share, wanted in ((0.05, (0.92, 0.96)), (0.01, (0.72, 0.90)), (0.001, (0.40, 0.60)))
    ),
    Row("clean traces marked, another block of time", _both(0.02, 0.04), _mean("clean marked"), _CLEAN, most=True),
    Row("clean traces marked, among injected ones", {}, _mean("clean marked among injected"), most=True),
    *(Row(f"{kind}: found", _both(0.99, 0.95), _mean(f"found {kind}"), _FOUND) for kind in STRUCTURAL),
    Row("all five kinds together: found", _both(0.99, 0.95), _mean("found structure"), _FOUND),
    Row("likewise, of trees that training did not show", {}, _mean("found structure, new"), _CLEAN),
    Row("stalls: found", _both(0.90, 0.75), _mean("found stall"), _FOUND),
    Row(
        "slowdowns of one span: found, to the best rule", _both(1.5, 1.5), _mean("found slowdown"), _FOUND, against=True
    ),
    Row("marked span is the injected one", _both(0.95, 0.90), _mean("located")),
    *(Row(f"likewise, {kind}", {}, _mean(f"located {kind}")) for kind in (*STRUCTURAL, "stall")),
    Row("real faults: AUC of a minute, all", {"online_boutique": 0.95}, _area(None), (QUANTILE,), unit=""),
    Row("real faults: AUC of a minute, cpu and network", {"train_ticket": 0.85}, _area(VISIBLE), (QUANTILE,), unit=""),
    Row("root cause: service ranked first", _both(0.90, 0.50), _mean("root cause first")),
    Row("root cause: service in the first three", {"online_boutique": 0.97}, _mean("root cause in three")),
    Row("root cause first, cpu and network", {"train_ticket": 0.95}, _mean("root cause first, cpu and network")),
    Row("likewise, in the first three", {"train_ticket": 1.0}, _mean("root cause in three, cpu and network")),
    Row("training, s", {"online_boutique": 300.0}, _mean("training, s"), most=True, unit="s"),
    Row("CPU a trace, µs", _both(50.0, 50.0), _mean("CPU a trace, µs"), most=True, unit="µs"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """A row as measured.

    Attributes:
        row: of the table.
        seeds: the detector's figure of each seed.
        beside: the rules' means.
        target: what was wanted, if anything.
        fair: the rules that mark no more normal traces than the detector.
    """

    row: Row
    seeds: tuple[float, ...]
    beside: Mapping[str, float]
    target: float | None
    fair: frozenset[str]

    @property
    def value(self) -> float:
        """The mean over seeds; of a row against a rule, the ratio of the means."""
        mean = float(np.mean(self.seeds))
        if not self.row.against:
            return mean
        best = max((share for name, share in self.beside.items() if name in self.fair), default=0.0)
        return mean / best if best else float("inf")

    @property
    def met(self) -> bool | None:
        """Whether the target is met, if there is one."""
        if self.target is None:
            return None
        return self.value <= self.target if self.row.most else self.value >= self.target

    @property
    def better(self) -> str | None:
        """The rule that does better than the detector while it marks no more normal traces, if there is one."""
        if self.row.most:
            return None
        found = {name: share for name, share in self.beside.items() if name in self.fair}
        best = max(found, key=lambda name: found[name], default=None)
        return best if best and found[best] > float(np.mean(self.seeds)) else None


def lines(system: str, seeds: Sequence[Sequence[Figures]], rows: Sequence[Row] = ROWS) -> list[Line]:
    """Put the figures of all *seeds* (each a sequence of blocks) into rows; a row without a figure is left out."""
    out = []
    clean = [_mean("clean marked")(blocks) for blocks in seeds]
    marked = {name: float(np.mean([one[name] for one in clean])) for name in (clean[0] if clean else ())}
    fair = frozenset(name for name, share in marked.items() if share <= marked[DETECTOR])
    for row in rows:
        figures = [row.figure(blocks) for blocks in seeds]
        ours = tuple(figure[DETECTOR] for figure in figures if DETECTOR in figure)
        if not ours:
            continue
        names = dict.fromkeys(name for figure in figures for name in figure if name != DETECTOR)
        means = {name: float(np.mean([figure[name] for figure in figures if name in figure])) for name in names}
        beside = {name: means[name] for name in row.rules if name in means}
        quantiles = {name: share for name, share in means.items() if name.startswith(QUANTILE)}
        if QUANTILE in row.rules and quantiles:
            best = max(quantiles, key=lambda name: quantiles[name])
            beside[best] = quantiles[best]
        out.append(Line(row, ours, beside, row.targets.get(system), fair))
    return out


def text(system: str, found: Sequence[Line]) -> str:
    """Lay the lines of one system out as text."""
    out = [f"{system:<58}{'mean':>8}  {'min - max':<15}{'target':>8}  {'':<7} plain rules on the same traces"]
    for line in found:
        row = line.row
        spread = f"{_number(min(line.seeds), row)} - {_number(max(line.seeds), row)}"
        target, verdict = "", ""
        if line.target is not None:
            sign = "≤" if row.most else "≥"
            target = f"{sign} {line.target:.3g}x" if row.against else f"{sign} {_number(line.target, row)}"
            verdict = "met" if line.met else "MISSED"
        beside = ", ".join(f"{name} {_number(share, row)}" for name, share in line.beside.items())
        title = f"{row.title} ({line.value:.2f}x)" if row.against else row.title
        better = f"  <- {line.better} is better" if line.better else ""
        out.append(
            f"{title:<58}{_number(float(np.mean(line.seeds)), row):>8}  {spread:<15}{target:>8}  {verdict:<7} {beside}{better}".rstrip()
        )
    return "\n".join(out)


def _number(value: float, row: Row) -> str:
    if row.unit == "%":
        return f"{100 * value:.1f}" if value < 0.995 or value == 1.0 else f"{100 * value:.2f}"
    return f"{value:.3f}" if not row.unit else f"{value:.0f}"


def document(found: Sequence[Line]) -> list[dict[str, object]]:
    """Give the lines as JSON has them."""
    return [
        {
            "what": line.row.title,
            "value": line.value,
            "seeds": list(line.seeds),
            "target": line.target,
            "met": line.met,
            "rules": dict(line.beside),
        }
        for line in found
    ]
