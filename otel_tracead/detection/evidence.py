"""What speaks against each event of a trace, by channel, and how strong that is on normal traffic's own scale.

Four channels, each turned into -log10 of the share of normal traces whose strongest event is as strong:

- *label*: the network's surprise at the label that came (the paper's structural detector, with a calibrated
  probability instead of a fixed k);
- *step*: a call that training never showed after these calls of this caller, or calls that ended too early;
- *time*: the network's surprise at an event's own work, on its label's own scale, weighted by what the excess means for
  the trace: a span of 20 µs that took 200 is surprising and nobody's problem;
- *service*: all events of one service in a trace together, when many are a little slow and none is slow enough.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincc

from otel_tracead.artifact.calibration import CHANNELS, Calibration
from otel_tracead.detection import grammar
from otel_tracead.detection.scorer import Surprise
from otel_tracead.traces.dictionary import Dictionary
from otel_tracead.traces.encoding import Events

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

LABEL, STEP, TIME, SERVICE = range(len(CHANNELS))
_IMPACT: Final = 10.0  # an excess of a tenth of a typical trace counts a third of one of a whole trace
_MOST: Final = 8.0  # nats that one event may give to its service's evidence
SCALE_FLOOR: Final = 0.05  # decades; a label whose times never vary must not make every microsecond an anomaly


@dataclass(slots=True)
class Known:
    """Events in terms of a model's dictionary.

    Attributes:
        label: dictionary index of each event `[m]`.
        unseen: the label was not in the training traffic at all `[m]`.
        foreign: nor was it with another callee: not the traffic that the model was trained on `[m]`.
        strange: unseen, and not only because spans of the trace are missing, its callee's among them `[m]`.
        scaled: log response time, on its label's scale `[m]`.
    """

    label: Ints
    unseen: npt.NDArray[np.bool_]
    foreign: npt.NDArray[np.bool_]
    strange: npt.NDArray[np.bool_]
    scaled: Floats


@dataclass(slots=True)
class Evidence:
    """What speaks against events, before any scale.

    Attributes:
        label: the network's surprise at each event's label `[m]`.
        ending: the network's surprise at the end of each trace `[traces]`.
        new: which steps are new `[s]`, of `steps`.
        step: how strong each step speaks `[s]`; 0 where it is not new.
        steps: all steps.
        tail: -log10 of the share of the label's normal times that are as surprising `[m]`.
        time: `tail`, weighted by the impact on the trace `[m]`.
        service: evidence of all events of an event's service in its trace `[m]`.
    """

    label: Floats
    ending: Floats
    new: npt.NDArray[np.bool_]
    step: Floats
    steps: grammar.Steps
    tail: Floats
    time: Floats
    service: Floats


@dataclass(slots=True)
class Judged:
    """What is known of a batch of traces before anything is put in words.

    Attributes:
        events: the traces.
        known: in the model's terms.
        surprise: of the network.
        evidence: what speaks against them.
        channels: strongest evidence of each trace and channel, in decades `[channels, traces]`.
        score: of each trace: -log10 of the share of normal traces with evidence as strong `[traces]`.
        foreign: share of each trace's events that are not the model's traffic `[traces]`.
    """

    events: Events
    known: Known
    surprise: Surprise
    evidence: Evidence
    channels: Floats
    score: Floats
    foreign: Floats


def scaled_times(events: Events, label: Ints, center: Floats, scale: Floats) -> Floats:
    """Give log10(1 + own work in µs) of each event on its label's scale: 0 is typical, 1 one spread above `[m]`."""
    return (np.log10(1.0 + events.self_us) - center[label]) / np.maximum(scale[label], SCALE_FLOOR)


def impact(events: Events, label: Ints, calibration: Calibration) -> Floats:
    """Weigh each event's excess over its typical own work against a typical trace of its kind: 0 none, 1 nine tenths."""
    first = label[events.offsets[:-1]] if len(label) else label
    typical = calibration.typical_us[first]
    typical = np.where(typical > 0, typical, calibration.typical_us[0])
    expected = 10.0 ** calibration.center[label] - 1.0
    excess = np.maximum(events.self_us - expected, 0.0) / np.maximum(typical[events.trace], 1.0)
    return np.log10(1.0 + _IMPACT * excess)


def service_evidence(events: Events, tail: Floats) -> Floats:
    """Give for each event how unlikely the times of all events of its service in its trace are together `[m]`.

    The tails of n normal events are exponential, so their sum is a gamma variate (Fisher's method).
    """
    group = events.trace * max(1, len(events.services)) + events.service
    _, place = np.unique(group, return_inverse=True)
    nats = np.minimum(tail * np.log(10.0), _MOST)
    count = np.bincount(place)
    total = np.bincount(place, weights=nats)
    share = gammaincc(count, total)
    return np.asarray(-np.log10(np.maximum(share, 1e-300)))[place]


def gather(events: Events, known: Known, surprise: Surprise, calibration: Calibration) -> Evidence:
    """Collect the evidence of all channels."""
    m = len(events)
    at = np.arange(m) + events.trace  # positions hold one more a trace: its end
    ends = surprise.offsets[1:] - 1
    # What was never seen has no usual time.
    tail = np.where(known.unseen, 0.0, calibration.time_tails.strength(surprise.time[at], known.label))
    found = grammar.steps(events.parent, events.offsets)
    rules = grammar.Grammar(
        calibration.order, calibration.seen, calibration.contexts, calibration.counts, calibration.transitions
    )
    new, strength = rules.new_steps(found, known.label)
    # With spans still missing (late, or lost on the way) nobody can say which calls were made.
    new &= events.orphans[found.trace] == 0
    # A label that training never saw is new wherever it comes, also where another rare label did. The first m steps
    # are those to the events.
    new[:m] |= known.strange
    strength[:m][known.strange] = np.log10(2.0 + calibration.counts.sum())
    label = np.where(events.orphans[events.trace] > 0, 0.0, surprise.label[at])
    return Evidence(
        label=label,
        ending=np.where(events.orphans > 0, 0.0, surprise.label[ends]),
        new=new,
        step=np.where(new, strength, 0.0),
        steps=found,
        tail=tail,
        time=tail * impact(events, known.label, calibration),
        service=service_evidence(events, tail),
    )


def strongest(events: Events, evidence: Evidence) -> Floats:
    """Give the strongest evidence of each trace and channel `[channels, traces]`."""
    best = np.zeros((len(CHANNELS), events.traces))
    starts = events.offsets[:-1]
    filled = np.diff(events.offsets) > 0
    best[LABEL] = evidence.ending
    for channel, values in ((LABEL, evidence.label), (TIME, evidence.time), (SERVICE, evidence.service)):
        if filled.any():
            top = np.maximum.reduceat(values, starts[filled])
            best[channel, filled] = np.maximum(best[channel, filled], top)
    np.maximum.at(best[STEP], evidence.steps.trace, evidence.step)
    return best


def translate(events: Events, dictionary: Dictionary, center: Floats, scale: Floats) -> Known:
    """Put *events* in terms of a model's dictionary and scales."""
    labels = events.labels
    ids = np.array([dictionary.index(label) for label in labels], np.int64)
    seen = np.array([dictionary.knows(label) for label in labels], np.bool_)
    ours = np.array([dictionary.knows_stem(label) for label in labels], np.bool_)
    label = ids[events.label]
    unseen, foreign = ~seen[events.label], ~ours[events.label]
    incomplete = events.orphans[events.trace] > 0
    return Known(
        label=label,
        unseen=unseen,
        foreign=foreign,
        strange=np.where(incomplete, foreign, unseen),
        scaled=scaled_times(events, label, center, scale),
    )
