"""Evidence of a place over many traces: a service, or the calls to it, that is slow for everybody just now.

One trace that is a little slow at a service is nothing; if all traces of a minute are, something is wrong there. The
spans of a trace at one place are taken together (Fisher's method: the tails of n normal spans are exponential, so
their sum is a gamma variate), and the traces of about a minute are compared with what is usual of a minute there: in
training, and in the last half hour, since another day is not like the day of the training.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.artifact.place_norms import PlaceNorms
from otel_tracead.detection.drift import MINUTE_NS, by_minute
from otel_tracead.traces.distinct import distinct
from otel_tracead.traces.encoding import Events

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MOST: Final = 6.0  # nats that one trace may say of a place: one stall is not many slow traces
_MOST_EVENT: Final = 8.0
_DECADE: Final = float(np.log(10.0))
_OWN: Final = 0.5 * _DECADE  # what a trace must say itself: among the slowest third there
_BUCKET_NS: Final = 20_000_000_000
_REACH: Final = 2  # buckets before and after that count, as far as they are known
_BUCKETS: Final = 16
_FEWEST: Final = 2  # other traces
_STRONGEST: Final = 50.0
_LEAST: Final = 1e-300
_LOG_FACTORIALS: Final = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1.0, 1024.0)))))
_HISTORY: Final = 30
_FEWEST_MINUTES: Final = 4
_FEWEST_IN_MINUTE: Final = 3
_BASELINE: Final = 0.6  # a little above the median: of half an hour, some minutes may have been bad


@dataclass(slots=True)
class Visits:
    """What each trace says of each place that it comes to.

    Attributes:
        trace: `[v]`.
        place: `[v]`.
        nats: evidence, exponentially distributed with mean 1 if all is normal, at most `MOST` `[v]`.
        of_event: the visit of each event, -1 = at no place `[m]`.
    """

    trace: Ints
    place: Ints
    nats: Floats
    of_event: Ints


def visits(events: Events, place: Ints, tail: Floats) -> Visits:
    """Take the events of each trace at each place together.

    Args:
        events: of the traces.
        place: of each event, -1 = none `[m]`.
        tail: -log10 of the share of the label's normal times that are as surprising `[m]`.
    """
    rows = (place >= 0).nonzero()[0]
    wide = int(place.max(initial=0)) + 1
    pairs, visit, count = distinct(events.trace[rows] * wide + place[rows])
    nats_here = np.minimum(tail[rows] * _DECADE, _MOST_EVENT)
    total: Floats = np.bincount(visit, weights=nats_here, minlength=len(pairs)).astype(np.float64, copy=False)
    nats = np.minimum(total, MOST)  # of one event; of several:
    several = ((count > 1) & (total > 0)).nonzero()[0]
    if len(several):
        nats[several] = np.minimum(-np.log(_gamma_survival(count[several], total[several])), MOST)
    of_event = np.full(len(events), -1, np.int64)
    of_event[rows] = visit
    return Visits(pairs // wide, pairs % wide, nats, of_event)


def _gamma_survival(n: Ints, x: Floats) -> Floats:
    """Give the probability that the sum of *n* normal values is *x* or more: as many terms of a Poisson distribution `[v]`.

    Worked out here, since scipy takes half a second to load and a stage would need it for nothing else.
    """
    first = n.cumsum() - n
    of = np.arange(len(n)).repeat(n)
    term = np.arange(len(of)) - first.take(of)
    most = int(n.max())
    log_factorial = _LOG_FACTORIALS
    if most > len(log_factorial):
        log_factorial = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1.0, most)))))
    log_terms: Floats = np.log(x).take(of) * term
    log_terms -= x.take(of)
    log_terms -= log_factorial.take(term)
    return np.asarray(np.minimum(np.maximum(np.add.reduceat(np.exp(log_terms), first), _LEAST), 1.0))


class Recent:
    """What was lately seen at each place. Not thread-safe.

    Args:
        norms: what is usual there.
    """

    def __init__(self, norms: PlaceNorms) -> None:
        places = len(norms.mean)
        self._norms = norms
        self._buckets: OrderedDict[int, tuple[Ints, Floats]] = OrderedDict()
        self._minute = -1
        self._count = np.zeros(places, np.int64)
        self._total = np.zeros(places)
        self._history = np.full((places, _HISTORY), np.inf)
        self._minutes = np.zeros(places, np.int64)
        self._baseline = norms.mean.copy()
        self._uncertain = norms.day**2

    def weigh(self, events: Events, seen: Visits) -> Floats:
        """Say how far from usual each visit's place is just now, by what other traces say; and remember the visits.

        Returns:
            Standard deviations `[v]`; 0 where the trace itself is not slow there, or too few others came.
        """
        strength = np.zeros(len(seen.trace))
        began = events.began.take(seen.trace)
        for minute, parts in _by_time(began):
            if minute != self._minute:
                self._settle()
                self._minute = minute
            for bucket, own in parts:
                self._add(bucket, seen.place[own], seen.nats[own])
            for bucket, own in parts:
                slow = own[seen.nats.take(own) >= _OWN]
                if len(slow):
                    strength[slow] = self._strength(bucket, seen.place[slow], seen.nats[slow])
        return strength

    def _add(self, bucket: int, place: Ints, nats: Floats) -> None:
        places = len(self._count)
        count: Ints = np.bincount(place, minlength=places).astype(np.int64)
        total: Floats = np.bincount(place, weights=nats, minlength=places).astype(np.float64)
        self._count += count
        self._total += total
        before = self._buckets.get(bucket)
        if before is not None:
            count, total = before[0] + count, before[1] + total
        self._buckets[bucket] = (count, total)
        self._buckets.move_to_end(bucket)
        while len(self._buckets) > _BUCKETS:
            self._buckets.popitem(last=False)

    def _strength(self, bucket: int, place: Ints, nats: Floats) -> Floats:
        near = [self._buckets[one] for one in range(bucket - _REACH, bucket + _REACH + 1) if one in self._buckets]
        others = sum(count[place] for count, _ in near) - 1
        total = sum(total[place] for _, total in near) - nats
        usual = self._baseline[place]
        n = np.maximum(others, 1)
        variance = np.maximum(usual, 0.5) ** 2 / n + self._norms.spread[place] ** 2 + self._uncertain[place]
        far = (total / n - usual) / np.sqrt(variance)
        return np.where(others >= _FEWEST, np.minimum(np.maximum(far, 0.0), _STRONGEST), 0.0)

    def _settle(self) -> None:
        """Bring what is usual up to date: once a minute is over."""
        rows = np.flatnonzero(self._count >= _FEWEST_IN_MINUTE)
        if len(rows):
            self._history[rows, self._minutes[rows] % _HISTORY] = self._total[rows] / self._count[rows]
            self._minutes[rows] += 1
            known = np.minimum(self._minutes[rows], _HISTORY)
            ordered = np.sort(self._history[rows], axis=1)
            lately = ordered[np.arange(len(rows)), (_BASELINE * (known - 1)).astype(np.int64)]
            enough = known >= _FEWEST_MINUTES
            self._baseline[rows[enough]] = np.maximum(self._norms.mean[rows], lately)[enough]
            # Each minute of this day tells more of what is usual today.
            self._uncertain[rows] = self._norms.day[rows] ** 2 / (1.0 + known)
        self._count[:] = 0
        self._total[:] = 0.0


def _by_time(began: Ints) -> Iterator[tuple[int, list[tuple[int, Ints]]]]:
    """Give the minutes in *began* `[n]`, the earliest first, with the rows of each of their buckets."""
    if not len(began):
        return
    bucket = began // _BUCKET_NS
    first = int(bucket.min())
    if int(bucket.max()) == first:  # nearly always: traces are judged as they come
        yield first * _BUCKET_NS // MINUTE_NS, [(first, np.arange(len(began)))]
        return
    for minute, rows in by_minute(began):
        yield minute, [(one, rows[bucket[rows] == one]) for one in np.unique(bucket[rows]).tolist()]
