"""Which faults strike during a soak, and when: drawn from a seed beforehand; pure."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """A fault."""

    AWAY = "backend away"
    SLOW = "backend slow"
    NONSENSE = "backend answers nonsense"
    CUT = "connections to the backend cut"
    RELOAD = "SIGHUP with another configuration"
    FROZEN = "SIGSTOP, then SIGCONT"
    MODEL = "model replaced"
    GIANT = "giant trace"
    BAD = "broken and forbidden requests"
    SLOW_CLIENTS = "clients that send a byte at a time"
    KILLED = "SIGKILL"


LASTS: Final[dict[Kind, tuple[float, float]]] = {
    Kind.AWAY: (3, 30),
    Kind.SLOW: (5, 30),
    Kind.NONSENSE: (3, 15),
    Kind.CUT: (0, 0),
    Kind.RELOAD: (0, 0),
    Kind.FROZEN: (0.5, 4),
    Kind.MODEL: (0, 0),
    Kind.GIANT: (0, 0),
    Kind.BAD: (1, 5),
    Kind.SLOW_CLIENTS: (5, 20),
    Kind.KILLED: (0, 0),
}
"""How long each lasts, seconds; each time something in between. A stage that is frozen answers nobody: not longer than exporters wait."""

CUTTING: Final = frozenset({Kind.AWAY, Kind.NONSENSE, Kind.CUT})
"""They break connections; what a stage that is frozen meanwhile has not read of answers is gone, and it rightly sends again."""

_TOGETHER: Final = 0.25
_CALM: Final = (0.5, 1.5)


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One of them.

    Attributes:
        at: seconds from the start.
        lasts: seconds.
        kind: what it is.
    """

    at: float
    lasts: float
    kind: Kind

    @property
    def end(self) -> float:
        """When it is over."""
        return self.at + self.lasts


def drawn(seed: int, begin: float, end: float, every: float, kinds: list[Kind]) -> list[Fault]:
    """Draw faults between *begin* and *end*, in order of time.

    Every kind comes once before any comes again. Most strike alone; one in four begins with the next one, but nothing breaks the
    connections of a stage that is frozen.

    Args:
        seed: what they are drawn from.
        begin: seconds from the start.
        end: likewise; no fault lasts longer.
        every: seconds from one to the next, about.
        kinds: which there are.
    """
    chance = random.Random(seed)
    found: list[Fault] = []
    hat: list[Kind] = []
    at = begin + every * chance.uniform(0, 1)
    while at < end and kinds:
        if not hat:
            hat = chance.sample(kinds, len(kinds))
        kind = hat.pop()
        at = max([at, *(other.end + every * _CALM[0] for other in found if _apart(other, at, kind))])
        fault = Fault(at, chance.uniform(*LASTS[kind]), kind)
        if fault.end > end:
            break
        found.append(fault)
        if chance.random() >= _TOGETHER:
            at = max(at, fault.end) + every * chance.uniform(*_CALM)
    return sorted(found)


def _apart(other: Fault, at: float, kind: Kind) -> bool:
    """Say whether a fault of *kind* may not begin at *at* because of another one."""
    both = {other.kind, kind}
    return other.end >= at and Kind.FROZEN in both and not CUTTING.isdisjoint(both)


def all_struck(faults: Sequence[Fault]) -> float:
    """Give when every kind has struck once and is over, seconds from the start; 0 without faults."""
    first: dict[Kind, float] = {}
    for fault in faults:
        first.setdefault(fault.kind, fault.end)
    return max(first.values(), default=0.0)


def events(times: Sequence[float], faults: Sequence[Fault], before: float) -> list[tuple[float, int, list[str]]]:
    """Gather what happened at *times* into events, each with the faults that may be its cause.

    Args:
        times: seconds from the start.
        faults: that struck.
        before: an event begins so many seconds after the one before, and a fault counts for so many after its end.

    Returns:
        The seconds at which each began, how much happened, and the names of the faults.
    """
    found: list[list[float]] = []
    for at in sorted(times):
        if found and at - found[-1][-1] < before:
            found[-1].append(at)
        else:
            found.append([at])
    return [
        (
            event[0],
            len(event),
            [one.kind.value for one in faults if one.at <= event[-1] and event[0] < one.end + before],
        )
        for event in found
    ]
