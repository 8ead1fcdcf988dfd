"""From the events of normal traces to a model of the preset `paper`: dictionary, network, scales, and how odd normal is.

The paper learns from all and measures its errors on the same traces. Here the last part of the traffic by time is kept
apart, so that the report card speaks of traces that the model never saw.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.artifact import tails
from otel_tracead.artifact.paper import PaperCalibration
from otel_tracead.artifact.tails import Tails
from otel_tracead.detection.paper_evidence import evidence
from otel_tracead.errors import InputError
from otel_tracead.traces.dictionary import Dictionary
from otel_tracead.traces.encoding import Events, select
from otel_tracead.traces.windows import choose_by_length, cut, learn_dictionary
from otel_tracead.training.learning import FEWEST_TRACES, blocks_of_time
from otel_tracead.training.paper.architecture import Join
from otel_tracead.training.paper.models import MULTIMODAL, WindowModel, runner, train_model
from otel_tracead.training.paper.recipe import WindowRecipe
from otel_tracead.training.paper.settings import PaperConfig

Ints = npt.NDArray[np.int64]
Progress = Callable[[str, float], None]

_BLOCKS: Final = 5  # of time; the last is kept for the report card


@dataclass(slots=True)
class LearnedPaper:
    """Everything that was learned.

    Attributes:
        dictionary: the labels.
        recipe: how it was fitted.
        model: the multimodal LSTM.
        calibration: the numbers.
        earlier: traces that were learned from, or could have been.
        fitted: how many of them the network was fitted to.
        later: traces that were kept for the report card.
    """

    dictionary: Dictionary
    recipe: WindowRecipe
    model: WindowModel
    calibration: PaperCalibration
    earlier: Events
    fitted: int
    later: Events


def learn(
    events: Events, config: PaperConfig, device: str = "cpu", progress: Progress = lambda _what, _share: None
) -> LearnedPaper:
    """Learn from the events of normal traces.

    Raises:
        InputError: there are too few traces to learn from.
    """
    *first, last = blocks_of_time(events, _BLOCKS)
    earlier = select(events, np.sort(np.concatenate(first)))
    training, labels = config.training, config.labels
    chosen = choose_by_length(
        np.diff(earlier.offsets),
        np.random.default_rng(training.seed),
        each=training.traces_per_length,
        shortest=training.shortest,
        longest=config.model.length,
        longer=True,
    )
    if len(chosen) < FEWEST_TRACES:
        raise InputError(
            f"--input: {len(chosen)} traces of at least {training.shortest} spans in the first {1 - 1 / _BLOCKS:.0%} of "
            f"{events.traces} are too few to learn from (at least {FEWEST_TRACES}, better some thousands); give more or "
            "longer files of normal traffic"
        )
    dictionary = learn_dictionary(earlier, max_labels=labels.max_labels, min_count=labels.min_count)
    recipe = WindowRecipe(
        epochs=training.epochs,
        batch=training.batch,
        learning_rate=training.learning_rate,
        patience=training.patience,
        seed=training.seed,
        device=device,
    )
    model = train_model(
        "paper",
        cut(select(earlier, chosen), dictionary, length=config.model.length),
        MULTIMODAL.architecture(len(dictionary), config.model.length, config.model.units, Join(config.model.join)),
        recipe,
        lambda share: progress("fitting the network", share),
    )
    calibration = calibrate(earlier, dictionary, model)
    return LearnedPaper(dictionary, recipe, model, calibration, earlier, len(chosen), select(events, last))


def calibrate(events: Events, dictionary: Dictionary, model: WindowModel) -> PaperCalibration:
    """Measure how strong the strongest evidence of a trace is in *events*, of all lengths as they come."""
    nothing = Tails(np.zeros((2, tails.KNOTS)), np.ones(2))
    draft = PaperCalibration(model.scale, model.errors, nothing, nothing)
    windows = cut(events, dictionary, length=model.architecture.length)
    scaled = model.scale.scale(windows.time_ms, windows.label)
    outlook = runner(model.network, model.architecture).look(windows.label, windows.following[0], scaled)
    strongest = [one.max(axis=1) for one in evidence(outlook, windows, draft)]
    measured = [tails.measure(one) for one in strongest]
    channels = Tails(np.array([knots for knots, _ in measured]), np.array([slope for _, slope in measured]))
    strength = np.max([channels.strength(one, row) for row, one in enumerate(strongest)], axis=0)
    return PaperCalibration(model.scale, model.errors, channels, tails.single(strength))
