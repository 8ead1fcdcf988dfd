"""The registry that counts the metrics of one running service.

It refuses what is not in the catalogue (`otel_tracead.metrics`). Counting on the hot path is an addition to an integer;
names become Prometheus text only when somebody asks (`otel_tracead.service.metrics`).
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from weakref import WeakSet

from otel_tracead.metrics import CATALOGUE, Instrument, Metric


class Counter:
    """A number that only grows; `add` is all the hot path pays for."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def add(self, amount: float = 1) -> None:
        """Count *amount* more."""
        self.value += amount


class Histogram:
    """Counts of observations by bucket.

    Attributes:
        counts: one a bucket, the last one for +Inf; not cumulative.
        total: the sum of all observations.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, count: int = 1) -> None:
        """Count *count* observations of *value*."""
        self.counts[bisect_left(self.bounds, value)] += count
        self.total += value * count


class Readers:
    """The readers of one value; what they read adds up, or the highest counts."""

    __slots__ = ("highest", "reads")

    def __init__(self, *, highest: bool) -> None:
        self.highest = highest
        self.reads: list[Callable[[], float]] = []

    def __call__(self) -> float:
        """Read the value."""
        values = (read() for read in self.reads)
        return max(values) if self.highest else sum(values)


Series = Counter | Histogram | Readers


class Telemetry:
    """The numbers of one running service.

    Args:
        whole: counts into the same numbers, as a part whose readers are dropped together (see `part`).
    """

    def __init__(self, whole: "Telemetry | None" = None) -> None:
        self._series: dict[Metric, dict[tuple[str, ...], Series]] = {} if whole is None else whole._series  # noqa: SLF001
        self._observed: list[tuple[Metric, tuple[str, ...], Callable[[], float]]] = []
        self._parts: WeakSet[Telemetry] = WeakSet()
        if whole is not None:
            whole._parts.add(self)  # noqa: SLF001

    def part(self) -> "Telemetry":
        """Give a view of the same numbers for one component: what is observed through it can be dropped with it."""
        return Telemetry(self)

    def counter(self, metric: Metric, *labels: str) -> Counter:
        """Give the counter of *metric* for these label values, always the same one."""
        found = self._find(metric, Instrument.COUNTER, labels, Counter)
        if not isinstance(found, Counter):
            raise TypeError(f"{metric.name}{labels} is observed, not counted")
        return found

    def histogram(self, metric: Metric, *labels: str) -> Histogram:
        """Give the histogram of *metric* for these label values, always the same one."""
        found = self._find(metric, Instrument.HISTOGRAM, labels, lambda: Histogram(metric.buckets))
        if not isinstance(found, Histogram):
            raise TypeError(f"{metric.name}{labels} is no histogram")
        return found

    def observe(self, metric: Metric, read: Callable[[], float], *labels: str) -> None:
        """Have *read* asked for the value whenever the metrics are read (gauges, and counters kept elsewhere).

        Values of several readers with the same labels (a processor in two pipelines) add up, or the highest counts.
        """
        self._check(metric, labels)
        readers = self._series.setdefault(metric, {}).setdefault(labels, Readers(highest=metric.highest))
        if not isinstance(readers, Readers):
            raise TypeError(f"{metric.name}{labels} is counted, not observed")
        readers.reads.append(read)
        self._observed.append((metric, labels, read))

    def forget_observed(self) -> None:
        """Drop every reader of this part, of a component that is gone; what was counted stays."""
        for part in tuple(self._parts):
            part.forget_observed()
        for metric, labels, read in self._observed:
            readers = self._series[metric][labels]
            if isinstance(readers, Readers):
                readers.reads.remove(read)
                if not readers.reads:
                    del self._series[metric][labels]
        self._observed.clear()

    def collect(self) -> Iterator[tuple[Metric, dict[tuple[str, ...], Series]]]:
        """Give every metric that has values, in the order of the catalogue."""
        for metric in CATALOGUE:
            if metric in self._series:
                yield metric, dict(self._series[metric])

    def value(self, metric: Metric, *labels: str) -> float:
        """Read one value (0 if nothing was counted); of a histogram the number of observations."""
        found = self._series.get(metric, {}).get(labels)
        if found is None:
            return 0.0
        if isinstance(found, Counter):
            return found.value
        if isinstance(found, Histogram):
            return float(sum(found.counts))
        return found()

    def _find(
        self, metric: Metric, instrument: Instrument, labels: tuple[str, ...], make: Callable[[], Counter | Histogram]
    ) -> Series:
        if metric.instrument is not instrument:
            raise TypeError(f"{metric.name} is a {metric.instrument}, not a {instrument}")
        self._check(metric, labels)
        series = self._series.setdefault(metric, {})
        if labels not in series:
            series[labels] = make()
        return series[labels]

    @staticmethod
    def _check(metric: Metric, labels: tuple[str, ...]) -> None:
        if metric not in CATALOGUE:
            raise ValueError(f"{metric.name} is not in the catalogue")
        if len(labels) != len(metric.labels):
            raise ValueError(f"{metric.name} has the labels {metric.labels}, not {labels}")
