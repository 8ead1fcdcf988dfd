"""Trains a model: traces in, artifact out, with a report card of what the detector's own check found."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np

from otel_tracead.artifact.manifest import Labels, Manifest, Network
from otel_tracead.detection.check import CheckResult, conclude, try_out
from otel_tracead.detection.detector import DetectionSettings, ModelDetector
from otel_tracead.detection.paths import operations
from otel_tracead.detection.scorer import OUTPUTS, Scorer
from otel_tracead.detection.verdicts import ModelInfo
from otel_tracead.traces.encoding import Events, select
from otel_tracead.traces.reading import Source
from otel_tracead.training.advice import advice
from otel_tracead.training.fit import device_of
from otel_tracead.training.learning import Learned, LearningSettings, learn, summary
from otel_tracead.training.reading import read
from otel_tracead.training.recipe import Recipe
from otel_tracead.training.settings import TrainConfig
from otel_tracead.training.writing import Outcome, hold_to_agreement, write

Progress = Callable[[str, float], None]

_TRIALS = 150  # of each kind


def train(
    sources: Sequence[Source], output: Path, config: TrainConfig, progress: Progress
) -> tuple[Manifest, list[str]]:
    """Learn the normal behaviour in the traces of *sources* and write the artifact to the folder *output*.

    Returns:
        The manifest, and what the user should know (warnings in words).

    Raises:
        InputError: a source cannot be read, or there is too little to learn from.
        ArtifactError: *output* cannot be written.
        TraceadError: the exported network does not say what the fitted one says.
    """
    template, order = config.template(), config.order()
    reading = read(
        sources,
        template,
        order,
        max_spans=config.training.max_spans,
        progress=partial(progress, "reading traces"),
    )
    settings = _settings(config)
    learned = learn(reading.events, settings, progress)
    progress("checking the detector", 0.0)
    result = _check(learned, reading.events, config, progress)
    hold_to_agreement(learned.difference, " nats")
    warnings = advice(reading.events, learned.dictionary, reading.traces)
    outcome = Outcome(
        network=learned.network,
        dictionary=learned.dictionary,
        calibration=learned.calibration.dump(),
        labels=Labels.of(template, order),
        shape=Network(
            architecture={"type": "multimodal_lstm", **asdict(learned.architecture)},
            inputs={
                "labels": ["batch", "time"],
                "times": ["batch", "time", 1],
                "state": ["batch", learned.architecture.state],
            },
            outputs=[*OUTPUTS],
            state=learned.architecture.state,
        ),
        thresholds={"false_positive_rate": config.calibration.false_positive_rate},
        summary={
            **summary(learned, reading.events, settings),
            "traces_read": reading.traces,
            "spans_read": reading.spans,
        },
        check=result,
        warnings=warnings,
        paths=operations(learned.calibration.paths, learned.dictionary),
    )
    return write(output, outcome, config.model.name, config.model.version), warnings


def _settings(config: TrainConfig) -> LearningSettings:
    chosen = config.training.model_dump(include={"epochs", "steps", "batch", "learning_rate", "patience"})
    recipe = replace(Recipe(seed=config.training.seed), **{k: v for k, v in chosen.items() if v is not None})
    sizes = config.model.model_dump(exclude={"name", "version"}, exclude_none=True)
    return LearningSettings(
        max_labels=config.labels.max_labels,
        min_count=config.labels.min_count,
        folds=config.training.folds,
        budget=config.calibration.false_positive_rate,
        recipe=recipe,
        sizes=sizes,
        device=device_of(config.training.device),
    )


def _check(learned: Learned, events: Events, config: TrainConfig, progress: Progress) -> CheckResult:
    """Try the detector out on each block of time with the network that never saw that block."""
    budget = config.calibration.false_positive_rate
    everything = np.arange(events.traces)
    tried = []
    for number, fold in enumerate(learned.folds):
        detector = partial(
            ModelDetector,
            dictionary=learned.dictionary,
            calibration=learned.calibration,
            scorer=Scorer(fold.network, state=learned.architecture.state, provider="cpu"),
            template=config.template(),
            order=config.order(),
            info=ModelInfo("card", "0"),
            settings=DetectionSettings(false_positive_rate=budget),
        )
        part, rest = select(events, fold.traces), select(events, np.setdiff1d(everything, fold.traces))
        seed = config.training.seed + number
        tried.append(try_out(detector, part, count=-(-_TRIALS // len(learned.folds)), seed=seed, reference=rest))
        progress("checking the detector", (number + 1) / len(learned.folds))
    return conclude(tried, budget)
