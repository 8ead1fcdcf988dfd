"""The `zipkin` exporter: Zipkin v2, JSON or protobuf, over HTTP."""

from otel_tracead.component import Component, Consumer, Factory, Kind, Settings
from otel_tracead_exporters.zipkin.config import ZipkinConfig


def _build(config: ZipkinConfig, settings: Settings, _consumer: Consumer | None) -> Component:
    from otel_tracead.exporting import QueuedExporter
    from otel_tracead_exporters.zipkin.sender import ZipkinSender

    return QueuedExporter(settings, config, ZipkinSender(config, settings))


FACTORY = Factory(name="zipkin", kind=Kind.EXPORTER, config=ZipkinConfig, build=_build)

__all__ = ["FACTORY", "ZipkinConfig"]
