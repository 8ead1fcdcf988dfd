"""Whole traces: gathered, encoded and judged by a small model, whatever their spans say."""

from functools import cache
from pathlib import Path
from typing import Final

from fuzz import mutation, samples
from fuzz.target import Finding, Target
from otel_tracead.detection.annotate import Mode
from otel_tracead.detection.detector import DetectionSettings, load_detector
from otel_tracead.detection.offline import OfflineStage
from otel_tracead.detection.verdicts import Detector
from otel_tracead.errors import InvalidRequest
from otel_tracead.wire import otlp
from otel_tracead.wire.otlp import Envelopes


@cache
def _detector() -> Detector:
    bundled = Path(__file__).parents[2] / "model_artifacts" / "shop"
    return load_detector(bundled, settings=DetectionSettings(unknown_labels=1.0), execution_provider="cpu")


def _run(data: bytes) -> None:
    try:
        batch = otlp.decode_request(data, Envelopes())
    except InvalidRequest:
        return
    stage = OfflineStage(_detector(), mode=Mode.ALL)
    out = sum(len(one) for one in stage.annotate([batch]))
    if stage.tally.error is not None:
        raise stage.tally.error
    if out != len(batch):
        raise Finding(f"{len(batch)} spans came, {out} left")


TRACES: Final = Target(
    name="traces",
    what="whole traces; gathered, encoded, judged by the bundled model and annotated: none is lost, no scoring fails",
    run=_run,
    seeds=lambda: [samples.request(), *samples.golden("otlp_plain.pb")],
    mutate=mutation.protobuf,
)
