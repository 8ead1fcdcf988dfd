"""What a user writes for the `zipkin` receiver; keys and defaults are the Collector's."""

from otel_tracead.config_types import Endpoint
from otel_tracead.receivers.http_config import HttpListenerConfig


class ZipkinReceiverConfig(HttpListenerConfig):
    """The `zipkin` receiver.

    Attributes:
        parse_string_tags: whether a tag that spells a number or a boolean becomes such an attribute.
    """

    endpoint: Endpoint = Endpoint("localhost", 9411)
    parse_string_tags: bool = False
