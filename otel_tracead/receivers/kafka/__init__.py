"""The `kafka` receiver: spans from Kafka topics, as a member of a consumer group."""

from otel_tracead.component import Component, Consumer, Factory, Kind, Settings
from otel_tracead.receivers.kafka.config import KafkaReceiverConfig


def _build(config: KafkaReceiverConfig, settings: Settings, consumer: Consumer | None) -> Component:
    from otel_tracead.receivers.kafka.receiver import KafkaReceiver

    if consumer is None:
        raise TypeError("a receiver needs a consumer")
    return KafkaReceiver(config, settings, consumer)


FACTORY = Factory(name="kafka", kind=Kind.RECEIVER, config=KafkaReceiverConfig, build=_build)

__all__ = ["FACTORY", "KafkaReceiverConfig"]
