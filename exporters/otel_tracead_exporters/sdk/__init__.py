"""The `sdk` exporter: any trace exporter of the OpenTelemetry Python SDK, found by its entry point."""

from otel_tracead.component import Component, Consumer, Factory, Kind, Settings
from otel_tracead_exporters.sdk.config import SdkConfig


def _build(config: SdkConfig, settings: Settings, _consumer: Consumer | None) -> Component:
    from otel_tracead.exporting import QueuedExporter
    from otel_tracead_exporters.sdk.sender import SdkSender

    return QueuedExporter(settings, config, SdkSender(config, settings), originals=False)


def _check(config: SdkConfig, _settings: Settings) -> list[str]:
    from otel_tracead_exporters.sdk.finding import problems

    return problems(config.exporter, config.keywords())


FACTORY = Factory(name="sdk", kind=Kind.EXPORTER, config=SdkConfig, build=_build, check=_check)

__all__ = ["FACTORY", "SdkConfig"]
