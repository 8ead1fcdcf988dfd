"""What a process takes of the machine over time, and whether that grows."""

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from scipy import stats

from benchmarks.accounting import cpu_seconds, rss

Gauge = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Trend:
    """A line through samples.

    Attributes:
        level: the mean.
        per_hour: its slope.
        low: lower end of the slope's 95 % confidence interval.
        high: upper end.
    """

    level: float
    per_hour: float
    low: float
    high: float

    @property
    def grows(self) -> bool:
        """Whether there is a growth beyond the noise, and of more than 2 % of the level an hour."""
        return self.low > 0 and self.per_hour > 0.02 * self.level

    def words(self, scale: float = 1.0, unit: str = "") -> str:
        """Say it."""
        return (
            f"{self.level / scale:,.1f}{unit}, {self.per_hour / scale:+,.2f}{unit} an hour "
            f"({self.low / scale:+,.2f} to {self.high / scale:+,.2f})"
        )


def trend(at: Sequence[float], values: Sequence[float], windows: int = 30) -> Trend:
    """Fit a line to the medians of *windows* windows of equal length.

    Neighbouring samples hang together and faults make peaks; medians of whole windows do so less.

    Args:
        at: seconds, rising.
        values: at these times.
        windows: at least 3 that hold samples are needed.
    """
    times, samples = np.asarray(at), np.asarray(values)
    places = np.minimum((windows * (times - times[0]) / max(1e-9, times[-1] - times[0])).astype(int), windows - 1)
    kept = np.unique(places)
    middles = np.array([np.median(times[places == place]) for place in kept]) / 3600
    medians = np.array([np.median(samples[places == place]) for place in kept])
    line = stats.linregress(middles, medians)
    margin = float(stats.t.ppf(0.975, len(kept) - 2)) * float(line.stderr)
    slope = float(line.slope)
    return Trend(float(medians.mean()), slope, slope - margin, slope + margin)


@dataclass(slots=True)
class Series:
    """Samples of a run, a column each; what could not be read is left out of no column, but NaN.

    Attributes:
        at: monotonic seconds.
        columns: by name.
    """

    at: list[float] = field(default_factory=list)
    columns: dict[str, list[float]] = field(default_factory=dict)

    def between(self, name: str, since: float, until: float = float("inf")) -> tuple[list[float], list[float]]:
        """Give times and values of a column, without gaps."""
        pairs = [
            (at, value)
            for at, value in zip(self.at, self.columns[name], strict=True)
            if since <= at < until and not math.isnan(value)
        ]
        return [at for at, _ in pairs], [value for _, value in pairs]

    def thinned(self, most: int = 400) -> dict[str, list[float | None]]:
        """Give what a report keeps: times from the start and values, at most so many."""
        step = max(1, -(-len(self.at) // most))
        begun = self.at[0] if self.at else 0.0
        kept: dict[str, list[float | None]] = {"seconds": [round(at - begun, 1) for at in self.at[::step]]}
        for name, column in self.columns.items():
            kept[name] = [None if math.isnan(value) else round(value, 3) for value in column[::step]]
        return kept


class Sampler(threading.Thread):
    """Takes samples of a process, and of gauges, until it is ended; a context manager.

    Args:
        gauges: more columns.
        interval: seconds.

    Attributes:
        series: what was found.
        pid: of the process, which may change; none while there is none.
    """

    def __init__(self, gauges: Mapping[str, Gauge], interval: float = 1.0) -> None:
        super().__init__(name="sampler", daemon=True)
        self.series = Series()
        self.pid: int | None = None
        self._gauges = dict(gauges)
        self._interval = interval
        self._ended = threading.Event()

    def run(self) -> None:
        """Take samples."""
        due = time.monotonic()
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            due += self._interval
            self.take()

    def take(self) -> None:
        """Take one sample."""
        values = dict.fromkeys(("rss", "fds", "threads", "cpu"), float("nan"))
        pid = self.pid
        if pid is not None:
            with suppress(OSError, StopIteration):
                values = {
                    "rss": rss(pid),
                    "fds": len(list(Path(f"/proc/{pid}/fd").iterdir())),
                    "threads": len(list(Path(f"/proc/{pid}/task").iterdir())),
                    "cpu": cpu_seconds(pid),
                }
        values |= {name: gauge() for name, gauge in self._gauges.items()}
        self.series.at.append(time.monotonic())
        for name, value in values.items():
            self.series.columns.setdefault(name, []).append(value)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()
