"""The `file` exporter: OTLP JSON lines or length-prefixed protobuf, with rotation."""

from otel_tracead.component import Component, Consumer, Factory, Kind, Settings
from otel_tracead_exporters.file.config import FileConfig


def _build(config: FileConfig, settings: Settings, _consumer: Consumer | None) -> Component:
    from otel_tracead.exporting import ExporterConfig, QueuedExporter
    from otel_tracead_exporters.file.sender import FileSender

    # No time limit: a write that was given up could still come through, and the next attempt would double it.
    shared = ExporterConfig(timeout=0, retry_on_failure=config.retry_on_failure, sending_queue=config.sending_queue)
    return QueuedExporter(settings, shared, FileSender(config), originals=False)


FACTORY = Factory(name="file", kind=Kind.EXPORTER, config=FileConfig, build=_build)

__all__ = ["FACTORY", "FileConfig"]
