"""What is usual in normal traffic, and how much a minute differs from another: what a window is compared with.

The mean of a minute differs from the overall mean by chance, the less the more spans it has, and by itself: load, caches,
neighbours. The second part is a variance of its own (a random effect, DerSimonian and Laird 1986), measured over the
minutes of normal traffic. Where there are few minutes it leans on what all labels have in common.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from otel_tracead.artifact.traffic_norms import COLUMNS, STEP_COLUMNS, TrafficNorms
from otel_tracead.detection.path_learning import call_name
from otel_tracead.detection.traffic_sums import NOTHING, Key, Split, Sum, TrafficSums
from otel_tracead.errors import ArtifactError
from otel_tracead.traces.dictionary import Dictionary
from otel_tracead.traces.encoding import Events, select
from otel_tracead.traces.labels import CALLEE, stem

Floats = npt.NDArray[np.float64]

FEWEST: Final = 5
"""Cases from which on something counts as known."""
_PRIOR_CASES: Final = 4.0  # spans that the variance of all labels together stands for
_PRIOR_MINUTES: Final = 5.0  # minutes that the common wander stands for
_WANDER: Final = 0.03**2  # decades; 7 %: what is assumed where no minute is there to tell
_WANDER_MINUTES: Final = 20.0  # that this assumption stands for
_FIRST_LABEL: Final = 2  # after `!0` and `!rare`
_ADDED_TOGETHER: Final = 200  # traces

Step = tuple[str, str | None, str | None]
"""A caller's call, the call before (None = none yet), and the call that came (None = the end)."""


class Norm(NamedTuple):
    """What is usual of one thing.

    Attributes:
        cases: how many spans (callers, of a step) it was measured on.
        mean: of log10(1 + own work in µs), or a share.
        variance: of one span; of shares, of one case on the scale of `angle`, which is 1.
        wander: variance of a minute's mean beyond what chance explains; of shares, on the scale of `angle`.
        minutes: how many minutes told so, less one.
    """

    cases: float
    mean: float
    variance: float
    wander: float
    minutes: float


def angle(share: Floats | float) -> Floats:
    """Give a share on a scale on which one case has the variance 1 whatever the share (Fisher's arcsine): 0 to π."""
    return np.asarray(2.0 * np.arcsin(np.sqrt(np.clip(share, 0.0, 1.0))))


@dataclass(slots=True)
class Norms:
    """What is usual.

    Attributes:
        times: by label.
        steps: by step.
        failures: by stem: of the share of calls that fail on their own.
        followers: of a context (caller's call, call before), what comes and in which share.
        contexts: of a context, how often it came.
        callees: by stem, the service that such a call reaches when it is taken.
    """

    times: dict[str, Norm]
    steps: dict[Step, Norm]
    failures: dict[str, Norm]
    followers: dict[tuple[str, str | None], dict[str | None, float]] = field(init=False)
    contexts: dict[tuple[str, str | None], float] = field(init=False)
    callees: dict[str, str] = field(init=False)
    _time_wander: float = field(init=False)
    _share_wander: float = field(init=False)

    def __post_init__(self) -> None:
        """Derive what follows from the rest."""
        self.followers, self.contexts, self.callees = defaultdict(dict), {}, {}
        for (caller, before, came), norm in self.steps.items():
            self.followers[caller, before][came] = norm.mean
            self.contexts[caller, before] = norm.cases
        for label in self.times:
            _, arrow, service = label.partition(CALLEE)
            if arrow:
                self.callees.setdefault(stem(label), service)
        self._time_wander = _common(self.times.values())
        self._share_wander = _common((*self.steps.values(), *self.failures.values()))

    def time_variance(self, norm: Norm, cases: float) -> float:
        """Give the variance of the difference between a window's mean of *cases* spans and the usual mean."""
        return _leaning(norm, self._time_wander) + norm.variance / cases + norm.variance / norm.cases

    def share_variance(self, norm: Norm, cases: float) -> float:
        """Give the same for a share, on the scale of `angle`."""
        return _leaning(norm, self._share_wander) + 1.0 / cases + 1.0 / norm.cases


def _common(norms: Iterable[Norm]) -> float:
    rows = np.array([(norm.wander, norm.minutes) for norm in norms]).reshape(-1, 2)
    told = rows[:, 0] @ rows[:, 1]
    return float((_WANDER * _WANDER_MINUTES + told) / (_WANDER_MINUTES + rows[:, 1].sum()))


def _leaning(norm: Norm, common: float) -> float:
    return (_PRIOR_MINUTES * common + norm.minutes * norm.wander) / (_PRIOR_MINUTES + norm.minutes)


def measure(sums: TrafficSums) -> Norms:
    """Measure what is usual from sums of normal traffic that are split by time.

    Raises:
        ValueError: they are split by something else.
    """
    if sums.split is not Split.TIME:
        raise ValueError(f"norms are measured from sums that are split by time, not by {sums.split}")
    names = list(sums.names)
    times = {names[key[0]]: blocks for key, blocks in _by_thing(sums.times).items()}
    failures = {names[key[0]]: blocks for key, blocks in _by_thing(sums.failures).items()}
    return Norms(
        _times(times), _steps(sums, names), {one: _share(rows[:, 0], rows[:, 1]) for one, rows in failures.items()}
    )


def _by_thing(sums: dict[Key, Sum]) -> dict[tuple[int, int, int], Floats]:
    """Gather the sums of each thing over its blocks: count, total, squares `[blocks, 3]`."""
    rows: dict[tuple[int, int, int], list[tuple[float, float, float]]] = defaultdict(list)
    for key, one in sums.items():
        rows[key[:3]].append((one.count, one.total, one.squares))
    return {key: np.array(blocks) for key, blocks in rows.items()}


def _times(blocks: dict[str, Floats]) -> dict[str, Norm]:
    within = {one: (rows[:, 2] - rows[:, 1] ** 2 / rows[:, 0]).sum() for one, rows in blocks.items()}
    freedom = {one: rows[:, 0].sum() - len(rows) for one, rows in blocks.items()}
    common = max(sum(within.values()) / max(sum(freedom.values()), 1.0), 1e-4)
    out = {}
    for one, rows in blocks.items():
        cases = rows[:, 0].sum()
        mean = float(rows[:, 1].sum() / cases)
        variance = float((max(within[one], 0.0) + _PRIOR_CASES * common) / (freedom[one] + _PRIOR_CASES))
        wander = _wander(rows[:, 0], rows[:, 1] / rows[:, 0] - mean, variance)
        out[one] = Norm(float(cases), mean, variance, wander, len(rows) - 1.0)
    return out


def _steps(sums: TrafficSums, names: list[str]) -> dict[Step, Norm]:
    callers: dict[tuple[int, int, int], int] = defaultdict(int)
    counts: dict[tuple[int, int, int], dict[int, int]] = defaultdict(dict)
    blocks: dict[tuple[int, int], set[int]] = defaultdict(set)
    for (caller, before, came, block, _), one in sums.steps.items():
        callers[caller, before, block] += one.count
        counts[caller, before, came][block] = one.count
        blocks[caller, before].add(block)

    def name(number: int) -> str | None:
        return None if number == NOTHING else names[number]

    out = {}
    for (caller, before, came), count in counts.items():
        own = sorted(blocks[caller, before])
        cases = np.array([float(callers[caller, before, block]) for block in own])
        hits = np.array([float(count.get(block, 0)) for block in own])
        out[names[caller], name(before), name(came)] = _share(cases, hits)
    return out


def _share(cases: Floats, hits: Floats) -> Norm:
    share = float(hits.sum() / cases.sum())
    wander = _wander(cases, angle(hits / cases) - angle(share), 1.0)
    return Norm(float(cases.sum()), share, 1.0, wander, len(cases) - 1.0)


def _wander(cases: Floats, difference: Floats, variance: float) -> float:
    """Give the variance of the blocks' means beyond chance (DerSimonian and Laird's estimate)."""
    weight = cases / variance
    beyond = weight @ difference**2 - (len(cases) - 1)
    scale = weight.sum() - (weight @ weight) / weight.sum()
    return max(0.0, float(beyond / scale)) if len(cases) > 1 and scale > 0 else 0.0


def learn(events: Events, dictionary: Dictionary) -> TrafficNorms:
    """Learn what is usual from the events of normal traces, for an artifact."""
    sums = TrafficSums(Split.TIME)
    for begin in range(0, events.traces, _ADDED_TOGETHER):
        sums.add(select(events, np.arange(begin, min(begin + _ADDED_TOGETHER, events.traces))))
    return pack(measure(sums), dictionary)


def _names(dictionary: Dictionary) -> tuple[list[str], list[str]]:
    """Give all calls and all stems that the labels of a dictionary make, in a fixed order."""
    labels = (*dictionary.labels[_FIRST_LABEL:], *dictionary.rare)
    return sorted({call_name(one) for one in labels}), sorted({stem(one) for one in labels})


def pack(norms: Norms, dictionary: Dictionary) -> TrafficNorms:
    """Put norms into the tables of an artifact; of labels that are too rare for the dictionary no times are kept."""
    calls, stems = _names(dictionary)
    number: dict[str | None, int] = {None: NOTHING} | {one: index for index, one in enumerate(calls)}
    nothing = Norm(0.0, 0.0, 0.0, 0.0, 0.0)
    steps = sorted(
        (tuple(number[one] for one in step), norm)
        for step, norm in norms.steps.items()
        if all(one in number for one in step)
    )
    return TrafficNorms(
        times=_table(norms.times.get(label, nothing) for label in dictionary.labels),
        steps=np.array([step for step, _ in steps], np.int64).reshape(-1, STEP_COLUMNS),
        step_norms=_table(norm for _, norm in steps),
        failures=_table(norms.failures.get(one, nothing) for one in stems),
    )


def _table(norms: Iterable[Norm]) -> Floats:
    return np.array(list(norms), np.float64).reshape(-1, COLUMNS)


def unpack(tables: TrafficNorms, dictionary: Dictionary) -> Norms:
    """Give the norms that an artifact holds.

    Raises:
        ArtifactError: they are not its dictionary's.
    """
    calls, stems = _names(dictionary)
    if len(tables.failures) != len(stems) or bool((tables.steps >= len(calls)).any()):
        raise ArtifactError("calibration.npz: the norms of calls are not those of the dictionary")

    def name(number: int) -> str | None:
        return None if number == NOTHING else calls[number]

    def known(names: Iterable[str], rows: Floats) -> dict[str, Norm]:
        return {one: Norm(*row) for one, row in zip(names, rows.tolist(), strict=True) if row[0]}

    steps = zip(tables.steps.tolist(), tables.step_norms.tolist(), strict=True)
    return Norms(
        times=known(dictionary.labels, tables.times),
        steps={(calls[caller], name(before), name(came)): Norm(*row) for (caller, before, came), row in steps},
        failures=known(stems, tables.failures),
    )
