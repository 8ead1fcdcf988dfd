"""Which service is the root cause of what changed in a window: each is a hypothesis, and the evidence for it is summed up.

If a service is at fault, some share of what it takes part in has changed: its own work, the calls to it, the calls that it
makes. That share is not known and is integrated over, so that a service of which everything changed comes before one
of which one edge in ten did, which is how an edge's two ends are told apart. A single change is weighed by a Bayes factor: a
shift of the size of a fault against the wander of normal minutes, both with the heavy tails that minutes of real
traffic have (measured: 1 % of normal shifts are beyond 5 standard deviations).

A window of another day differs from training in every label. That is measured in the window itself: most labels have
nothing to do with the fault, so what half of them differ by is drift, and is added to the variance of all (the empirical
null of Efron, 2004).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import combinations
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, logsumexp

from otel_tracead.detection.changes import Change, What, by_instance, changes
from otel_tracead.detection.norms import Norms
from otel_tracead.detection.traffic_sums import TrafficSums

Floats = npt.NDArray[np.float64]

STANDS_OUT: Final = 1.0
"""Score from which on a service stands out: odds of ten to one against chance."""
_MOST_EVIDENCE: Final = 10
_TIME_FREEDOM: Final = 4.0  # of Student's t: how heavy the tails of normal shifts are, of times
_SHARE_FREEDOM: Final = 8.0  # and of shares
_TIME_FAULT: Final = 0.5  # decades: the size of a shift that a fault makes, a factor of three
_SHARE_FAULT: Final = 1.5  # half of the whole scale
_SHARES: Final = (np.arange(40) + 0.5) / 40  # of what a service takes part in that have changed
_MEDIAN: Final = 0.741  # of the absolute value of Student's t with 4 degrees of freedom
_MOST_DRIFT: Final = 4.0
_HALVINGS: Final = 40
_DECADE: Final = float(np.log(10.0))


@dataclass(frozen=True, slots=True)
class Evidence:
    """A change that speaks for a service.

    Attributes:
        change: the change.
        strength: how much more likely it is if the service is at fault, in decades.
    """

    change: Change
    strength: float


@dataclass(frozen=True, slots=True)
class RankedService:
    """A service and what speaks for it.

    Attributes:
        service: its name.
        score: decades by which all evidence together is more likely if it is at fault; 0 = nothing speaks for it.
        instances: its instances, worst first.
        evidence: what speaks for it, strongest first.
    """

    service: str
    score: float
    instances: tuple[str, ...]
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Ranking:
    """The services of a window, best candidate first.

    Attributes:
        services: all of them.
        unknown: share of the window's spans that cannot be compared, because nothing is known of their label.
    """

    services: tuple[RankedService, ...]
    unknown: float


def rank(window: TrafficSums, norms: Norms) -> Ranking:
    """Rank the services of a window.

    Args:
        window: its sums, split by instance.
        norms: what is usual.
    """
    found = changes(window, norms)
    drift = _drift(found)
    strengths = dict(zip((one.place for one in found), _strengths(found, drift), strict=True))
    of_service: dict[str, list[Change]] = {service: [] for service, _ in window.processes}
    for one in found:
        for suspect in one.suspects:
            of_service.setdefault(suspect, []).append(one)
    support = {
        service: _support(service, own, [strengths[one.place] for one in own])
        for service, own in sorted(of_service.items())
    }
    instances = _instances(window, norms, found, {service for service, one in support.items() if one.score > 0}, drift)
    ranked = []
    for service in sorted(support, key=lambda one: support[one], reverse=True):
        speaking = [Evidence(one, strengths[one.place] / _DECADE) for one in of_service[service]]
        speaking = [one for one in speaking if one.strength > 0]
        speaking.sort(key=lambda one: (-one.strength, str(one.change.place)))
        ranked.append(
            RankedService(service, support[service].score, instances.get(service, ()), tuple(speaking[:_MOST_EVIDENCE]))
        )
    names = list(window.names)
    known = sum(one.count for key, one in window.times.items() if names[key[0]] in norms.times)
    return Ranking(tuple(ranked), 1.0 - known / max(window.spans, 1))


class _Support(NamedTuple):
    """How well a service explains what changed; the greater the better.

    Attributes:
        score: decades of the evidence for it, of times and of structure where each speaks for it.
        rest: of those that speak against it: of services with the score 0, those come first that are least cleared by it.
    """

    score: float
    rest: float


def _support(service: str, found: Sequence[Change], strengths: Sequence[float]) -> _Support:
    parts: dict[_Part, list[float]] = defaultdict(list)
    for one, strength in zip(found, strengths, strict=True):
        parts[_part(service, one)].append(strength)
    structure = parts.pop(_Part.STRUCTURE, [])
    sums = []
    if parts:
        each = [_share_of_all(one) for one in parts.values()]
        faults = [sum(some) for size in range(1, len(each) + 1) for some in combinations(each, size)]
        sums.append(_mean(faults))
    if structure:
        # A broken process may take one wrong turn only.
        sums.append(_mean([_share_of_all(structure), _mean(structure)]))
    return _Support(
        score=sum(max(one, 0.0) for one in sums) / _DECADE, rest=sum(min(one, 0.0) for one in sums) / _DECADE
    )


class _Part(Enum):
    """What a service takes part in; a fault may touch each or not: a slow network the calls to it, and none of its work."""

    OWN_WORK = auto()
    CALLED = auto()
    CALLING = auto()
    STRUCTURE = auto()


def _part(service: str, change: Change) -> _Part:
    if not change.is_time:
        return _Part.STRUCTURE
    if change.what is What.OWN_WORK:
        return _Part.OWN_WORK
    return _Part.CALLING if change.service == service else _Part.CALLED


def _mean(nats: Sequence[float]) -> float:
    """Give the log of the mean of what *nats* are logs of: it is not known which of them holds."""
    return float(logsumexp(nats) - np.log(len(nats)))


def _share_of_all(strengths: Sequence[float]) -> float:
    """Give how much more likely the changes are if an unknown share of them comes from a fault, in nats."""
    mixed = np.logaddexp(np.log1p(-_SHARES)[:, None], np.log(_SHARES)[:, None] + np.asarray(strengths))
    return _mean(mixed.sum(axis=1).tolist())


def _strengths(found: Sequence[Change], drift: float) -> list[float]:
    """Give how much more likely each change is if it comes from a fault than if not, in nats."""
    times = np.array([one.is_time for one in found], np.bool_)
    shift = np.array([one.shift for one in found])
    variance = np.array([one.variance for one in found]) + np.where(times, drift, 0.0)
    freedom = np.where(times, _TIME_FREEDOM, _SHARE_FREEDOM)
    fault = variance + np.where(times, _TIME_FAULT, _SHARE_FAULT) ** 2
    strength = _log_density(shift, fault, freedom) - _log_density(shift, variance, freedom)
    # What became faster, or fails less, is no fault. Calls may become more or fewer.
    one_sided = np.array([one.what is not What.NEXT for one in found], np.bool_)
    return [float(one) for one in np.where(one_sided & (shift < 0), np.minimum(strength, 0.0), strength)]


def _log_density(x: Floats, variance: Floats, freedom: Floats) -> Floats:
    """Give the log density of Student's t with a scale, at *x* `[n]`."""
    constant = gammaln((freedom + 1) / 2) - gammaln(freedom / 2) - 0.5 * np.log(freedom * np.pi * variance)
    return np.asarray(constant - (freedom + 1) / 2 * np.log1p(x * x / (variance * freedom)))


def _drift(found: Sequence[Change]) -> float:
    """Give the variance that half of the labels' shifts show beyond their own: another day, not a fault."""
    shift = np.array([one.shift for one in found if one.is_time])
    variance = np.array([one.variance for one in found if one.is_time])

    def too_far(drift: float) -> bool:
        return bool(np.median(np.abs(shift) / np.sqrt(variance + drift)) > _MEDIAN)

    if not len(shift) or not too_far(0.0):
        return 0.0
    low, high = 0.0, _MOST_DRIFT
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if too_far(middle) else (low, middle)
    return high


def _instances(
    window: TrafficSums, norms: Norms, found: Sequence[Change], wanted: set[str], drift: float
) -> dict[str, tuple[str, ...]]:
    """Rank the instances of each service; those of services that are not *wanted* by name."""
    names: dict[str, list[str]] = defaultdict(list)
    for service, instance in sorted(window.processes):
        names[service].append(instance)
    several = {service for service in wanted if len(names.get(service, ())) > 1}
    at = by_instance(found, several, window, norms)
    support: dict[tuple[str, str], _Support] = {}
    for process, seen in at.items():
        own = [one for one in seen if process[0] in one.suspects]
        support[process] = _support(process[0], own, _strengths(own, drift))
    nothing = _Support(0.0, -np.inf)
    return {
        service: tuple(sorted(own, key=lambda one: support.get((service, one), nothing), reverse=True))
        for service, own in names.items()
    }
