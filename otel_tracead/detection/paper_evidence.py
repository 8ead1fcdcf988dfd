"""What speaks against events by the paper: the surprise at their labels and the deviation of their times."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.artifact.paper import PaperCalibration
from otel_tracead.detection.window_network import Outlook
from otel_tracead.traces.dictionary import Dictionary
from otel_tracead.traces.encoding import Events
from otel_tracead.traces.windows import Windows

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_LEAST: Final = 1e-30  # a probability that is 0 in 32 bits


@dataclass(frozen=True, slots=True)
class Recognised:
    """Which events a model knows.

    Attributes:
        unseen: the label was not in the training traffic at all `[m]`.
        foreign: nor was it with another status or callee: not the traffic that the model was trained on `[m]`.
    """

    unseen: Bools
    foreign: Bools


@dataclass(slots=True)
class PaperJudged:
    """What is known of a batch of traces before anything is put in words.

    Attributes:
        events: the traces.
        windows: their first events; window i is that of trace i.
        known: which events the model knows.
        outlook: what the network says.
        strange: which of the events behind the positions are anomalous for being unseen `[n, T]`.
        unlikely: positions whose next label is a structural anomaly `[n, T]`.
        long: positions whose next time is a response-time anomaly `[n, T]`.
        strength: of the evidence at each position, on the scale of scores `[n, T]`.
        score: of each trace `[traces]`.
    """

    events: Events
    windows: Windows
    known: Recognised
    outlook: Outlook
    strange: Bools
    unlikely: Bools
    long: Bools
    strength: Floats
    score: Floats


def evidence(outlook: Outlook, windows: Windows, calibration: PaperCalibration) -> tuple[Floats, Floats]:
    """Give the surprise at each next label in nats and the deviation of each next time; 0 where nothing is to be forecast.

    Raises:
        ValueError: the network forecasts labels or times alone.
    """
    if outlook.probability is None or outlook.time is None:
        raise ValueError("the paper's detector needs the network of both modalities")
    following, next_ms = windows.following
    surprise = -np.log(np.maximum(outlook.probability.astype(np.float64), _LEAST))
    squared = (outlook.time - calibration.scale.scale(next_ms, following)) ** 2
    deviation = calibration.errors.deviation(squared, following)
    return np.where(windows.forecast, surprise, 0.0), np.where(windows.followed, deviation, 0.0)


def recognise(events: Events, dictionary: Dictionary) -> Recognised:
    """Say which *events* the model of a *dictionary* knows."""
    seen = np.array([dictionary.knows(label) for label in events.labels], np.bool_)
    ours = np.array([dictionary.knows_stem(label) for label in events.labels], np.bool_)
    return Recognised(~seen[events.label], ~ours[events.label])


def behind(windows: Windows, events: Events, marked: Bools) -> Bools:
    """Say at each position whether the event behind it is among the *marked* ones `[n, T]`."""
    row = np.where(windows.followed, events.offsets[:-1, None] + np.arange(windows.label.shape[1]) + 1, 0)
    return windows.followed & marked[row] if len(marked) else windows.followed
