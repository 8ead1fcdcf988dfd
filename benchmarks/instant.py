"""`python -m benchmarks.instant --config FILE`: `otel-tracead run` with a network that costs nothing and finds nothing odd.

What is left is the price of everything around the network: the yardstick for the network on CUDA. No option of the product
leads here: the processor is replaced by a factory that this module hands to the registry.
"""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import numpy as np

from otel_tracead import event_loop
from otel_tracead.component import Consumer, Factory, Kind, Settings
from otel_tracead.detection import detector
from otel_tracead.detection.scorer import Details, Surprise
from otel_tracead.detection.verdicts import Detector
from otel_tracead.processors.tracead.config import TraceadConfig
from otel_tracead.processors.tracead.model import ModelFolders
from otel_tracead.processors.tracead.processor import TraceadProcessor
from otel_tracead.service.config import ServiceConfig
from otel_tracead.service.loading import load
from otel_tracead.service.logs import make_logger
from otel_tracead.service.registry import Registry
from otel_tracead.service.runner import Runner
from otel_tracead.service.uris import Sources


class InstantScorer:
    """Stands in for `otel_tracead.detection.scorer.Scorer`: every span is what was expected."""

    execution_provider = "instant"
    trouble = ""

    def __init__(self, _model: bytes, **_settings: Any) -> None: ...

    def surprise(self, _labels: Any, _times: Any, offsets: Any, *, ranks: bool = False) -> Surprise:
        """See `Scorer.surprise`."""
        positions = offsets + np.arange(len(offsets))
        count = int(positions[-1])
        rank = np.zeros(count if ranks else 0, np.int64)
        return Surprise(np.zeros(count), np.zeros(count), np.full(count, np.inf), positions.astype(np.int64), rank)

    def details(self, _labels: Any, _times: Any, offsets: Any, traces: Any) -> list[Details]:
        """See `Scorer.details`: for traces in which something else than the network found an anomaly."""
        counts = (np.diff(offsets)[traces] + 1).tolist()
        return [
            Details(
                np.zeros(count, np.int64),
                np.zeros((count, 3), np.int64),
                np.zeros((count, 3), np.float32),
                np.zeros((count, 3), np.float32),
            )
            for count in counts
        ]


class InstantModels(ModelFolders):
    """The models on disk, with the network of each left out."""

    def load(self, config: TraceadConfig, current: Detector | None = None) -> Detector:
        """See `ModelFolders.load`."""
        with patch.object(detector, "Scorer", InstantScorer):
            return super().load(config, current)


def _build(config: TraceadConfig, settings: Settings, consumer: Consumer | None) -> TraceadProcessor:
    if consumer is None:
        raise TypeError("a processor needs a next consumer")
    return TraceadProcessor(config, settings, consumer, InstantModels(settings.base))


_FACTORY = Factory(name="tracead", kind=Kind.PROCESSOR, config=TraceadConfig, build=_build, stability="development")


@click.command()
@click.option("--config", type=click.Path(path_type=Path, exists=True), required=True)
def main(config: Path) -> None:
    """Run until a signal comes."""
    sources = Sources((str(config),), ())

    def loaded() -> ServiceConfig:
        return load(sources, Registry([_FACTORY]))

    async def run() -> int:
        return await Runner(loaded, lambda found: make_logger(found.telemetry.logs, found.base)).run()

    raise SystemExit(event_loop.run(run()))


if __name__ == "__main__":
    main()
