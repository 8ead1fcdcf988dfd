"""The `otlpjsonfile` receiver: follows files of OTLP JSON lines, as file exporters write them."""

from otel_tracead.component import Component, Consumer, Factory, Kind, Settings
from otel_tracead.receivers.otlpjsonfile.config import OtlpJsonFileConfig


def _build(config: OtlpJsonFileConfig, settings: Settings, consumer: Consumer | None) -> Component:
    from otel_tracead.receivers.otlpjsonfile.receiver import OtlpJsonFileReceiver

    if consumer is None:
        raise TypeError("a receiver needs a consumer")
    return OtlpJsonFileReceiver(config, settings, consumer)


FACTORY = Factory(name="otlpjsonfile", kind=Kind.RECEIVER, config=OtlpJsonFileConfig, build=_build)

__all__ = ["FACTORY", "OtlpJsonFileConfig"]
