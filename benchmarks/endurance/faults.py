"""Which faults strike during a soak, and when: drawn from a seed beforehand; pure."""

import random
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

    Every kind comes once before any comes again. Most strike alone; one in four begins with the next one.

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
        fault = Fault(at, chance.uniform(*LASTS[kind]), kind)
        if fault.end > end:
            break
        found.append(fault)
        if chance.random() >= _TOGETHER:
            at = max(at, fault.end) + every * chance.uniform(*_CALM)
    return sorted(found)


def calm(at: float, faults: list[Fault], settle: float) -> bool:
    """Say whether no fault strikes at *at*, and none did in the *settle* seconds before."""
    return not any(fault.at <= at < fault.end + settle for fault in faults)
