"""The `debug` exporter: what goes by, in words."""

from otel_tracead.component import Component, Consumer, Factory, Kind, Settings
from otel_tracead_exporters.debug.config import DebugConfig


def _build(config: DebugConfig, settings: Settings, _consumer: Consumer | None) -> Component:
    from otel_tracead.exporting import ExporterConfig, QueueConfig, QueuedExporter, RetryConfig
    from otel_tracead_exporters.debug.sender import DebugSender

    at_once = ExporterConfig(
        timeout=0, retry_on_failure=RetryConfig(enabled=False), sending_queue=QueueConfig(enabled=False)
    )
    return QueuedExporter(settings, at_once, DebugSender(config, settings), originals=False)


FACTORY = Factory(name="debug", kind=Kind.EXPORTER, config=DebugConfig, build=_build)

__all__ = ["FACTORY", "DebugConfig"]
