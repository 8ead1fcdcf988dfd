"""The `otlp_grpc` exporter: OTLP over gRPC."""

from otel_tracead.component import Component, Consumer, Factory, Kind, Settings
from otel_tracead_exporters.otlp_grpc.config import OtlpGrpcConfig


def _build(config: OtlpGrpcConfig, settings: Settings, _consumer: Consumer | None) -> Component:
    from otel_tracead.exporting import QueuedExporter
    from otel_tracead_exporters.otlp_grpc.sender import OtlpGrpcSender

    return QueuedExporter(settings, config, OtlpGrpcSender(config, settings), originals=False)


FACTORY = Factory(name="otlp_grpc", kind=Kind.EXPORTER, config=OtlpGrpcConfig, build=_build, aliases=("otlp",))

__all__ = ["FACTORY", "OtlpGrpcConfig"]
