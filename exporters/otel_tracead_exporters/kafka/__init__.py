"""The `kafka` exporter: spans to a Kafka topic."""

from otel_tracead.component import Component, Consumer, Factory, Kind, Settings
from otel_tracead_exporters.kafka.config import KafkaConfig


def _build(config: KafkaConfig, settings: Settings, _consumer: Consumer | None) -> Component:
    from otel_tracead.exporting import QueuedExporter
    from otel_tracead_exporters.kafka.sender import KafkaSender

    return QueuedExporter(settings, config, KafkaSender(config, settings))


FACTORY = Factory(name="kafka", kind=Kind.EXPORTER, config=KafkaConfig, build=_build)

__all__ = ["FACTORY", "KafkaConfig"]
