"""How a window of traffic differs from what is usual: every label's own work, every caller's next call, every failure.

A change concerns one or two services. Own work is its service's. A call's time is an edge's (PAPER: a client span tells of
the edge caller to callee), so both of its ends are suspects until other evidence settles it. After calls that ended too
early the callee of the last one is a suspect, unless that call did not fail and the callee's own calls went on as usual:
then its caller gave up by itself. If the callee's own calls changed, what the caller did follows from it.
"""

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum, auto
from typing import Final

from scipy.special import xlogy

from otel_tracead.detection.norms import FEWEST, Norm, Norms, angle
from otel_tracead.detection.traffic_sums import Sum, TrafficSums
from otel_tracead.traces.labels import CALLEE, stem

Process = tuple[str, str]
"""A service and one of its instances."""
_NOBODY: Final[Process] = ("", "")
_NEW: Final = Norm(0.0, 0.0, 1.0, 0.0, 0.0)
_CHANGED: Final = 4.0  # standard deviations from which on a service's own calls are said to have changed
_FOLLOWS: Final = 0.5  # share of the cases from which on a call is said to follow another as a rule


class What(StrEnum):
    """What changed."""

    OWN_WORK = "own_work"
    CALL = "call"
    NEXT = "next"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Change:
    """A difference between the window and what is usual.

    Attributes:
        what: kind of change.
        label: whose: a span's label, a caller's call or a call's stem.
        service: of the spans.
        callee: the service that they called, or an empty string.
        suspects: services that may have caused it.
        count: spans in the window.
        usual: log10(1 + own work in µs), or a share.
        seen: the same in the window.
        shift: the difference; of shares, on the scale of `angle`, with its sign.
        variance: of the shift, if nothing has changed.
        after: of a next call: the call before, None = none.
        comes: the call that came in its place, None = the end.
        instead_of: the call that usually comes there.
    """

    what: What
    label: str
    service: str
    callee: str
    suspects: tuple[str, ...]
    count: int
    usual: float
    seen: float
    shift: float
    variance: float
    after: str | None = None
    comes: str | None = None
    instead_of: str | None = None

    @property
    def place(self) -> tuple[What, str, str | None, str, str]:
        """What changed, of whom: no two changes of a window have the same."""
        return self.what, self.label, self.after, self.service, self.callee

    @property
    def is_time(self) -> bool:
        """Say whether it is about response time, not structure."""
        return self.what in (What.OWN_WORK, What.CALL)


_Names = tuple[str, str | None, str | None]


class _Kind(Enum):
    TIMES = auto()
    STEPS = auto()
    FAILURES = auto()


@dataclass(slots=True)
class _Window:
    """The sums of a window by name.

    Attributes:
        times: (label, service, callee) -> sum.
        steps: (caller, before, service, callee of the call before) -> what came -> how often.
        failures: (stem, service, callee) -> sum.
    """

    times: dict[tuple[str, str, str], Sum] = field(default_factory=lambda: defaultdict(Sum))
    steps: dict[tuple[str, str | None, str, str], dict[str | None, int]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(int))
    )
    failures: dict[tuple[str, str, str], Sum] = field(default_factory=lambda: defaultdict(Sum))

    def add(self, kind: _Kind, names: _Names, one: Sum, service: str, callee: str) -> None:
        """Add a sum of what *service* did, calling *callee* (or nobody: "")."""
        if kind is _Kind.STEPS:
            self.steps[names[0], names[1], service, callee][names[2]] += one.count
        else:
            table = self.times if kind is _Kind.TIMES else self.failures
            table[names[0], service, callee].add(one.count, one.total, one.squares)


def changes(sums: TrafficSums, norms: Norms) -> list[Change]:
    """Give everything in the window that can be compared with what is usual.

    Args:
        sums: of the window, split by instance.
        norms: what is usual.
    """
    window = _Window()
    for kind, key, one, own, called in _by_process(sums):
        window.add(kind, key, one, own[0], called[0])
    return _settled(list(_compared(window, norms)))


def by_instance(
    found: Iterable[Change], services: Container[str], sums: TrafficSums, norms: Norms
) -> dict[Process, list[Change]]:
    """Give the changes *found* as they show at each instance of *services*: in its own spans, and where it was called."""
    windows: dict[Process, _Window] = defaultdict(_Window)
    for kind, key, one, own, called in _by_process(sums):
        for process in {own, called}:
            if process[0] in services:
                windows[process].add(kind, key, one, own[0], called[0])
    suspects = {one.place: one.suspects for one in found}
    return {
        process: [
            replace(one, suspects=suspects[one.place]) for one in _compared(window, norms) if one.place in suspects
        ]
        for process, window in windows.items()
    }


def _by_process(sums: TrafficSums) -> Iterator[tuple[_Kind, _Names, Sum, Process, Process]]:
    names, processes = [*sums.names, None], [*sums.processes, _NOBODY]  # the last ones are NOTHING
    for kind, table in ((_Kind.TIMES, sums.times), (_Kind.STEPS, sums.steps), (_Kind.FAILURES, sums.failures)):
        for (a, b, c, own, called), one in table.items():
            yield kind, (names[a] or "", names[b], names[c]), one, processes[own], processes[called]


def _compared(window: _Window, norms: Norms) -> Iterator[Change]:
    for (label, service, callee), one in window.times.items():
        norm = norms.times.get(label)
        if norm is not None and norm.cases >= FEWEST:
            yield _time(label, service, callee, one, norm, norms)
    for (caller, before, service, callee), came in window.steps.items():
        if norms.contexts.get((caller, before), 0.0) >= FEWEST:
            yield _next(caller, before, service, callee, came, norms)
    for (call, service, callee), one in window.failures.items():
        norm = norms.failures.get(call)
        if norm is not None and norm.cases >= FEWEST and (one.total or norm.mean):
            yield _failure(call, service, callee, one, norm, norms)


def _suspects(service: str, callee: str) -> tuple[str, ...]:
    return (service, callee) if callee and callee != service else (service,)


def _time(label: str, service: str, callee: str, one: Sum, norm: Norm, norms: Norms) -> Change:
    seen = one.total / one.count
    return Change(
        what=What.CALL if callee else What.OWN_WORK,
        label=label,
        service=service,
        callee=callee,
        suspects=_suspects(service, callee),
        count=one.count,
        usual=norm.mean,
        seen=seen,
        shift=seen - norm.mean,
        variance=norms.time_variance(norm, one.count),
    )


def _failure(call: str, service: str, callee: str, one: Sum, norm: Norm, norms: Norms) -> Change:
    shift, variance = _share_shift(one.total, one.count, norm, norms)
    return Change(
        what=What.FAILURE,
        label=call,
        service=service,
        callee=callee,
        suspects=_suspects(service, callee or norms.callees.get(call, "")),
        count=one.count,
        usual=norm.mean,
        seen=one.total / one.count,
        shift=shift,
        variance=variance,
    )


def _next(
    caller: str, before: str | None, service: str, callee: str, came: dict[str | None, int], norms: Norms
) -> Change:
    """Compare what came after the call *before* of a *caller*: what changed most stands for all of it."""
    followers, cases = norms.followers[caller, before], norms.contexts[caller, before]
    count = sum(came.values())
    shares = {one: came.get(one, 0) / count - followers.get(one, 0.0) for one in {*came, *followers}}
    compared = {}
    for one in shares:
        norm = norms.steps.get((caller, before, one), _NEW)._replace(cases=cases)
        compared[one] = _share_shift(came.get(one, 0), count, norm, norms)
    # Names break ties, so that the order of the input does not matter.
    strongest = max(compared, key=lambda one: (compared[one][0] ** 2 / compared[one][1], one or ""))
    comes = max(shares, key=lambda one: (shares[one], one or ""))
    instead_of = min(shares, key=lambda one: (shares[one], one or ""))
    shown = comes if shares[strongest] > 0 else instead_of
    shift, variance = compared[strongest]
    return Change(
        what=What.NEXT,
        label=caller,
        service=service,
        callee=callee,
        suspects=_suspects(service, _suspect(caller, callee, comes, instead_of, norms)),
        count=count,
        usual=followers.get(shown, 0.0),
        seen=came.get(shown, 0) / count,
        shift=shift,
        variance=variance,
        after=before,
        comes=comes,
        instead_of=instead_of,
    )


def _suspect(caller: str, callee: str, comes: str | None, instead_of: str | None, norms: Norms) -> str:
    """Give the service, beside the caller's, that may have made the caller go on as it did; "" = none."""
    if comes is not None and CALLEE not in comes and stem(comes) in norms.callees:
        return norms.callees[stem(comes)]  # a call that was not taken
    lost = _callee(instead_of)
    if lost and norms.followers.get((caller, instead_of), {}).get(comes, 0.0) >= _FOLLOWS:
        return lost  # one call was left out, and all went on as if it had been made
    if comes is None or (callee and _callee(comes) == callee):
        return callee  # the caller gave up after that call, or made it again
    return ""


def _callee(call: str | None) -> str:
    return (call or "").partition(CALLEE)[2]


def _share_shift(hits: float, count: float, norm: Norm, norms: Norms) -> tuple[float, float]:
    """Give the difference of two shares and its variance, on a scale on which their ratio is exact also for rare things.

    The difference of angles understates how unlikely it is that something with a share near 0 comes several times. The
    likelihood ratio does not: it is scaled by what the wander takes away.
    """
    share = (norm.mean * norm.cases + 0.5) / (norm.cases + 1.0)
    seen = hits / count
    variance = norms.share_variance(norm, count)
    shift = float(angle(seen) - angle(norm.mean))
    ratio = 2.0 * float(xlogy(hits, seen / share) + xlogy(count - hits, (1.0 - seen) / (1.0 - share)))
    z_squared = max(ratio, 0.0) / (count * variance)
    return shift, shift * shift / z_squared if z_squared > 0 and shift != 0 else variance


def _settled(found: list[Change]) -> list[Change]:
    """Let either the caller or the callee answer for calls that ended too early, where the callee's own calls tell."""
    own_calls: dict[str, float] = {}
    failing = set()
    for one in found:
        z = abs(one.shift) / one.variance**0.5
        if one.what is What.FAILURE and one.shift > 0 and z >= _CHANGED:
            failing.add((one.label, one.service, one.callee))
        if one.what is What.NEXT and not one.callee and (one.comes, one.instead_of) != (None, None):
            own_calls[one.service] = max(own_calls.get(one.service, 0.0), z)

    def settled(one: Change) -> Change:
        z = own_calls.get(one.callee)
        gave_up = one.what is What.NEXT and one.comes is None and one.suspects[1:] == (one.callee,)
        if not gave_up or z is None or (stem(one.after or ""), one.service, one.callee) in failing:
            return one
        return replace(one, suspects=one.suspects[1:] if z >= _CHANGED else one.suspects[:1])

    return [settled(one) for one in found]
