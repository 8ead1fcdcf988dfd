"""What a user writes for the `zipkin` receiver; keys and defaults are the Collector's."""

from otel_tracead.config_types import Endpoint
from otel_tracead.receivers.http_config import HttpListenerConfig


class ZipkinReceiverConfig(HttpListenerConfig):
    """The `zipkin` receiver."""

    endpoint: Endpoint = Endpoint("localhost", 9411)
