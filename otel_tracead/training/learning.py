"""From the events of normal traces to everything that an artifact holds: dictionary, scales, network, calibration.

Calibration is cross-fitted: the traffic is cut into blocks of time, each block is judged by a network, scales and norms
that come from the others, and all those scores together tell what normal looks like (conformal prediction, "CV+"). So
every normal trace serves both purposes, and what drift does to a detector that follows it is part of what is normal.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from otel_tracead.artifact import tails
from otel_tracead.artifact.calibration import CHANNELS, SHARES, Calibration
from otel_tracead.artifact.tails import Tails
from otel_tracead.detection import evidence, grammar, norms, path_learning
from otel_tracead.detection.places import Recent
from otel_tracead.detection.scorer import Scorer
from otel_tracead.errors import InputError
from otel_tracead.traces import dictionary as dictionaries
from otel_tracead.traces.dictionary import Dictionary
from otel_tracead.traces.encoding import Events
from otel_tracead.training import held_out, usual
from otel_tracead.training.architecture import Architecture
from otel_tracead.training.fitting import Fitted, Task, fit_all
from otel_tracead.training.recipe import Loss, Recipe, Sequenced

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Progress = Callable[[str, float], None]

FEWEST_TRACES = 40
_FEWEST_TIMES = 100  # of a label, to measure how its surprises are distributed
_LEAST_PLACE = 1.5  # deviations a decade: training may be too short and even to show how much a place differs
_LOOK_BACK = 0.2  # of the budget for false positives may go into finding more by looking further back


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningSettings:
    """What may be chosen about learning.

    Attributes:
        max_labels: labels with an index of their own; the rest share one.
        min_count: how often a label must come for that.
        folds: blocks of time for cross-fitting.
        held_out: share of the traces that only say when to stop.
        budget: false-positive rate that the default threshold holds; decides how far the grammar looks back.
        recipe: of the network.
        sizes: of the network, by the names of `Architecture`.
        device: `cpu` or `cuda`.
    """

    max_labels: int = 2000
    min_count: int = 5
    folds: int = 3
    held_out: float = 0.1
    budget: float = 0.01
    recipe: Recipe = field(default_factory=Recipe)
    sizes: dict[str, int] = field(default_factory=dict)
    device: str = "cpu"


@dataclass(slots=True)
class Fold:
    """One block of time, scored by a network that never saw it.

    Attributes:
        traces: which traces the block holds.
        network: the bytes of that network.
        loss: of the network on the traces that stopped it.
    """

    traces: Ints
    network: bytes
    loss: Loss


@dataclass(slots=True)
class Learned:
    """Everything that was learned.

    Attributes:
        dictionary: the labels.
        calibration: the numbers.
        network: the bytes of `model.onnx`.
        architecture: its sizes.
        loss: of the final network on the traces that stopped it.
        folds: the blocks with their networks, for an honest check.
        strength: strongest evidence of each training trace, scored by its fold's network `[traces]`.
        difference: the largest difference between PyTorch and ONNX Runtime that was found.
    """

    dictionary: Dictionary
    calibration: Calibration
    network: bytes
    architecture: Architecture
    loss: Loss
    folds: list[Fold]
    strength: Floats
    difference: float


def learn(
    events: Events,
    settings: LearningSettings,
    progress: Progress = lambda _what, _share: None,
    fit: Callable[[Task, Sequence[Ints], Callable[[float], None]], list[Fitted]] = fit_all,
) -> Learned:
    """Learn from the events of normal traces; *fit* fits one network to each part of them.

    Raises:
        InputError: there are too few traces to learn from.
    """
    if events.traces < FEWEST_TRACES:
        raise InputError(
            f"--input: {events.traces} traces are too few to learn from (at least {FEWEST_TRACES}, better some thousands); "
            "give more or longer files of normal traffic"
        )
    counts = Counter(dict(zip(range(len(events.labels)), np.bincount(events.label).tolist(), strict=False)))
    dictionary = dictionaries.learn(
        {events.labels[index]: count for index, count in counts.items() if count},
        max_labels=settings.max_labels,
        min_count=settings.min_count,
    )
    size = len(dictionary)
    label = np.array([dictionary.index(name) for name in events.labels], np.int64)[events.label]
    log_us = np.log10(1.0 + events.self_us)
    center, scale = usual.scales(log_us, label, size)
    data = Sequenced(label, evidence.scaled_times(events.self_us, label, center, scale), events.offsets)
    architecture = Architecture(labels=size, **settings.sizes)
    blocks = blocks_of_time(events, settings.folds)
    everything = np.arange(events.traces)
    *crossed, final = fit(
        Task(data, architecture, settings.recipe, settings.held_out, settings.device),
        [*(np.setdiff1d(everything, block) for block in blocks), everything],
        partial(progress, f"fitting {len(blocks)} + 1 networks"),
    )
    folds = [Fold(block, one.network, one.loss) for block, one in zip(blocks, crossed, strict=True)]
    tried = [
        held_out.judge(
            events, label, blocks, number, Scorer(one.network, state=architecture.state, provider="cpu"), dictionary
        )
        for number, one in enumerate(folds)
    ]
    of_label = usual.places(events, label, size)
    time_tails = tails.by_group(
        np.concatenate([one.own(one.event_surprise) for one in tried]),
        np.concatenate([one.own(one.known.label) for one in tried]),
        size,
        fewest=_FEWEST_TIMES,
        wider=of_label,
    )
    rules, alone = grammar.learn(label, events.parent, events.offsets, labels=size, budget=_LOOK_BACK * settings.budget)
    measured = [held_out.measure(one, time_tails, of_label) for one in tried]
    draft = Calibration(
        center=center,
        scale=scale,
        usual=usual.low(log_us, label, size),
        typical_us=usual.typical_traces(events, label, size),
        time_tails=time_tails,
        channel_tails=Tails(np.zeros((len(CHANNELS), tails.KNOTS)), np.ones(len(CHANNELS))),
        trace_tail=Tails(np.zeros((1, tails.KNOTS)), np.ones(1)),
        order=rules.order,
        seen=rules.seen,
        contexts=rules.contexts,
        counts=rules.counts,
        transitions=rules.transitions,
        places=held_out.norms(measured, of_label),
        paths=path_learning.learn(events, dictionary),
        norms=norms.learn(events, dictionary),
    )
    found = np.zeros((len(CHANNELS), events.traces))
    for number, one in enumerate(tried):
        recent = Recent(held_out.norms([*measured[:number], *measured[number + 1 :]], of_label))
        gathered = evidence.gather(one.events, one.known, one.surprise, draft, rules, recent)
        found[:, blocks[number]] = evidence.strongest(one.events, gathered)[:, -len(blocks[number]) :]
    found[evidence.STEP] = np.maximum(alone, _lone_labels(events, rules))
    draft.channel_tails = _channel_tails(found)
    strength = np.max([draft.decades(found[i], i) for i in range(len(CHANNELS))], axis=0)
    draft.trace_tail = _trace_tail(strength)
    return Learned(dictionary, draft, final.network, architecture, final.loss, folds, strength, final.difference)


def blocks_of_time(events: Events, folds: int) -> list[Ints]:
    """Cut the traces into *folds* blocks by the time of their first event."""
    return [np.sort(block) for block in np.array_split(np.argsort(events.began, kind="stable"), folds)]


def _lone_labels(events: Events, rules: grammar.Grammar) -> Floats:
    """Give how strong an unseen label would have spoken against each trace, had that trace been left out."""
    pairs = np.unique(events.label * events.traces + events.trace)
    label, trace = pairs // events.traces, pairs % events.traces
    lone = np.bincount(label, minlength=len(events.labels))[label] == 1
    strength = np.zeros(events.traces)
    strength[trace[lone]] = np.log10(2.0 + rules.counts.sum())
    return strength


def _trace_tail(strength: Floats) -> Tails:
    """Measure the strongest channel's strength, which is at most as common as the channels' shares together (Bonferroni).

    Of few traces the rare ends of a distribution are guessed; this bound is not.
    """
    measured = tails.single(strength)
    bound = tails.STEP * np.arange(tails.KNOTS) + np.log10(np.sum(SHARES))
    bound[0] = 0.0
    return Tails(np.minimum(measured.knots, bound), np.ones(1))


def _channel_tails(found: Floats) -> Tails:
    knots, slopes = [], []
    for channel in range(len(CHANNELS)):
        measured = tails.measure_rare(found[channel]) if channel == evidence.STEP else tails.measure(found[channel])
        floor = _LEAST_PLACE * tails.STEP * np.arange(tails.KNOTS) if channel == evidence.PLACE else 0.0
        knots.append(np.maximum(measured[0], floor))
        slopes.append(measured[1])
    return Tails(np.array(knots), np.array(slopes))


def summary(learned: Learned, events: Events, settings: LearningSettings) -> dict[str, object]:
    """Give what the manifest keeps of the training."""
    return {
        "traces": events.traces,
        "spans": len(events),
        "labels": len(learned.dictionary) - 2,
        "rare_labels": len(learned.dictionary.rare),
        "services": sorted(events.services),
        "folds": settings.folds,
        "loss_label_nats": round(learned.loss.label, 4),
        "loss_time_nats": round(learned.loss.time, 4),
        "onnx_difference": learned.difference,
        "recipe": asdict(settings.recipe),
    }
