"""What judging costs a span does not grow with the length of a trace, nor with what the model knows."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_model import shop_traces

from otel_tracead.artifact import folder
from otel_tracead.artifact.folder import Artifact
from otel_tracead.artifact.tails import Tails
from otel_tracead.detection.detector import DetectionSettings, ModelDetector, from_artifact
from otel_tracead.traces.dictionary import Dictionary
from otel_tracead.traces.trace import Trace

SHOP = Path(__file__).parents[2] / "model_artifacts" / "shop"
MANY = 1000


@pytest.fixture(scope="module")
def shop() -> Artifact:
    return folder.load(SHOP)


@pytest.fixture(scope="module")
def traffic() -> list[Trace]:
    return shop_traces(seed=3, duration_s=25.0)


def cpu_a_span(detector: ModelDetector, traces: list[Trace]) -> float:
    """Give the least CPU seconds a span of some goes."""
    taken = []
    for _ in range(4):
        began = time.process_time()
        detector.judge(traces)
        taken.append(time.process_time() - began)
    return min(taken) / sum(len(trace.spans) for trace in traces)


def padded(column: np.ndarray, rows: int) -> np.ndarray:
    return np.concatenate((column, np.repeat(column[-1:], rows, axis=0)))


def with_more_labels(artifact: Artifact, known: ModelDetector, more: int) -> ModelDetector:
    """Give the same detector with *more* labels in its dictionary that nobody uses."""
    numbers, labels = artifact.calibration, artifact.dictionary
    tails = numbers.time_tails
    wide = replace(
        numbers,
        center=padded(numbers.center, more),
        scale=padded(numbers.scale, more),
        usual=padded(numbers.usual, more),
        typical_us=padded(numbers.typical_us, more),
        time_tails=Tails(padded(tails.knots, more), padded(tails.slope, more)),
        order=np.concatenate((numbers.order[:-1], np.ones(more, np.int64), numbers.order[-1:])),
        places=replace(numbers.places, of_label=padded(numbers.places.of_label, more)),
    )
    template, order = artifact.manifest.labels.parsed()
    return ModelDetector(
        dictionary=Dictionary([*labels.labels, *(f"other [internal] {n}" for n in range(more))], labels.rare),
        calibration=wide,
        scorer=known._scorer,
        template=template,
        order=order,
        info=known.model,
        settings=DetectionSettings(),
    )


def test_a_long_trace_costs_no_more_a_span_than_many_short_ones(shop, traffic):
    detector = from_artifact(shop, DetectionSettings())
    spans = [span for trace in traffic for span in trace.spans][:5000]
    envelopes = [one for trace in traffic for one in trace.envelopes][:5000]
    assert len(spans) == 5000
    one = Trace(traffic[0].trace_id, spans, envelopes)
    assert cpu_a_span(detector, [one]) < 4 * cpu_a_span(detector, traffic)  # once over marks, as slow as a quarter


def test_a_thousand_labels_cost_no_more_than_twice(shop, traffic):
    few = from_artifact(shop, DetectionSettings())
    many = with_more_labels(shop, few, MANY)
    assert [one.score for one in many.judge(traffic)] == [one.score for one in few.judge(traffic)]
    assert cpu_a_span(many, traffic) < 2 * cpu_a_span(few, traffic)
