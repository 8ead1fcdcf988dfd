"""The variants: what is taken back of the default, from outside of the product."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final
from unittest.mock import patch

import numpy as np
import numpy.typing as npt

from otel_tracead.artifact import calibration
from otel_tracead.detection import evidence, grammar
from otel_tracead.detection.drift import Drift
from otel_tracead.detection.rules import DetectionSettings
from otel_tracead.detection.scorer import Scorer, Surprise
from otel_tracead.traces.dictionary import RARE_ID
from otel_tracead.traces.encoding import Events
from otel_tracead.traces.labels import CALLEE
from otel_tracead.training import learning
from otel_tracead.training.recipe import Sequenced

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Change = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class Variant:
    """The default with one step taken back.

    Attributes:
        name: as the table names it.
        anew: whether networks have to be trained for it; else it takes the default's.
        crossed: whether thresholds come from traces that a network was not fitted to.
        view: of the traces, for learning and for judging.
        sizes: of the network that differ.
        rules: other than the calibrated one.
        changes: functions of the product that others stand in for.
    """

    name: str
    anew: bool = False
    crossed: bool = True
    view: Callable[[Events], Events] = lambda events: events
    sizes: dict[str, int] = field(default_factory=dict)
    rules: DetectionSettings = field(default_factory=DetectionSettings)
    changes: Sequence[Change] = ()


def by_start(events: Events) -> Events:
    """Order the events of each trace by start time, as the paper does; a caller stays before its calls where they tie."""
    order = np.lexsort((events.start, events.trace))
    place = np.full(len(events) + 1, -1)
    place[order] = np.arange(len(order))
    columns = ("span", "label", "self_us", "duration_us", "start", "service", "instance", "callee")
    return replace(
        events, parent=place[events.parent[order]], **{name: getattr(events, name)[order] for name in columns}
    )


def by_total_time(events: Events) -> Events:
    """Take the whole response time of an event for its own work."""
    return replace(events, self_us=events.duration_us)


def without_callee(events: Events) -> Events:
    """Leave the callee out of labels."""
    plain = [label.split(CALLEE, 1)[0] for label in events.labels]
    labels = sorted(set(plain))
    place = {label: index for index, label in enumerate(labels)}
    return replace(events, label=np.array([place[label] for label in plain])[events.label], labels=labels)


def min_max() -> AbstractContextManager[object]:
    """Scale times as the paper does: to the smallest and largest of each label in the training traces, which come first."""
    low: Floats = np.zeros(0)
    width: Floats = np.zeros(0)

    def scaled(own_us: Floats, label: Ints, center: Floats, _scale: Floats) -> Floats:
        nonlocal low, width
        if not len(low):
            low, high = np.full(len(center), np.inf), np.zeros(len(center))
            np.minimum.at(low, label, own_us)
            np.maximum.at(high, label, own_us)
            low[np.isinf(low)] = 0.0
            width = np.maximum(high - low, 1.0)
        return np.asarray((own_us - low[label]) / width[label])

    def back(times: Floats, label: Ints, _calibration: calibration.Calibration) -> Floats:
        return np.asarray(np.maximum(low[label] + times * width[label], 0.0))

    stack = ExitStack()
    stack.enter_context(patch.object(evidence, "scaled_times", scaled))
    stack.enter_context(patch.object(evidence, "from_scaled", back))
    return stack


def no_times() -> AbstractContextManager[object]:
    """Let all times look typical to the network, and nothing of them count: labels only."""
    return patch.object(evidence, "scaled_times", lambda _own_us, label, _center, _scale: np.zeros(len(label)))


def no_labels() -> AbstractContextManager[object]:
    """Let all labels look the same to the network: times only."""
    stack = ExitStack()
    stack.enter_context(
        patch.object(
            learning,
            "Sequenced",
            lambda label, scaled, offsets: Sequenced(np.minimum(label, RARE_ID), scaled, offsets),
        )
    )
    surprise = Scorer.surprise

    def blind(self: Scorer, labels: Ints, times: Floats, offsets: Ints, *, ranks: bool = False) -> Any:
        return surprise(self, np.minimum(labels, RARE_ID), times, offsets, ranks=ranks)

    stack.enter_context(patch.object(Scorer, "surprise", blind))
    return stack


def without(channel: int) -> AbstractContextManager[object]:
    """Let one kind of evidence say nothing."""
    strongest, learn = evidence.strongest, grammar.learn

    def rest(events: Events, found: evidence.Evidence) -> Floats:
        best = strongest(events, found)
        best[channel] = 0.0
        return best

    def silent(*arguments: Any, **settings: Any) -> tuple[grammar.Grammar, Floats]:
        rules, alone = learn(*arguments, **settings)
        return rules, np.zeros_like(alone)

    stack = ExitStack()
    stack.enter_context(patch.object(evidence, "strongest", rest))
    if channel == evidence.STEP:
        stack.enter_context(patch.object(grammar, "learn", silent))
        stack.enter_context(patch.object(learning, "_lone_labels", lambda events, _rules: np.zeros(events.traces)))
    return stack


def no_impact() -> AbstractContextManager[object]:
    """Let a long time count whatever it means to the trace."""
    return patch.object(evidence, "weight", lambda excess_us, _typical_us: np.ones(len(excess_us)))


def by_probability() -> AbstractContextManager[object]:
    """Let a time count by how improbable it was predicted to be, not by how much longer it is than what is long."""

    gather = evidence.gather

    def by_surprise(events: Events, known: evidence.Known, surprise: Surprise, *rest: Any) -> evidence.Evidence:
        numbers: calibration.Calibration = rest[0]
        found = gather(events, known, surprise, *rest)
        first = known.label[events.offsets[:-1]]
        expected = 10.0 ** numbers.center[known.label] - 1.0
        typical = evidence.typical_trace(first, numbers)[events.trace]
        at = np.arange(len(events)) + events.trace
        found.time = surprise.time[at] * evidence.weight(np.maximum(known.own_us - expected, 0.0), typical)
        return found

    return patch.object(evidence, "gather", by_surprise)


def no_drift() -> AbstractContextManager[object]:
    """Take times as they are, however long they have been different."""
    return patch.object(Drift, "follow", lambda _self, events, _label: (np.zeros(len(events)), np.ones(len(events))))


def no_shares() -> AbstractContextManager[object]:
    """Let each kind of evidence use as much of the budget as any other."""
    return patch.object(calibration, "SHARES", (1.0,) * len(calibration.CHANNELS))


VARIANTS: Final = (
    Variant("the default"),
    Variant("events by start time", anew=True, view=by_start),
    Variant("response times scaled by minimum and maximum", anew=True, changes=(min_max,)),
    Variant("one distribution instead of a mixture of four", anew=True, sizes={"components": 1}),
    Variant("response time instead of own work", anew=True, view=by_total_time),
    Variant("labels without the callee", anew=True, view=without_callee),
    Variant("single modality: labels only", anew=True, changes=(no_times,)),
    Variant("single modality: times only", anew=True, changes=(no_labels,)),
    Variant("without rules of calls", changes=(partial(without, evidence.STEP),)),
    Variant("without the network's labels", changes=(partial(without, evidence.LABEL),)),
    Variant("without places that are slow for everybody", changes=(partial(without, evidence.PLACE),)),
    Variant("without following drift", changes=(no_drift,)),
    Variant("without shares of the budget", changes=(no_shares,)),
    Variant("without the weight of impact", changes=(no_impact,)),
    Variant("times by their probability", changes=(by_probability,)),
    Variant("thresholds from the fitted traces", crossed=False),
    Variant("the paper's rule: top 1", rules=DetectionSettings(top_k=1)),
    Variant("the paper's rule: top 3", rules=DetectionSettings(top_k=3)),
    Variant("the paper's rule: 95 % interval of times", rules=DetectionSettings(confidence=0.95)),
)
