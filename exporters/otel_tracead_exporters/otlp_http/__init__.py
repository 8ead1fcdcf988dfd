"""The `otlp_http` exporter: OTLP over HTTP, protobuf or JSON."""

from otel_tracead.component import Component, Consumer, Factory, Kind, Settings
from otel_tracead_exporters.otlp_http.config import OtlpHttpConfig


def _build(config: OtlpHttpConfig, settings: Settings, _consumer: Consumer | None) -> Component:
    from otel_tracead.exporting import QueuedExporter
    from otel_tracead_exporters.otlp_http.sender import OtlpHttpSender

    return QueuedExporter(settings, config, OtlpHttpSender(config, settings), originals=False)


FACTORY = Factory(name="otlp_http", kind=Kind.EXPORTER, config=OtlpHttpConfig, build=_build, aliases=("otlphttp",))

__all__ = ["FACTORY", "OtlpHttpConfig"]
