"""Follows slow drift: how much slower than in training each label has been over the last half hour.

Databases grow and caches warm up; a model that was trained last week calls that an anomaly for ever. What is followed is a
low quantile of a label's own work: drift moves a whole distribution, and a fault, which makes some spans of some minutes
slow, moves its upper part. A minute gives a label a few values at most, and nothing is followed before four
minutes were seen, so a fault of some minutes is not learned.
"""

from typing import Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from otel_tracead.detection.packing import rows_of
from otel_tracead.traces.encoding import Events

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

QUANTILE: Final = 0.3
MINUTE_NS: Final = 60_000_000_000
_REMEMBERED: Final = 256  # values a label
_A_MINUTE: Final = 8  # values a label and minute: half an hour of a busy label
_FEWEST: Final = 24
_MINUTES: Final = 4
_FASTER, _SLOWER = -0.3, 1.0  # decades that are followed; a service ten times slower is no drift
_MOST_GROUPS: Final = 200  # times are from outside: a batch that says each trace is from another year costs no more


@runtime_checkable
class FollowsDrift(Protocol):
    """A detector that follows drift and says how far it went."""

    def slower(self) -> Floats:
        """Give how many times as long as in training each label takes that enough is known of `[labels]`, in no order."""


class Drift:
    """What was lately seen of each label. Not thread-safe.

    Args:
        usual: the quantile `QUANTILE` of log10(1 + own work in µs) of each label in training `[labels]`; inf where it is
            not known.

    Attributes:
        shift: decades that each label is slower than in training `[labels]`.
    """

    def __init__(self, usual: Floats) -> None:
        labels = len(usual)
        self._usual = usual
        self._values = np.full((labels, _REMEMBERED), np.inf, np.float32)
        self._count = np.zeros(labels, np.int64)
        self._minutes = np.zeros(labels, np.int64)
        self._last_minute = np.full(labels, -1, np.int64)
        self._taken = np.zeros(labels, np.int64)
        self._touched = np.zeros(labels, np.bool_)
        self._minute = -1
        self.shift = np.zeros(labels)
        self._faster = np.ones(labels)

    def follow(self, events: Events, label: Ints) -> tuple[Floats, Floats]:
        """Say how much slower each event's label is at its time, and remember the events.

        Args:
            events: of any number of traces.
            label: dictionary index of each event `[m]`.

        Returns:
            The shift in decades `[m]`, and 10 to minus that `[m]`.
        """
        minutes = by_minute(events.began)
        if len(minutes) == 1:  # nearly always: traces are judged as they come
            return self._follow(minutes[0][0], label, events.self_us)
        shift, faster = np.empty(len(events)), np.empty(len(events))
        for minute, traces in minutes:
            rows, _ = rows_of(traces, events.offsets)
            shift[rows], faster[rows] = self._follow(minute, label[rows], events.self_us[rows])
        return shift, faster

    def _follow(self, minute: int, label: Ints, self_us: Floats) -> tuple[Floats, Floats]:
        """Follow events of one minute; see `follow`."""
        if minute != self._minute:
            self._settle()
            self._minute = minute
        found = self.shift.take(label), self._faster.take(label)
        self._remember(minute, label, self_us)
        return found

    def slower(self) -> Floats:
        """See `FollowsDrift.slower`; may be read while another thread follows."""
        followed = (self._count >= _FEWEST) & (self._minutes >= _MINUTES) & np.isfinite(self._usual)
        return np.asarray(10.0 ** self.shift[followed])

    def _remember(self, minute: int, label: Ints, self_us: Floats) -> None:
        """Keep the first values of a minute of each label."""
        wanting = (self._taken < _A_MINUTE) | (self._last_minute != minute)
        wanted = wanting.take(label).nonzero()[0]  # few, but for the first batch of a minute
        if not len(wanted):
            return
        label = label[wanted]
        order = label.argsort(kind="stable")
        ordered = label[order]
        begins = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        lengths = np.diff(np.concatenate((begins, [len(ordered)])))
        names = ordered[begins]
        fresh = names[self._last_minute[names] != minute]
        self._taken[fresh] = 0
        self._minutes[fresh] += 1
        self._last_minute[fresh] = minute
        place = np.arange(len(ordered)) - np.repeat(begins, lengths)
        taken = np.minimum(lengths, _A_MINUTE - self._taken[names])
        kept = (place < np.repeat(taken, lengths)) & np.isfinite(self._usual[ordered])
        rows = ordered[kept]
        log_us = np.log10(1.0 + self_us[wanted[order[kept]]])
        self._values[rows, (self._count[rows] + place[kept]) % _REMEMBERED] = log_us - self._usual[rows]
        self._count[names] += taken
        self._taken[names] += taken
        self._touched[names] = True

    def _settle(self) -> None:
        """Bring the shifts up to date: once a minute is over."""
        rows = np.flatnonzero(self._touched & (self._count >= _FEWEST) & (self._minutes >= _MINUTES))
        self._touched[:] = False
        rows = rows[np.isfinite(self._usual[rows])]
        if not len(rows):
            return
        filled = np.minimum(self._count[rows], _REMEMBERED)
        at = (QUANTILE * (filled - 1)).astype(np.int64)
        low = np.sort(self._values[rows], axis=1)[np.arange(len(rows)), at]
        self.shift[rows] = np.clip(low, _FASTER, _SLOWER)
        self._faster[rows] = 10.0 ** -self.shift[rows]


def by_minute(began: Ints) -> list[tuple[int, Ints]]:
    """Give the rows of each minute, the earliest minute first.

    Args:
        began: when each row began, in ns `[n]`.
    """
    if not len(began):
        return []
    first = int(began.min()) // MINUTE_NS
    if int(began.max()) // MINUTE_NS == first:
        return [(first, np.arange(len(began)))]
    minute = began // MINUTE_NS
    order = np.argsort(minute, kind="stable")
    cuts = np.flatnonzero(np.diff(minute[order])) + 1
    if len(cuts) >= _MOST_GROUPS:
        cuts = cuts[:: -(-len(cuts) // _MOST_GROUPS)]
    return [(int(minute[part[0]]), part) for part in np.split(order, cuts)]
