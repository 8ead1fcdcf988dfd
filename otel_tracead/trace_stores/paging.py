"""Reads a store whole that gives only so many traces at once: by windows of time, cut until each fits; pure.

Which traces a store leaves out of an answer that would be longer than the limit differs: most give the newest, Jaeger's
memory those that came last. So a window whose answer is as long as the limit is cut, and its parts are asked for. An
answer that is shorter is all there is in the window, but with Cassandra: there the limit counts rows of an index, of
which a trace has several, newest first (jaegertracing/jaeger#166). So the part of the window before the oldest trace of
an answer is asked for once more, until nothing new comes.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Generic, TypeVar

_MOST: Final = 100_000
_REMEMBERED: Final = 100_000
_MOST_PARTS: Final = 16
_FEWEST_PARTS: Final = 2
_GROWTH: Final = 4
_FILLED: Final = 10  # an answer with fewer than this part of the limit is not asked for again

_TraceT = TypeVar("_TraceT")


@dataclass(frozen=True, slots=True)
class Window:
    """A window of time with both its ends, in the unit that the store counts in.

    Attributes:
        first: its first moment.
        last: its last one.
    """

    first: int
    last: int

    @property
    def divisible(self) -> bool:
        """Say whether its parts are shorter than it is."""
        return self.last - self.first > 1

    def parts(self, count: int) -> list["Window"]:
        """Cut it into at most *count* parts, oldest first; neighbours share their border, so that nothing falls between."""
        borders = sorted({self.first + (self.last - self.first) * index // count for index in range(count + 1)})
        return [Window(first, last) for first, last in pairwise(borders)]


@dataclass(frozen=True, slots=True)
class Found(Generic[_TraceT]):
    """A trace that a store gave.

    Attributes:
        key: the same for the same trace, whatever the answer; its id, say.
        began: when its earliest span began, in the store's unit, rounded down.
        latest: when its latest span began, likewise.
        trace: the trace itself.
    """

    key: str
    began: int
    latest: int
    trace: _TraceT


Fetch = Callable[[str, Window, int], Sequence[Found[_TraceT]]]
"""Gives the traces of a service with a span in a window, at most so many; raises `TooMuch`."""


class TooMuch(Exception):  # noqa: N818 (an answer, not a fault)
    """What a store has of a window is too much for one answer."""


class TooDense(Exception):  # noqa: N818 (likewise)
    """More than one answer may hold began at one moment.

    Attributes:
        service: that was asked for.
        window: that cannot be cut.
    """

    def __init__(self, service: str, window: Window) -> None:
        super().__init__(service, window)
        self.service = service
        self.window = window


class Pages(Generic[_TraceT]):
    """Reads a store once, newest first.

    What is held is one answer, and the keys of traces that could be met again: those that began before the window that
    is being read, and in any case the last 100,000.

    Args:
        fetch: asks the store.
        limit: of traces in an answer. Only of a window that cannot be cut more are asked for.
        most: traces that are asked for at once at the utmost.
        remembered: keys that are held in any case.
    """

    def __init__(self, fetch: Fetch[_TraceT], *, limit: int, most: int = _MOST, remembered: int = _REMEMBERED) -> None:
        self._fetch = fetch
        self._limit = limit
        self._most = max(most, limit)
        self._remembered = remembered
        self._seen: OrderedDict[str, int] = OrderedDict()
        self._tidy_at = 2 * remembered + 1

    def read(self, services: Sequence[str], whole: Window, progress: Callable[[float], None]) -> Iterator[_TraceT]:
        """Give every trace with a span of one of *services* in the window *whole*, once.

        Args:
            services: as the store takes them.
            whole: the window.
            progress: told the share of the window that was read.

        Raises:
            TooDense: one moment holds too many traces.
        """
        waiting = [(whole, tuple(services), False)]
        while waiting:
            window, asked, once_more = waiting.pop()
            dense: list[str] = []
            parts = _FEWEST_PARTS
            for service in asked:
                found, needed = self._ask(service, window)
                if needed > 1:
                    dense.append(service)
                    parts = max(parts, needed)
                    continue
                before = len(self._seen)
                yield from self._new(found)
                rest = _rest(found, window) if len(found) * _FILLED >= self._limit else None
                if rest is not None and (not once_more or len(self._seen) > before):
                    waiting.append((rest, (service,), True))
            if dense:
                waiting += [(part, tuple(dense), False) for part in window.parts(parts)]
            left = max((window.last for window, _, _ in waiting), default=whole.first)
            self._forget(left)
            progress((whole.last - left) / max(whole.last - whole.first, 1))

    def _ask(self, service: str, window: Window) -> tuple[Sequence[Found[_TraceT]], int]:
        """Give what is in a window and 1, or, where that is cut off, into how many parts the window should be cut."""
        limit = self._limit
        while True:
            try:
                found = self._fetch(service, window, limit)
            except TooMuch as error:
                if not window.divisible:
                    raise TooDense(service, window) from error
                return (), _FEWEST_PARTS
            if len(found) < limit:
                return found, 1
            if window.divisible:
                return (), _parts(found, window, limit)
            if limit >= self._most:
                raise TooDense(service, window)
            limit = min(limit * _GROWTH, self._most)

    def _new(self, found: Sequence[Found[_TraceT]]) -> Iterator[_TraceT]:
        for one in found:
            if one.key not in self._seen:
                self._seen[one.key] = one.began
                yield one.trace

    def _forget(self, before: int) -> None:
        """Forget traces that no window up to *before* holds, but for the last ones: a trace may still grow."""
        if len(self._seen) < self._tidy_at:
            return
        old = len(self._seen) - self._remembered
        self._seen = OrderedDict(
            (key, began)
            for index, (key, began) in enumerate(self._seen.items())
            if index >= old or began <= before  # the border is the next window's, too
        )
        self._tidy_at = 2 * len(self._seen) + 1


def _rest(found: Sequence[Found[_TraceT]], window: Window) -> Window | None:
    """Give the part of a window that rows left out of a short answer would lie in; None if that is all of it."""
    oldest = min(one.latest for one in found)  # of the rows that came none is older than one of each trace
    last = max(oldest, window.first + 1)
    return Window(window.first, last) if last < window.last else None


def _parts(found: Sequence[Found[_TraceT]], window: Window, limit: int) -> int:
    """Guess how many parts of a window have half of *limit* each, if these are its newest traces: the guess costs time only."""
    middle = sorted(min(max(one.began, window.first), window.last) for one in found)[len(found) // 2]
    share = max(window.last - middle, 1) / (window.last - window.first)  # of the window, that half of them take
    return max(_FEWEST_PARTS, min(_MOST_PARTS, math.ceil(len(found) / 2 / share / (limit / 2))))
