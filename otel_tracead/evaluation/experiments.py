"""The paper's two injections, and what one trained model makes of them and of clean traces (paper, section "Experiments").

Beside every recall stand its false alarms: the share of clean events and of clean traces that the same rule flags.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.evaluation.sequence_models import Forecast, SequenceModel
from otel_tracead.traces.windows import Windows

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

RANKS: Final = (1, 3, 5)
"""The values of k: a label that is not among the k most probable ones is an anomaly."""
SPAN_SHARES: Final = (0.05, 0.01, 0.001)
"""Shares of clean spans that may be flagged, at which all models are compared."""
INTERVAL: Final = 1.959964
"""Standard deviations at the ends of a Gaussian's central 95 %; only an error above the interval is an anomaly."""
_SLOWER: Final = (2.0, 5.0)


class Kind(StrEnum):
    """What was injected."""

    STRUCTURE = "structure"
    TIME = "response time"


class By(StrEnum):
    """What the traces of a row have in common."""

    ALL = "all"
    LENGTH = "length"
    POSITION = "position"


@dataclass(frozen=True, slots=True)
class Row:
    """How one model of one seed did by one rule on some of the traces.

    Attributes:
        model: as the tables name it.
        seed: of network, selection and injection.
        kind: what was injected.
        rule: what counts as flagged: `k = 1`, `95 % interval`, `1 % of spans`.
        by: what its traces have in common.
        at: the length, or the position; 0 for all.
        injected: how many anomalies.
        found: share of them whose event was flagged.
        strict: share of them whose event was flagged, and was not before the injection.
        clean_events: share of clean events that were flagged.
        clean_traces: share of clean traces with a flagged event; NaN by position.
    """

    model: str
    seed: int
    kind: Kind
    rule: str
    by: By
    at: int
    injected: int
    found: float
    strict: float
    clean_events: float
    clean_traces: float


@dataclass(frozen=True, slots=True)
class Injected:
    """Copies of windows with one anomaly each.

    Attributes:
        windows: the copies.
        position: the event that was changed, from 1: the first one has nothing before it to be forecast from `[n]`.
        source: the clean window of each copy `[n]`.
    """

    windows: Windows
    position: Ints
    source: Ints


def rule_of(k: int) -> str:
    """Name the structural rule."""
    return f"k = {k}"


def rule_at(share: float) -> str:
    """Name the rule that flags this share of clean spans."""
    return f"{100 * share:g} % of spans"


INTERVAL_RULE: Final = "95 % interval"


def replace_labels(windows: Windows, top: Ints, k: int, labels: Ints, random: np.random.Generator) -> Injected:
    """Replace the label at one position of each window by one that is not among the *k* most probable ones there.

    Args:
        windows: clean ones; those of one event are left out, and those where every label is among the *k*.
        top: most probable labels at each position, best first `[n, T, >= k]`.
        k: how many of them count as expected.
        labels: those that may come.
        random: source of chance.
    """
    source, position = _places(windows, random)
    expected = np.concatenate((top[source, position - 1, :k], windows.label[source, position][:, None]), axis=1)
    allowed = (labels[None, :, None] != expected[:, None, :]).all(axis=2)
    possible = allowed.any(axis=1)
    source, position, allowed = source[possible], position[possible], allowed[possible]
    chosen = labels[np.where(allowed, random.random(allowed.shape), -1.0).argmax(axis=1)] if len(source) else labels[:0]
    copies = windows.take(source)
    copies.label[np.arange(len(source)), position] = chosen
    return Injected(copies, position, source)


def prolong(windows: Windows, random: np.random.Generator) -> Injected:
    """Let one event of each window take 2 to 5 times its own response time longer.

    Windows of one event are left out, and events of 0 ms, since five times nothing is nothing.
    """
    source, position = _places(windows, random)
    time_ms = windows.time_ms[source, position]
    source, position, time_ms = source[time_ms > 0], position[time_ms > 0], time_ms[time_ms > 0]
    copies = windows.take(source)
    copies.time_ms[np.arange(len(source)), position] += time_ms * random.uniform(*_SLOWER, len(source))
    return Injected(copies, position, source)


def _places(windows: Windows, random: np.random.Generator) -> tuple[Ints, Ints]:
    """Choose one event behind the first of each window that has one."""
    source = np.flatnonzero(windows.length > 1)
    return source, random.integers(1, windows.length[source])


def measure(model: SequenceModel, clean: Windows, labels: Ints, seed: int) -> list[Row]:
    """Try *model* with both injections, as far as it knows labels and times.

    Args:
        model: a trained one.
        clean: windows that it was not trained on, taken for normal.
        labels: those that may be injected.
        seed: of the injections; recorded in the rows.
    """
    forecast = model.forecast(clean)
    return [
        *_structure(model, clean, forecast, labels, seed),
        *_time(model, clean, forecast, seed),
    ]


def _structure(model: SequenceModel, clean: Windows, forecast: Forecast, labels: Ints, seed: int) -> Iterator[Row]:
    if forecast.top is None or forecast.rank is None:
        return
    looked = clean.forecast
    for k in RANKS:
        # The same places for every model and k: only what is put there depends on them.
        injected = replace_labels(clean, forecast.top, k, labels, np.random.default_rng(seed))
        rank = model.forecast(injected.windows).rank
        if rank is None or not len(injected.source):
            continue
        flagged = forecast.rank >= k
        yield from _rows(
            model.name, seed, Kind.STRUCTURE, rule_of(k), clean, looked, flagged, injected, _at(rank, injected) >= k
        )


def _time(model: SequenceModel, clean: Windows, forecast: Forecast, seed: int) -> Iterator[Row]:
    if forecast.deviation is None:
        return
    injected = prolong(clean, np.random.default_rng(seed))
    deviation = model.forecast(injected.windows).deviation
    if deviation is None or not len(injected.source):
        return
    looked = clean.followed
    above = _at(deviation, injected)
    usual = forecast.deviation[looked]
    for rule, bound in (
        (INTERVAL_RULE, INTERVAL),
        *((rule_at(share), float(np.quantile(usual, 1.0 - share, method="higher"))) for share in SPAN_SHARES),
    ):
        flagged = forecast.deviation > bound
        yield from _rows(model.name, seed, Kind.TIME, rule, clean, looked, flagged, injected, above > bound)


def _at(values: npt.NDArray[np.float64] | Ints, injected: Injected) -> npt.NDArray[np.float64] | Ints:
    """Give what was said of the changed events: a forecast stands one position before its event."""
    return values[np.arange(len(injected.source)), injected.position - 1]


def _rows(
    model: str,
    seed: int,
    kind: Kind,
    rule: str,
    clean: Windows,
    looked: Bools,
    flagged: Bools,
    injected: Injected,
    found: Bools,
) -> Iterator[Row]:
    flagged = flagged & looked
    before = flagged[injected.source, injected.position - 1]
    strict = found & ~before
    length = clean.length[injected.source]

    def row(by: By, at: int, chosen: Bools, clean_events: float, clean_traces: float) -> Row:
        return Row(
            model=model,
            seed=seed,
            kind=kind,
            rule=rule,
            by=by,
            at=at,
            injected=int(chosen.sum()),
            found=float(found[chosen].mean()),
            strict=float(strict[chosen].mean()),
            clean_events=clean_events,
            clean_traces=clean_traces,
        )

    yield row(By.ALL, 0, np.ones(len(found), np.bool_), _share(flagged, looked), _traces(clean, flagged))
    for at in np.unique(length).tolist():
        own = clean.length == at
        yield row(By.LENGTH, at, length == at, _share(flagged[own], looked[own]), _traces(clean, flagged, own))
    for at in np.unique(injected.position).tolist():
        column = slice(at - 1, at)
        share = _share(flagged[:, column], looked[:, column])
        yield row(By.POSITION, at, injected.position == at, share, float("nan"))


def _share(flagged: Bools, looked: Bools) -> float:
    return float(flagged[looked].mean()) if looked.any() else float("nan")


def _traces(clean: Windows, flagged: Bools, windows: Bools | None = None) -> float:
    """Give the share of traces with a flagged event; a trace may have been cut into several windows."""
    trace, anomalous = clean.trace, np.asarray(flagged.any(axis=1))
    if windows is not None:
        trace, anomalous = trace[windows], anomalous[windows]
    _, index = np.unique(trace, return_inverse=True)
    return float((np.bincount(index, weights=anomalous) > 0).mean())
