"""When a gRPC connection is probed, asked to end, or cut off; pure, time is an argument. Source: gRPC's A8, A9 and keepalive guide."""

from enum import Enum, auto
from typing import Final

from otel_tracead.receivers.otlp.config import KeepaliveEnforcementPolicy, KeepaliveServerParameters

_GREETING: Final = 20.0
_MOST_STRIKES: Final = 2
# How often a client may ping while nothing is under way, unless the policy permits more (gRPC's own bound).
_IDLE_PINGS: Final = 7200.0


class Step(Enum):
    """What is to be done about a connection."""

    WAIT = auto()
    PING = auto()
    DRAIN = auto()
    CUT = auto()


class Upkeep:
    """What a server has seen of one connection.

    Args:
        parameters: what the user wrote.
        now: the connection's first moment, in seconds of a clock that never goes back.
        spread: the share by which its greatest age differs from the others', so that not all clients come back at once.

    Attributes:
        heard: when bytes came last.
        idle_since: since when no request is under way; None while there is one.
        greeted: whether it has begun as HTTP/2 begins.
        draining_since: since when it is asked to end, for its age or for idleness.
    """

    def __init__(self, parameters: KeepaliveServerParameters, now: float, spread: float = 0.0) -> None:
        self.heard = now
        self.idle_since: float | None = now
        self.greeted = False
        self.draining_since: float | None = None
        self._parameters = parameters
        self._greets_until = now + _GREETING
        age = parameters.max_connection_age
        self._ages_at = None if age is None else now + age * (1 + spread)
        self._pinged: float | None = None

    def step(self, now: float) -> tuple[Step, float]:
        """Say what to do at *now*, and when to ask again at the latest."""
        if any(now >= time for time in self._cuts()):
            return Step.CUT, now
        if any(now >= time for time in self._ends(now)):
            self.draining_since = now
            return Step.DRAIN, now
        if self._unanswered() is None and now >= self.heard + self._parameters.time:
            self._pinged = now
            return Step.PING, now
        pings = [] if self._unanswered() is not None else [self.heard + self._parameters.time]
        return Step.WAIT, min([*self._cuts(), *self._ends(now), *pings])

    def _unanswered(self) -> float | None:
        """When the ping was sent that nothing was heard after."""
        return None if self._pinged is None or self.heard >= self._pinged else self._pinged

    def _cuts(self) -> list[float]:
        """The times after which nothing is waited for."""
        times = [] if self.greeted else [self._greets_until]
        grace, pinged = self._parameters.max_connection_age_grace, self._unanswered()
        if self.draining_since is not None and grace is not None:
            times.append(self.draining_since + grace)
        if pinged is not None:
            times.append(pinged + self._parameters.timeout)
        return times

    def _ends(self, now: float) -> list[float]:
        """The times at which the connection is asked to end; a busy one may become idle at any moment."""
        if self.draining_since is not None:
            return []
        idle = self._parameters.max_connection_idle
        times = [] if self._ages_at is None else [self._ages_at]
        if idle is not None:
            times.append((now if self.idle_since is None else self.idle_since) + idle)
        return times


class PingPolice:
    """Counts the pings of a client that pings too often."""

    def __init__(self, policy: KeepaliveEnforcementPolicy) -> None:
        self._policy = policy
        self._strikes = 0
        self._last: float | None = None

    def forgive(self) -> None:
        """Begin anew: a client may ping after each answer that it gets (it measures the line so)."""
        self._strikes = 0
        self._last = None

    def too_many(self, now: float, *, busy: bool) -> bool:
        """Note a ping at *now*, and say whether that was one too many."""
        least = self._policy.min_time if busy or self._policy.permit_without_stream else _IDLE_PINGS
        if self._last is not None and now - self._last < least:
            self._strikes += 1
        self._last = now
        return self._strikes > _MOST_STRIKES
