"""A model artifact that was learned from the simulated shop in a second: all but its network, whose weights are random.

So it needs no torch. Its labels are no surprise to it, or all are: structure is found by its grammar, times by the
spread of each label's own.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from otel_tracead.artifact import folder
from otel_tracead.artifact.manifest import SCHEMA_VERSION, Labels, Manifest, Network, ReportCard
from otel_tracead.detection.scorer import OUTPUTS
from otel_tracead.generator import Fault, Scenario, requests, simulate
from otel_tracead.traces.encoding import Encoder
from otel_tracead.traces.labels import LabelTemplate
from otel_tracead.traces.offline import gather
from otel_tracead.traces.sequences import Order
from otel_tracead.traces.trace import Trace
from otel_tracead.training import learning, onnx_graph
from otel_tracead.training.architecture import Architecture
from otel_tracead.training.fitting import Fitted, Task
from otel_tracead.training.learning import Learned, LearningSettings
from otel_tracead.training.recipe import Loss
from otel_tracead.wire.otlp import Envelopes, decode_request

START = 1_700_000_000_000_000_000
SIZES = {"embedding": 4, "label_units": 5, "time_units": 3, "head_units": 4, "components": 2}


def shop_traces(seed: int = 1, duration_s: float = 60.0, faults: tuple[Fault, ...] = ()) -> list[Trace]:
    run = simulate(Scenario(seed=seed, start_unix_nano=START, duration_s=duration_s, faults=faults))
    envelopes = Envelopes()
    return list(gather(decode_request(body, envelopes) for _, body in requests(run)))


def random_network(architecture: Architecture, seed: int = 0) -> bytes:
    """Give the bytes of a network with random weights."""
    a, k, random = architecture, architecture.components, np.random.default_rng(seed)

    def some(*shape: int) -> np.ndarray:
        return random.normal(0.0, 0.3, shape).astype(np.float32)

    weights = {
        "embedding.weight": some(a.labels, a.embedding),
        "next_hidden.weight": some(a.labels, a.head_units),
        "label_head.weight": some(a.classes, a.joined),
        "label_head.bias": some(a.classes),
        "time_hidden.weight": some(a.head_units, a.joined),
        "time_hidden.bias": some(a.head_units),
        "time_head.weight": 0.1 * some(3 * k, a.head_units),
        "time_head.bias": np.concatenate((np.zeros(k), np.linspace(-0.5, 0.5, k), np.full(k, -0.5))).astype(np.float32),
    }
    for name, wide, units in (("label", a.embedding, a.label_units), ("time", a.embedding + 1, a.time_units)):
        weights |= {
            f"{name}_lstm.weight_ih_l0": some(4 * units, wide),
            f"{name}_lstm.weight_hh_l0": some(4 * units, units),
            f"{name}_lstm.bias_ih_l0": some(4 * units),
            f"{name}_lstm.bias_hh_l0": some(4 * units),
        }
    return onnx_graph.build(weights, architecture)


def learned(traces: list[Trace], settings: LearningSettings | None = None) -> Learned:
    """Learn everything but the network."""

    def no_fit(task: Task, parts: Sequence[np.ndarray], _progress: object) -> list[Fitted]:
        return [Fitted(random_network(task.architecture), Loss(0.0, 0.0), 0.0) for _ in parts]

    encoded = Encoder(LabelTemplate()).encode(traces)
    return learning.learn(encoded, settings or LearningSettings(sizes=SIZES), fit=no_fit)


def manifest_of(model: Learned, template: LabelTemplate | None = None) -> Manifest:
    state = model.architecture.state
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name="tiny",
        version="1",
        created="2026-01-01T00:00:00+00:00",
        labels=Labels.of(template or LabelTemplate(), Order.TREE),
        network=Network(
            architecture={"type": "multimodal_lstm", **asdict(model.architecture)},
            inputs={"labels": ["batch", "time"], "times": ["batch", "time", 1], "state": ["batch", state]},
            outputs=[*OUTPUTS],
            state=state,
        ),
        thresholds={"false_positive_rate": 0.01},
        training={"seconds": 1e-07},
        report_card=ReportCard(passed=True, reasons=(), figures={"auc": 0.5}, words=()),
        files={},
    )


def contents_of(model: Learned) -> dict[str, bytes]:
    return {
        folder.NETWORK: model.network,
        folder.LABELS: folder.encode_dictionary(model.dictionary),
        folder.CALIBRATION: model.calibration.dump(),
        folder.REPORT: b"<!doctype html>",
    }


def write_artifact(path: Path, model: Learned, **changes: object) -> Manifest:
    return folder.save(path, manifest_of(model).model_copy(update=changes), contents_of(model))
