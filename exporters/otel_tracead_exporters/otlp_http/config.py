"""What a user writes for the `otlp_http` exporter; keys and defaults are the Collector's."""

from typing import Literal, Self

from pydantic import model_validator

from otel_tracead.config_types import Duration
from otel_tracead_exporters.http_config import HttpExporterConfig, Url


class OtlpHttpConfig(HttpExporterConfig):
    """The `otlp_http` exporter.

    Attributes:
        endpoint: the backend's base URL; `/v1/traces` is added.
        traces_endpoint: the full URL instead.
        encoding: of the requests.
        compression: of the requests.
    """

    endpoint: Url | None = None
    traces_endpoint: Url | None = None
    encoding: Literal["proto", "json"] = "proto"
    compression: Literal["gzip", "zstd", "deflate", "zlib", "none", ""] = "gzip"
    timeout: Duration = 30.0

    @model_validator(mode="after")
    def _one_url(self) -> Self:
        if self.endpoint is None and self.traces_endpoint is None:
            raise ValueError("at least one endpoint must be specified: endpoint or traces_endpoint")
        return self

    @property
    def url(self) -> str:
        """Where requests go."""
        return self.traces_endpoint or f"{(self.endpoint or '').rstrip('/')}/v1/traces"
