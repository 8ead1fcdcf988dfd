"""What is usual of each label in some traffic: its times, its traces, and the place that it belongs to."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.artifact.place_norms import NOWHERE
from otel_tracead.detection.drift import QUANTILE
from otel_tracead.traces.dictionary import RARE_ID
from otel_tracead.traces.encoding import Events

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_FEWEST: Final = 5
_FEWEST_FOR_DRIFT: Final = 40


def scales(log_us: Floats, label: Ints, size: int) -> tuple[Floats, Floats]:
    """Give the median of each label's log times and their robust standard deviation `[labels]` each."""
    center = np.full(size, float(np.median(log_us)) if len(log_us) else 0.0)
    scale = np.full(size, max(_spread(log_us), 0.05) if len(log_us) else 1.0)
    for index, own in _by_label(log_us, label, size):
        if len(own) >= _FEWEST:
            center[index] = np.median(own)
            scale[index] = max(_spread(own), 0.05)
    return center, scale


def _by_label(values: Floats, label: Ints, size: int) -> Iterator[tuple[int, Floats]]:
    order = np.argsort(label, kind="stable")
    bounds = np.searchsorted(label[order], np.arange(size + 1))
    for index in range(size):
        yield index, values[order[bounds[index] : bounds[index + 1]]]


def _spread(x: Floats) -> float:
    return float(1.4826 * np.median(np.abs(x - np.median(x))))


def low(log_us: Floats, label: Ints, size: int) -> Floats:
    """Give the quantile of each label's log times that drift is seen by `[labels]`; inf where it came too rarely."""
    found = np.full(size, np.inf)
    for index, own in _by_label(log_us, label, size):
        if index > RARE_ID and len(own) >= _FEWEST_FOR_DRIFT:
            found[index] = np.quantile(own, QUANTILE)
    return found


def typical_traces(events: Events, label: Ints, size: int) -> Floats:
    """Give the median duration of a trace by its first label, and of all traces at index 0, in µs `[labels]`."""
    first = events.offsets[:-1]
    whole = events.trace_us
    typical = np.zeros(size)
    typical[0] = np.median(whole)
    for index in np.unique(label[first]):
        own = whole[label[first] == index]
        if len(own) >= _FEWEST:
            typical[index] = np.median(own)
    return typical


def places(events: Events, label: Ints, size: int) -> Ints:
    """Give the place of each label: its service, or the service that it calls; -1 for what is no label of its own."""
    found = np.full(size, NOWHERE)
    found[label] = np.where(events.callee >= 0, len(events.services) + events.callee, events.service)
    found[: RARE_ID + 1] = NOWHERE
    at = found >= 0
    found[at] = np.unique(found[at], return_inverse=True)[1]
    return found
