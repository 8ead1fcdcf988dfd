"""A block of time judged by what was learned from the others: what calibration rests on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from otel_tracead.artifact import place_norms
from otel_tracead.artifact.place_norms import PlaceNorms
from otel_tracead.artifact.tails import Tails
from otel_tracead.detection import evidence
from otel_tracead.detection.drift import MINUTE_NS, Drift
from otel_tracead.detection.evidence import Known
from otel_tracead.detection.places import visits
from otel_tracead.detection.scorer import Scorer, Surprise
from otel_tracead.traces.dictionary import Dictionary
from otel_tracead.traces.encoding import Events, select
from otel_tracead.training import usual

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_Value = TypeVar("_Value", np.int64, np.float64)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A block of time, and before it what came earlier, so that drift was followed as it would have been.

    Attributes:
        events: the traces of all blocks up to this one, which is the last.
        known: in the terms of the others' scales.
        surprise: of the network that never saw the block.
        first: first row of the block.
        number: of the block.
    """

    events: Events
    known: Known
    surprise: Surprise
    first: int
    number: int

    def own(self, column: npt.NDArray[_Value]) -> npt.NDArray[_Value]:
        """Give the rows of the block."""
        return column[self.first :]

    @property
    def event_surprise(self) -> Floats:
        """The network's surprise at the time of each event `[m]`."""
        return np.asarray(self.surprise.time[np.arange(len(self.events)) + self.events.trace])


def judge(
    events: Events, label: Ints, blocks: Sequence[Ints], number: int, scorer: Scorer, dictionary: Dictionary
) -> HeldOut:
    """Score the block *number* of *events* with nothing that was learned from it.

    Args:
        events: all traces.
        label: dictionary index of each event `[m]`.
        blocks: the traces of each block of time, in order of time.
        number: which of them.
        scorer: of the network that never saw it.
        dictionary: of the model.
    """
    inside = np.zeros(events.traces, np.bool_)
    inside[blocks[number]] = True
    others = ~inside[events.trace]
    log_us, size = np.log10(1.0 + events.self_us[others]), len(dictionary)
    center, scale = usual.scales(log_us, label[others], size)
    until = select(events, np.concatenate(blocks[: number + 1]))
    drift = Drift(usual.low(log_us, label[others], size))
    known = evidence.translate(until, dictionary, center, scale, drift)
    surprise = scorer.surprise(known.label, known.scaled, until.offsets)
    return HeldOut(until, known, surprise, int(until.offsets[-1 - len(blocks[number])]), number)


Measured = tuple[Ints, Floats, Ints, Ints]


def measure(one: HeldOut, time_tails: Tails, of_label: Ints) -> Measured:
    """Give place, evidence, minute and block of each visit of a trace of the block to a place `[visits]` each."""
    block = select(one.events, np.flatnonzero(one.events.offsets[:-1] >= one.first))
    label = one.own(one.known.label)
    seen = visits(block, of_label[label], time_tails.strength(one.own(one.event_surprise), label))
    minute = block.began[seen.trace] // MINUTE_NS
    return seen.place, seen.nats, minute, np.full(len(minute), one.number)


def norms(measured: Sequence[Measured], of_label: Ints) -> PlaceNorms:
    """Learn what is usual at places from some blocks."""
    place, nats, minute, block = (np.concatenate(column) for column in zip(*measured, strict=True))
    return place_norms.learn(place, nats, minute, block, of_label)
