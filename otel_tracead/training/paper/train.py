"""`train --preset paper`: traces in, an artifact of the paper's multimodal LSTM and its rules out."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

from otel_tracead.artifact.manifest import Labels, Manifest, Network
from otel_tracead.detection.check import CheckResult, conclude, try_out
from otel_tracead.detection.paper import PaperDetector
from otel_tracead.detection.rules import DetectionSettings
from otel_tracead.detection.verdicts import ModelInfo
from otel_tracead.detection.window_network import STRUCTURE, TIME
from otel_tracead.traces.reading import Source
from otel_tracead.training.advice import advice
from otel_tracead.training.fit import device_of
from otel_tracead.training.paper.learning import LearnedPaper, Progress, learn
from otel_tracead.training.paper.models import runner
from otel_tracead.training.paper.settings import PaperConfig
from otel_tracead.training.reading import Reading, read
from otel_tracead.training.writing import Outcome, hold_to_agreement, write

_TRIALS: Final = 150  # of each kind


def train(
    sources: Sequence[Source], output: Path, config: PaperConfig, progress: Progress
) -> tuple[Manifest, list[str]]:
    """Learn as the paper does from the traces of *sources* and write the artifact to the folder *output*.

    Returns:
        The manifest, and what the user should know (warnings in words).

    Raises:
        InputError: a source cannot be read, or there is too little to learn from.
        ArtifactError: *output* cannot be written.
        TraceadError: the exported network does not say what the fitted one says.
    """
    reading = read(
        sources,
        config.template(),
        config.order(),
        max_spans=config.training.max_spans,
        progress=partial(progress, "reading traces"),
    )
    learned = learn(reading.events, config, device_of(config.training.device), progress)
    hold_to_agreement(learned.model.difference)
    result = _check(learned, config, partial(progress, "checking the detector"))
    warnings = [*advice(reading.events, learned.dictionary, reading.traces), *_unread(learned)]
    architecture = learned.model.architecture
    outcome = Outcome(
        network=learned.model.network,
        dictionary=learned.dictionary,
        calibration=learned.calibration.dump(),
        labels=Labels.of(config.template(), config.order()),
        shape=Network(
            architecture={
                "type": "paper_multimodal_lstm",
                "labels": architecture.labels,
                "length": architecture.length,
                "units": architecture.units,
                "join": architecture.join.value,
            },
            inputs={"labels": ["batch", "time"], "times": ["batch", "time", 1]},
            outputs=[*STRUCTURE, TIME],
            state=0,
        ),
        thresholds=config.calibration.model_dump(),
        summary=_summary(learned, reading),
        check=result,
        warnings=warnings,
        paper=True,
    )
    return write(output, outcome, config.model.name, config.model.version), warnings


def _check(learned: LearnedPaper, config: PaperConfig, progress: Callable[[float], None]) -> CheckResult:
    """Try the detector out on the traces that were kept apart."""
    calibration = config.calibration
    make = partial(
        PaperDetector,
        dictionary=learned.dictionary,
        calibration=learned.calibration,
        network=runner(learned.model.network, learned.model.architecture),
        length=learned.model.architecture.length,
        template=config.template(),
        order=config.order(),
        info=ModelInfo("card", "0"),
        settings=DetectionSettings(
            false_positive_rate=calibration.false_positive_rate,
            top_k=calibration.top_k,
            confidence=calibration.confidence,
        ),
    )
    tried = try_out(
        make, learned.later, count=_TRIALS, seed=config.training.seed, reference=learned.earlier, progress=progress
    )
    return conclude([tried], calibration.false_positive_rate)


def _unread(learned: LearnedPaper) -> list[str]:
    """Say how much of the traffic lies behind the window."""
    length = learned.model.architecture.length
    windows = learned.earlier.offsets[1:] - learned.earlier.offsets[:-1]
    share = float((windows - length).clip(0).sum() / max(len(learned.earlier), 1))
    if not share:
        return []
    return [
        f"{share:.0%} of the spans stand behind the first {length} of their traces (model::length) and are not judged."
    ]


def _summary(learned: LearnedPaper, reading: Reading) -> dict[str, object]:
    model = learned.model
    return {
        "traces_read": reading.traces,
        "spans_read": reading.spans,
        "traces": learned.fitted,
        "labels": len(learned.dictionary) - 2,
        "rare_labels": len(learned.dictionary.rare),
        "services": sorted(learned.earlier.services),
        "traces_kept_for_the_check": learned.later.traces,
        "epochs": model.epochs,
        "loss_label_nats": round(model.loss.label, 4),
        "squared_error_of_scaled_times": round(model.loss.time, 6),
        "onnx_difference": model.difference,
        "recipe": asdict(learned.recipe),
    }
