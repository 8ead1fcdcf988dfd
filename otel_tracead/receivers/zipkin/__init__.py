"""The `zipkin` receiver: Zipkin v2 JSON over HTTP."""

from otel_tracead.component import Component, Consumer, Factory, Kind, Settings
from otel_tracead.receivers.zipkin.config import ZipkinReceiverConfig


def _build(config: ZipkinReceiverConfig, settings: Settings, consumer: Consumer | None) -> Component:
    from otel_tracead.receivers.zipkin.receiver import ZipkinReceiver

    if consumer is None:
        raise TypeError("a receiver needs a consumer")
    return ZipkinReceiver(config, settings, consumer)


FACTORY = Factory(name="zipkin", kind=Kind.RECEIVER, config=ZipkinReceiverConfig, build=_build)

__all__ = ["FACTORY", "ZipkinReceiverConfig"]
