"""Which model judges: loaded at the start, replaced by another configuration or by what is put into its folder."""

import asyncio
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final

import numpy as np

from otel_tracead import metrics
from otel_tracead.component import Settings
from otel_tracead.detection.drift import FollowsDrift
from otel_tracead.detection.verdicts import Detector, ModelInfo
from otel_tracead.errors import TraceadError
from otel_tracead.processors.tracead.config import TraceadConfig
from otel_tracead.processors.tracead.judging import Judging
from otel_tracead.processors.tracead.model import Models, Watch

LOOK_SECONDS: Final = 5.0
"""Between two looks at the model's folder; a model is taken at the second one that finds it unchanged."""

_QUANTILES: Final = (0.0, 0.5, 1.0)


class ModelSupply:
    """Gives `Judging` its detectors; everything that takes time is done in threads of others.

    Args:
        config: what the user wrote.
        settings: id, telemetry, logger.
        models: where models come from.
        look_seconds: between two looks at the folder.
    """

    def __init__(
        self, config: TraceadConfig, settings: Settings, models: Models, look_seconds: float = LOOK_SECONDS
    ) -> None:
        self._config = config
        self._models = models
        self._look_seconds = look_seconds
        self._id = settings.id
        self._logger = settings.logger
        self._telemetry = settings.telemetry
        self._info = settings.telemetry.part()
        self._watch = Watch(())
        self._judging: Judging | None = None

    async def first(self) -> Detector:
        """Load the model to start with.

        Raises:
            ArtifactError: there is no such model, or it is refused.
            RuntimeError: CUDA was asked for and does not work.
        """
        self._watch = Watch(await asyncio.to_thread(self._models.stamp, self._config))
        return await asyncio.to_thread(self._models.load, self._config)

    def serve(self, judging: Judging) -> None:
        """Give *judging* its next models from now on."""
        self._judging = judging
        judging.reverted = self._reverted
        judging.moved = self._moved
        self._loaded(judging.detector)
        for quantile in _QUANTILES:
            self._telemetry.observe(metrics.DRIFT, partial(self._drift, quantile), self._id, f"{quantile:g}")
        self._telemetry.observe(metrics.DRIFT_LABELS, lambda: len(self._slower()), self._id)
        for outcome in ("loaded", "refused", "reverted"):
            self._telemetry.counter(metrics.MODEL_LOADS, self._id, outcome)  # 0 from the start, as SHOWN_AT_ONCE

    async def prepare(self, config: TraceadConfig) -> Callable[[], None]:
        """Load what *config* says, if that is another model or another use of it; gives what puts it in force.

        Raises:
            ArtifactError: there is no such model, or it is refused.
            RuntimeError: CUDA was asked for and does not work.
        """
        judging = self._serving()
        seen = await asyncio.to_thread(self._models.stamp, config)
        detector = await asyncio.to_thread(self._wanted, config, judging.detector)

        def follow() -> None:
            self._config = config
            self._watch.done(seen)
            if detector is not None:
                self._replace(judging, detector)

        return follow

    async def watch(self) -> None:
        """Look at the folder again and again, and load what is new there."""
        while True:
            await asyncio.sleep(self._look_seconds)
            await self._look(self._config)

    async def _look(self, config: TraceadConfig) -> None:
        judging = self._serving()
        seen = await asyncio.to_thread(self._models.stamp, config)
        if not self._watch.look(seen):
            return
        try:
            detector = await asyncio.to_thread(self._wanted, config, judging.detector)
        except (TraceadError, OSError, RuntimeError) as error:
            if config is self._config:
                self._watch.done(seen)
                self._count("refused")
                self._logger.error("the model that lies there now is refused, the one before stays", error=str(error))  # noqa: TRY400
            return
        if config is self._config:  # a reload was not faster
            self._watch.done(seen)
            if detector is not None:
                self._replace(judging, detector)

    def _wanted(self, config: TraceadConfig, current: Detector) -> Detector | None:
        """Give the detector of *config*, or None where that is the one in use."""
        before = self._config
        if self._models.digest(config) == current.model.digest != "":
            as_loaded = (before.execution_provider, before.require_report_card)
            if as_loaded == (config.execution_provider, config.require_report_card):
                same = (config.detection, config.unknown_labels) == (before.detection, before.unknown_labels)
                return None if same else self._models.load(config, current)
        return self._models.load(config)

    def _replace(self, judging: Judging, detector: Detector) -> None:
        judging.replace(detector)
        self._count("loaded")
        self._loaded(detector)

    def _loaded(self, detector: Detector) -> None:
        if detector.model.trouble:
            self._logger.warning("CUDA does not work, traces are judged on the CPU", error=detector.model.trouble)
        self._tell("model loaded", detector)

    def _reverted(self, detector: Detector, error: str) -> None:
        self._count("reverted")
        self._logger.error("the new model cannot judge, the one before judges again", error=error)
        self._tell("model reverted", detector)

    def _moved(self, detector: Detector) -> None:
        self._logger.error("the GPU failed, traces are judged on the CPU from now on", error=detector.model.trouble)
        self._tell("model moved", detector)

    def _tell(self, event: str, detector: Detector) -> None:
        model = detector.model
        provider = model.execution_provider
        self._logger.info(event, model=model.name, version=model.version, execution_provider=provider)
        self._info.forget_observed()
        self._info.observe(metrics.MODEL_INFO, lambda: 1.0, self._id, model.name, model.version, provider)
        self._info.observe(metrics.MODEL_AGE, lambda: _age(model), self._id)

    def _count(self, outcome: str) -> None:
        self._telemetry.counter(metrics.MODEL_LOADS, self._id, outcome).add()

    def _slower(self) -> "np.typing.NDArray[np.float64]":
        detector = self._serving().detector
        return detector.slower() if isinstance(detector, FollowsDrift) else np.zeros(0)

    def _drift(self, quantile: float) -> float:
        slower = self._slower()
        return float(np.quantile(slower, quantile)) if len(slower) else math.nan

    def _serving(self) -> Judging:
        if self._judging is None:
            raise RuntimeError("there is no model yet")
        return self._judging


def _age(model: ModelInfo) -> float:
    try:
        created = datetime.fromisoformat(model.created)
    except ValueError:
        return math.nan
    return time.time() - created.replace(tzinfo=created.tzinfo or UTC).timestamp()
