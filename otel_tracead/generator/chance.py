"""Everything random in a simulation, from one numpy generator; the same seed gives the same numbers."""

import math
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from otel_tracead.generator.topology import Cached, Call, ConcreteStep, Internal, Parallel, Publish, Repeat, Step

_BLOCK: Final = 8192  # numbers drawn at once: a call into numpy for each would cost more than the simulation itself
_TAIL_SHARE: Final = 0.003  # of all work is longer by a Pareto factor: garbage collection, a cold page, a neighbour
_TAIL_EXPONENT: Final = -1 / 1.7
_TAIL_LIMIT: Final = 30.0
_NETWORK_S: Final = 0.00025
_NETWORK_SIGMA: Final = 0.3


class Draws:
    """A source of chance: `uniform` in [0, 1), `normal`, identifiers that are never all zero, times and plans."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)
        self.uniform: Callable[[], float] = _blocks(self._generator.random).__next__
        self.normal: Callable[[], float] = _blocks(self._generator.standard_normal).__next__
        self.span_id: Callable[[], bytes] = self._identifiers(8).__next__
        self.trace_id: Callable[[], bytes] = self._identifiers(16).__next__

    def _identifiers(self, size: int) -> Iterator[bytes]:
        nothing = bytes(size)  # means "no id" in OTLP
        while True:
            block = self._generator.bytes(size * 1024)
            for start in range(0, len(block), size):
                identifier = block[start : start + size]
                if identifier != nothing:
                    yield identifier

    def work_s(self, median_ms: float, sigma: float) -> float:
        """Return seconds of work: log-normal, with a rare heavy tail."""
        seconds = median_ms * 0.001 * math.exp(sigma * self.normal())
        rare = self.uniform()
        if rare < _TAIL_SHARE:
            seconds *= min(_TAIL_LIMIT, (max(rare, 1e-9) / _TAIL_SHARE) ** _TAIL_EXPONENT)
        return seconds

    def network_s(self) -> float:
        """Return the seconds that a message takes one way between two services."""
        return _NETWORK_S * math.exp(_NETWORK_SIGMA * self.normal())

    def gap_s(self, rate: float) -> float:
        """Return the seconds until the next of events that come at random, `rate` a second."""
        return -math.log(1.0 - self.uniform()) / rate

    def plan(self, steps: tuple[Step, ...]) -> list[ConcreteStep]:
        """Decide what is open in a plan: how often, whether the cache hits, whether an optional call is made."""
        return list(self._decided(steps)) if steps else []

    def _decided(self, steps: tuple[Step, ...]) -> Iterator[ConcreteStep]:
        for step in steps:
            match step:
                case Call():
                    if step.probability >= 1 or self.uniform() < step.probability:
                        yield step
                case Internal() | Publish():
                    yield step
                case Parallel():
                    yield from self._at_once(step)
                case Repeat():
                    for _ in range(step.low + int(self.uniform() * (step.high - step.low + 1))):
                        yield from self._decided(step.steps)
                case Cached():
                    yield step.lookup
                    if self.uniform() >= step.hit_rate:
                        yield from self._decided(step.miss)

    def _at_once(self, step: Parallel) -> Iterator[Parallel]:
        calls = tuple(call for call in self._decided(step.calls) if isinstance(call, Call))
        if calls:
            yield Parallel(calls)


def _blocks(draw: Callable[[int], NDArray[np.float64]]) -> Iterator[float]:
    while True:
        yield from draw(_BLOCK).tolist()
