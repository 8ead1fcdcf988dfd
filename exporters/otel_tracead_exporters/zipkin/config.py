"""What a user writes for the `zipkin` exporter; keys and defaults are the Collector's."""

from typing import Literal

from otel_tracead.exporting.http_config import Compression, HttpExporterConfig, Url


class ZipkinConfig(HttpExporterConfig):
    """The `zipkin` exporter.

    Attributes:
        endpoint: the full URL, such as http://localhost:9411/api/v2/spans.
        format: of the requests: v2 JSON, or protobuf.
        compression: of the requests; Zipkin itself reads gzip.
        default_service_name: for spans whose resource has no service name.
    """

    endpoint: Url
    format: Literal["json", "proto"] = "json"
    compression: Compression = "none"
    default_service_name: str = "<missing service name>"
