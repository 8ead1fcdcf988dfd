"""The processor `tracead`: marks anomalous spans, forwards every span."""

from typing import Final

from otel_tracead.component import Consumer, Factory, Kind, Settings
from otel_tracead.errors import ArtifactError
from otel_tracead.processors.tracead.config import TraceadConfig
from otel_tracead.processors.tracead.model import ModelFolders, load
from otel_tracead.processors.tracead.processor import TraceadProcessor


def _build(config: TraceadConfig, settings: Settings, consumer: Consumer | None) -> TraceadProcessor:
    if consumer is None:
        raise TypeError("a processor needs a next consumer")
    return TraceadProcessor(config, settings, consumer, ModelFolders(settings.base))


def _check(config: TraceadConfig, settings: Settings) -> list[str]:
    problems = []
    try:
        load(config, settings.base)
    except ArtifactError as error:
        problems.append(f"model: {error}")
    except RuntimeError as error:
        problems.append(f"execution_provider: {error}")
    record = None if config.record is None else settings.base / config.record
    if record is not None and record.exists() and not record.is_dir():
        problems.append(f"record: {record} is not a folder")
    return problems


FACTORY: Final = Factory(
    name="tracead", kind=Kind.PROCESSOR, config=TraceadConfig, build=_build, check=_check, stability="beta"
)

__all__ = ["FACTORY"]
