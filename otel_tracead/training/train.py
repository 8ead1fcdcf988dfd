"""Trains a model: traces in, artifact out, with a report card of what the detector's own check found."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from otel_tracead.artifact import folder as artifacts
from otel_tracead.artifact.manifest import SCHEMA_VERSION, Labels, Manifest, Network, ReportCard
from otel_tracead.detection.check import CheckResult, conclude, spoken_kinds, try_out
from otel_tracead.detection.detector import DetectionSettings, ModelDetector
from otel_tracead.detection.paths import operations
from otel_tracead.detection.scorer import DETAILS, SURPRISES, Scorer
from otel_tracead.detection.verdicts import ModelInfo
from otel_tracead.errors import TraceadError
from otel_tracead.reports import training as report
from otel_tracead.traces.encoding import Events, select
from otel_tracead.traces.reading import Source
from otel_tracead.training.advice import advice
from otel_tracead.training.fit import device_of
from otel_tracead.training.learning import Learned, LearningSettings, learn, summary
from otel_tracead.training.reading import read
from otel_tracead.training.recipe import Recipe
from otel_tracead.training.settings import TrainConfig

Progress = Callable[[str, float], None]

_TRIALS = 150  # of each kind
_AGREEMENT = 1e-4  # nats


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
    if learned.difference > _AGREEMENT:
        raise TraceadError(
            f"the ONNX model differs from PyTorch's by {learned.difference:.2g} nats, more than {_AGREEMENT:g}: nothing was "
            "written; please report this with your versions of torch and onnxruntime"
        )
    warnings = advice(reading.events, learned.dictionary, reading.traces)
    contents = {
        artifacts.NETWORK: learned.network,
        artifacts.LABELS: artifacts.encode_dictionary(learned.dictionary),
        artifacts.CALIBRATION: learned.calibration.dump(),
    }
    version = hashlib.sha256(b"".join(contents.values())).hexdigest()[:12]
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        name=config.model.name or output.resolve().name,
        version=config.model.version or version,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        labels=Labels.of(template, order),
        network=Network(
            architecture={"type": "multimodal_lstm", **asdict(learned.architecture)},
            inputs={
                "labels": ["batch", "time"],
                "times": ["batch", "time", 1],
                "state": ["batch", learned.architecture.state],
            },
            outputs=[*SURPRISES, *DETAILS],
            state=learned.architecture.state,
        ),
        thresholds={"false_positive_rate": config.calibration.false_positive_rate},
        training={
            **summary(learned, reading.events, settings),
            "traces_read": reading.traces,
            "spans_read": reading.spans,
        },
        report_card=ReportCard(
            passed=result.passed,
            reasons=result.reasons,
            figures=dict(result.figures),
            words=(*result.words, spoken_kinds(result.findings), *warnings),
        ),
        files={},
    )
    execution_paths = operations(learned.calibration.paths, learned.dictionary)
    contents[artifacts.REPORT] = report.render(manifest, execution_paths).encode()
    return artifacts.save(output, manifest, contents), warnings


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
