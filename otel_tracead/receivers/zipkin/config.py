"""What a user writes for the `zipkin` receiver; keys and defaults are the Collector's."""

from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import Endpoint, PositiveSize
from otel_tracead.tls import ServerTls


class ZipkinReceiverConfig(ComponentConfig):
    """The `zipkin` receiver.

    Attributes:
        endpoint: where to listen.
        max_request_body_size: bytes of the largest request, before and after decompression.
        tls: encryption; without it plain text.
    """

    endpoint: Endpoint = Endpoint("localhost", 9411)
    max_request_body_size: PositiveSize = 20 * 1024 * 1024
    tls: ServerTls | None = None
