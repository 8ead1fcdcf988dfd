"""Models of the experiments' interface that need no training, and traffic whose structure and times they can know."""

import numpy as np

from otel_tracead.evaluation.sequence_models import Forecast
from otel_tracead.traces.windows import Windows

T, LABELS = 20, 12


def traffic(traces: int = 400, seed: int = 0, *, slip: float = 0.05) -> Windows:
    """Traces of 2 to 20 events: each event's label follows from the one before, but for a share of slips."""
    random = np.random.default_rng(seed)
    length = random.integers(2, T + 1, traces)
    label = np.zeros((traces, T), np.int64)
    label[:, 0] = random.integers(1, LABELS + 1, traces)
    for at in range(1, T):
        slipped = random.random(traces) < slip
        label[:, at] = np.where(slipped, random.integers(1, LABELS + 1, traces), label[:, at - 1] % LABELS + 1)
    time_ms = 10.0 * label * random.lognormal(0.0, 0.2, label.shape)
    inside = np.arange(T) < length[:, None]
    return Windows(label * inside, time_ms * inside, length, np.ones(traces, np.bool_), np.arange(traces))


def seen(windows: Windows) -> np.ndarray:
    """Give what came behind each position; `!0` behind the last."""
    return np.concatenate((windows.label[:, 1:], np.zeros((len(windows.label), 1), np.int64)), axis=1)


def forecast(windows: Windows, order: np.ndarray, deviation: np.ndarray) -> Forecast:
    """Make a forecast of all labels in order of probability `[n, T, labels + 1]`."""
    rank = (order == seen(windows)[:, :, None]).argmax(axis=2)
    return Forecast(order[:, :, :5], rank, deviation)


def _next_times(windows: Windows) -> np.ndarray:
    return np.concatenate((windows.time_ms[:, 1:], np.zeros((len(windows.label), 1))), axis=1)


class Knowing:
    """Knows what follows what, and how long it takes; the end is its second guess."""

    def __init__(self, name: str = "knowing") -> None:
        self.name = name

    def forecast(self, windows: Windows) -> Forecast:
        order = np.tile(np.arange(LABELS + 1), (*windows.label.shape, 1))
        first = windows.label % LABELS + 1
        score = np.where(order == first[:, :, None], 2, np.where(order == 0, 1, 0))
        order = np.argsort(-score, axis=2, kind="stable")
        expected = 10.0 * seen(windows)
        deviation = (_next_times(windows) - expected) ** 2 / np.maximum(0.1 * expected**2, 1.0)
        return forecast(windows, order, deviation)


class Constant:
    """Says the same whatever comes."""

    name = "constant"

    def forecast(self, windows: Windows) -> Forecast:
        order = np.tile(np.arange(LABELS + 1), (*windows.label.shape, 1))
        return forecast(windows, order, np.zeros(windows.label.shape))


class Random:
    """Says anything."""

    name = "random"

    def forecast(self, windows: Windows) -> Forecast:
        random = np.random.default_rng(len(windows.label))
        order = random.random((*windows.label.shape, LABELS + 1)).argsort(axis=2)
        return forecast(windows, order, random.normal(size=windows.label.shape))


class OneSided:
    """Knows labels only, or times only."""

    def __init__(self, name: str, *, labels: bool) -> None:
        self.name, self._labels = name, labels

    def forecast(self, windows: Windows) -> Forecast:
        whole = Knowing().forecast(windows)
        return Forecast(whole.top, whole.rank, None) if self._labels else Forecast(None, None, whole.deviation)
