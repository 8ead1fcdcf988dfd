"""A model of the preset `paper` that was learned from the simulated shop in a second: its network has random weights.

So it needs no torch. It says nothing sensible of traces; what is made of what it says can be tested all the same.
"""

from pathlib import Path

import numpy as np

from otel_tracead.artifact import folder
from otel_tracead.artifact.manifest import SCHEMA_VERSION, Labels, Manifest, Network, ReportCard
from otel_tracead.artifact.paper import learn_min_max
from otel_tracead.detection.window_network import STRUCTURE, TIME
from otel_tracead.traces.encoding import Encoder, Events
from otel_tracead.traces.labels import PAPER_TEMPLATE, LabelTemplate
from otel_tracead.traces.sequences import Order
from otel_tracead.traces.trace import Trace
from otel_tracead.traces.windows import Windows, cut, learn_dictionary
from otel_tracead.training.paper.architecture import DENSE, Join, Layers, Modality, WindowArchitecture
from otel_tracead.training.paper.graph import build
from otel_tracead.training.paper.learning import LearnedPaper, calibrate
from otel_tracead.training.paper.models import WindowModel, measure_errors, runner
from otel_tracead.training.paper.recipe import WindowLoss, WindowRecipe

TEMPLATE = LabelTemplate(PAPER_TEMPLATE, callee=False)


def random_weights(a: WindowArchitecture, seed: int = 0) -> dict[str, np.ndarray]:
    """Give weights by the names that the networks in PyTorch have for them."""
    random = np.random.default_rng(seed)
    weights: dict[str, np.ndarray] = {}

    def linear(name: str, width: int, units: int) -> None:
        weights[f"{name}.weight"] = random.normal(0, 0.5, (units, width)).astype(np.float32)
        weights[f"{name}.bias"] = random.normal(0, 0.5, units).astype(np.float32)

    def lstm(name: str, width: int) -> None:
        for part, columns in (("ih", width), ("hh", a.units)):
            weights[f"{name}.weight_{part}_l0"] = random.normal(0, 0.5, (4 * a.units, columns)).astype(np.float32)
            weights[f"{name}.bias_{part}_l0"] = random.normal(0, 0.5, 4 * a.units).astype(np.float32)

    modalities = [
        (name, width) for name, width, read in (("label", a.labels, a.reads_labels), ("time", 1, a.reads_times)) if read
    ]
    if a.layers is Layers.DENSE:
        first, second = DENSE
        hidden = second
        for name, width in modalities:
            linear(f"{name}_first", width * a.length, first)
            linear(f"{name}_second", first * len(modalities), second)
    elif len(modalities) == 1 or a.join is Join.FIRST:
        hidden = a.units
        lstm("first_lstm", sum(width for _, width in modalities))
        lstm("second_lstm", a.units)
    else:
        hidden = 2 * a.units if a.join is Join.HEADS else a.units
        for name, width in modalities:
            lstm(f"{name}_lstm", width)
            if a.join is Join.HEADS:
                lstm(f"{name}_second_lstm", a.units)
        if a.join is Join.SECOND:
            lstm("second_lstm", 2 * a.units)
    for name, width in modalities:
        linear(f"{name}_head", hidden, width)
    return weights


def random_network(architecture: WindowArchitecture, seed: int = 0) -> bytes:
    return build(random_weights(architecture, seed), architecture)


def random_windows(count: int, labels: int, length: int = 20, seed: int = 0) -> Windows:
    random = np.random.default_rng(seed)
    lengths = random.integers(1, length + 1, count)
    inside = np.arange(length) < lengths[:, None]
    return Windows(
        np.where(inside, random.integers(1, labels, (count, length)), 0),
        np.where(inside, random.lognormal(0, 1, (count, length)), 0.0),
        lengths,
        random.random(count) < 0.8,
        np.arange(count),
    )


def encoded(traces: list[Trace]) -> Events:
    return Encoder(TEMPLATE, Order.START).encode(traces)


def learned(events: Events, *, seed: int = 0, **shape: object) -> LearnedPaper:
    """Learn everything but the weights."""

    dictionary = learn_dictionary(events, max_labels=100, min_count=1)
    architecture = WindowArchitecture(
        layers=Layers.LSTM, modality=Modality.BOTH, labels=len(dictionary), **({"units": 8} | shape)
    )
    windows = cut(events, dictionary, length=architecture.length)
    scale = learn_min_max(windows, len(dictionary))
    network = random_network(architecture, seed)
    errors = measure_errors(runner(network, architecture), windows, scale, architecture)
    model = WindowModel("paper", architecture, network, scale, errors, WindowLoss(0.0, 0.0), 1, 0.0, 0.0)
    return LearnedPaper(
        dictionary, WindowRecipe(), model, calibrate(events, dictionary, model), events, events.traces, events
    )


def manifest_of(model: LearnedPaper) -> Manifest:
    architecture = model.model.architecture
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name="paper",
        version="1",
        created="2026-01-01T00:00:00+00:00",
        detector="paper",
        labels=Labels.of(TEMPLATE, Order.START),
        network=Network(
            architecture={"type": "paper_multimodal_lstm", "length": architecture.length},
            inputs={"labels": ["batch", "time"], "times": ["batch", "time", 1]},
            outputs=[*STRUCTURE, TIME],
            state=0,
        ),
        thresholds={"false_positive_rate": 0.01, "top_k": 3, "confidence": 0.95},
        training={},
        report_card=ReportCard(passed=True, reasons=(), figures={}, words=()),
        files={},
    )


def write_artifact(path: Path, model: LearnedPaper, **changes: object) -> Manifest:
    contents = {
        folder.NETWORK: model.model.network,
        folder.LABELS: folder.encode_dictionary(model.dictionary),
        folder.CALIBRATION: model.calibration.dump(),
        folder.REPORT: b"<!doctype html>",
    }
    return folder.save(path, manifest_of(model).model_copy(update=changes), contents)
