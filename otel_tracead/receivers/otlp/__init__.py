"""The `otlp` receiver: OTLP over gRPC and HTTP."""

from otel_tracead.component import Component, Consumer, Factory, Kind, Settings
from otel_tracead.receivers.otlp.config import OtlpReceiverConfig


def _build(config: OtlpReceiverConfig, settings: Settings, consumer: Consumer | None) -> Component:
    from otel_tracead.receivers.otlp.receiver import OtlpReceiver

    if consumer is None:
        raise TypeError("a receiver needs a consumer")
    return OtlpReceiver(config, settings, consumer)


FACTORY = Factory(name="otlp", kind=Kind.RECEIVER, config=OtlpReceiverConfig, build=_build)

__all__ = ["FACTORY", "OtlpReceiverConfig"]
