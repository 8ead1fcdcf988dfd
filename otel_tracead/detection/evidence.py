"""What speaks against each event of a trace, by channel, and how strong that is on normal traffic's own scale.

Four channels, each turned into -log10 of the share of normal traces whose strongest event is as strong:

- *label*: the network's surprise at the label that came (the paper's structural detector, with a calibrated
  probability instead of a fixed k);
- *step*: a call that training never showed after these calls of this caller, or calls that ended too early;
- *time*: by how many decades an event's own work is longer than what the network said that one in ten would exceed,
  weighted by what the excess means for the trace: a span of 20 µs that took 200 is surprising and nobody's problem;
- *place*: a service, or the calls to it, that is slow for many traces just now, and for this one, too.

Times are taken less the drift that was followed (`otel_tracead.detection.drift`) before anything is made of them.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from otel_tracead.artifact.calibration import CHANNELS, Calibration
from otel_tracead.artifact.place_norms import NOWHERE
from otel_tracead.detection import grammar, usual_traces
from otel_tracead.detection.drift import Drift
from otel_tracead.detection.packing import rows_of
from otel_tracead.detection.places import Recent, visits
from otel_tracead.detection.scorer import Surprise
from otel_tracead.traces.dictionary import Dictionary
from otel_tracead.traces.encoding import Events

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

LABEL, STEP, TIME, PLACE = range(len(CHANNELS))
_MOST_WEIGHT: Final = 4.0  # typical traces; more excess is not more of an anomaly
MOST_DECADES: Final = 15.0  # of microseconds: thirty years
SCALE_FLOOR: Final = 0.05  # decades; a label whose times never vary must not make every microsecond an anomaly


@dataclass(slots=True)
class Known:
    """Events in terms of a model's dictionary.

    Attributes:
        label: dictionary index of each event `[m]`.
        unseen: the label was not in the training traffic at all `[m]`.
        foreign: nor was it with another callee: not the traffic that the model was trained on `[m]`.
        strange: unseen, and not only because spans of the trace are missing, its callee's among them `[m]`.
        shift: decades by which the label has drifted since training `[m]`.
        own_us: own work as it would have been in training: less the drift `[m]`.
        scaled: the log of it, on its label's scale `[m]`.
        trace: of each event `[m]`.
    """

    label: Ints
    unseen: npt.NDArray[np.bool_]
    foreign: npt.NDArray[np.bool_]
    strange: npt.NDArray[np.bool_]
    shift: Floats
    own_us: Floats
    scaled: Floats
    trace: Ints


class NewSteps(NamedTuple):
    """Steps that training never showed; see `grammar.Steps`.

    Attributes:
        caller: row of the calling event, -1 = the trace itself `[new]`.
        before: row of the call before, -1 = none `[new]`.
        event: row of the event that came, -1 = the end `[new]`.
        trace: `[new]`.
    """

    caller: Ints
    before: Ints
    event: Ints
    trace: Ints


@dataclass(slots=True)
class Evidence:
    """What speaks against events, before any scale.

    Attributes:
        label: the network's surprise at each event's label `[m]`.
        ending: the network's surprise at the end of each trace `[traces]`.
        new: the steps that are new.
        step: how strong each of them speaks `[new]`.
        tail: -log10 of the share of the label's normal times that are as surprising `[m]`.
        time: decades above what was to be expected, weighted by the impact on the trace `[m]`.
        place: how far from usual the event's place is just now `[m]`; 0 where its trace is not slow there.
        place_of: the place of each event, -1 = none `[m]`.
    """

    label: Floats
    ending: Floats
    new: NewSteps
    step: Floats
    tail: Floats
    time: Floats
    place: Floats
    place_of: Ints


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


def scaled_times(own_us: Floats, label: Ints, center: Floats, scale: Floats) -> Floats:
    """Give log10(1 + own work in µs) of each event on its label's scale: 0 is typical, 1 one spread above `[m]`."""
    scaled = np.log10(1.0 + own_us)
    scaled -= center.take(label)
    scaled /= np.maximum(scale, SCALE_FLOOR).take(label)
    return scaled


def from_scaled(scaled: Floats, label: Ints, calibration: Calibration) -> Floats:
    """Give the own work in µs that `scaled_times` makes *scaled* of `[n]`."""
    log_us = calibration.center[label] + scaled * np.maximum(calibration.scale[label], SCALE_FLOOR)
    return np.asarray(10.0 ** np.minimum(np.maximum(log_us, 0.0), MOST_DECADES) - 1.0)


def weight(excess_us: Floats, typical_us: Floats) -> Floats:
    """Weigh an excess over the typical own work against a typical trace of its kind: 0 none, 1 a whole one `[n]`."""
    return np.sqrt(np.minimum(excess_us / np.maximum(typical_us, 1.0), _MOST_WEIGHT))


def typical_trace(label: Ints, calibration: Calibration) -> Floats:
    """Give the typical duration of a trace by its first *label*, in µs `[n]`."""
    typical = calibration.typical_us[label]
    return np.where(typical > 0, typical, calibration.typical_us[0])


def long_time(own_us: Floats, long_us: Floats, typical_us: Floats) -> Floats:
    """Say how strong it speaks that own work took *own_us*, where one in ten was to take *long_us* or more `[n]`."""
    decades = np.log10((1.0 + own_us) / (1.0 + long_us))
    return np.maximum(decades, 0.0) * weight(np.maximum(own_us - long_us, 0.0), typical_us)


def _times(events: Events, known: Known, long: Floats, calibration: Calibration) -> Floats:
    """Give the evidence of each event's own work, from the time that it was hardly to exceed; see `long_time` `[m]`."""
    found = np.zeros(len(events))
    rows = np.isfinite(long).nonzero()[0]
    rows = rows[~known.unseen[rows]]
    if len(rows):
        label = known.label[rows]
        first = known.label[events.offsets[known.trace[rows]]]
        long_us = from_scaled(long[rows], label, calibration)
        found[rows] = long_time(known.own_us[rows], long_us, typical_trace(first, calibration))
    return found


def rules_of_calls(calibration: Calibration) -> grammar.Grammar:
    """Give the grammar that a calibration holds."""
    return grammar.Grammar(
        calibration.order, calibration.seen, calibration.contexts, calibration.counts, calibration.transitions
    )


def gather(
    events: Events,
    known: Known,
    surprise: Surprise,
    calibration: Calibration,
    rules: grammar.Grammar,
    recent: Recent,
) -> Evidence:
    """Collect the evidence of all channels.

    Args:
        events: the traces.
        known: in the model's terms.
        surprise: of the network.
        calibration: of the model.
        rules: the calibration's rules of calls.
        recent: what other traces say; learns what these say.
    """
    at = np.arange(len(events)) + known.trace  # positions hold one more a trace: its end
    incomplete = events.orphans > 0
    label, ending = surprise.label.take(at), surprise.label.take(surprise.offsets[1:] - 1)
    if incomplete.any():
        label, ending = np.where(incomplete[known.trace], 0.0, label), np.where(incomplete, 0.0, ending)
    # What was never seen has no usual time, and what takes no longer than usual is not slow, however rare it is.
    slow = (~known.unseen & (known.own_us > calibration.center_us.take(known.label))).nonzero()[0]
    tail = np.zeros(len(events))
    tail[slow] = calibration.time_tails.strength(surprise.time[at[slow]], known.label[slow])
    new, step = _new_steps(events, known, rules, incomplete)
    place_of = calibration.places.of_label.take(known.label)
    place_of[known.unseen] = NOWHERE
    seen = visits(events, place_of, tail)
    strengths = np.concatenate((recent.weigh(events, seen), [0.0]))
    return Evidence(
        label=label,
        ending=ending,
        new=new,
        step=step,
        tail=tail,
        time=_times(events, known, surprise.long.take(at), calibration),
        place=strengths[seen.of_event],
        place_of=place_of,
    )


def _new_steps(
    events: Events, known: Known, rules: grammar.Grammar, incomplete: npt.NDArray[np.bool_]
) -> tuple[NewSteps, Floats]:
    """Give the new steps, and how strong each of them speaks `[new]`."""
    keys = usual_traces.keys(known.label, events.parent, known.trace, events.offsets)
    asked = ~rules.traces.known(keys)
    asked[known.trace[known.strange]] = True
    traces = asked.nonzero()[0]
    if not len(traces):
        return NewSteps(traces, traces, traces, traces), np.zeros(0)
    # Of these traces by themselves:
    rows, offsets = rows_of(traces, events.offsets)
    parent = events.parent[rows]
    parent = np.where(parent >= 0, parent - (rows - np.arange(len(rows))), -1)
    calls = grammar.calls(parent, offsets)
    new, step = rules.new_steps(calls, known.label[rows])
    usual = np.ones(len(traces), np.bool_)
    usual[calls.trace_of(new)] = False
    rules.traces.remember(keys[traces[usual]])
    if len(new) and incomplete.any():
        # With spans still missing (late, or lost on the way) nobody can say which calls were made.
        whole = ~incomplete[traces[calls.trace_of(new)]]
        new, step = new[whole], step[whole]
    strange = np.flatnonzero(known.strange[rows])
    if len(strange):
        # A label that training never saw is new wherever it comes, also where another rare label did. The first steps
        # are those to the events.
        others = ~np.isin(new, strange)
        new = np.concatenate((new[others], strange))
        step = np.concatenate((step[others], np.full(len(strange), np.log10(2.0 + rules.counts.sum()))))
    steps, row = calls.steps(new), np.append(rows, -1)
    return NewSteps(row[steps.caller], row[steps.before], row[steps.event], traces[steps.trace]), step


def strongest(events: Events, evidence: Evidence) -> Floats:
    """Give the strongest evidence of each trace and channel `[channels, traces]`."""
    best = np.zeros((len(CHANNELS), events.traces))
    starts, ends = events.offsets[:-1], events.offsets[1:]
    filled = slice(None) if (ends > starts).all() else np.flatnonzero(ends > starts)
    if len(events):
        for channel, values in ((LABEL, evidence.label), (TIME, evidence.time), (PLACE, evidence.place)):
            best[channel, filled] = np.maximum.reduceat(values, starts[filled])
    best[LABEL] = np.maximum(best[LABEL], evidence.ending)
    if len(evidence.step):
        np.maximum.at(best[STEP], evidence.new.trace, evidence.step)
    return best


def translate(events: Events, dictionary: Dictionary, center: Floats, scale: Floats, drift: Drift) -> Known:
    """Put *events* in terms of a model's dictionary and scales, less the *drift*, which follows them."""
    index, seen, ours = dictionary.look_up(events.labels)
    trace = events.trace
    label, unseen, foreign = index.take(events.label), ~seen.take(events.label), ~ours.take(events.label)
    strange = unseen
    if unseen.any() and events.orphans.any():
        strange = np.where(events.orphans[trace] > 0, foreign, unseen)
    shift, faster = drift.follow(events, label)
    own_us = (1.0 + events.self_us) * faster
    own_us -= 1.0
    np.maximum(own_us, 0.0, out=own_us)
    return Known(
        label=label,
        unseen=unseen,
        foreign=foreign,
        strange=strange,
        shift=shift,
        own_us=own_us,
        scaled=scaled_times(own_us, label, center, scale),
        trace=trace,
    )
