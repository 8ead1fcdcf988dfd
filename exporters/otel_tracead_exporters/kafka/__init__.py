"""The `kafka` exporter: spans to a Kafka topic."""

from otel_tracead.component import Component, Consumer, Factory, Kind, Settings
from otel_tracead_exporters.kafka.config import KafkaConfig


def _build(config: KafkaConfig, settings: Settings, _consumer: Consumer | None) -> Component:
    from otel_tracead.exporting import QueuedExporter
    from otel_tracead.kafka.encodings import GIVE_BACK
    from otel_tracead_exporters.kafka.sender import KafkaSender

    sender = KafkaSender(config, settings)
    return QueuedExporter(settings, config, sender, originals=config.record_encoding in GIVE_BACK)


FACTORY = Factory(name="kafka", kind=Kind.EXPORTER, config=KafkaConfig, build=_build)

__all__ = ["FACTORY", "KafkaConfig"]
