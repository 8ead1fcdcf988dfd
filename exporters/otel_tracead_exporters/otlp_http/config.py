"""What a user writes for the `otlp_http` exporter; keys and defaults are the Collector's."""

from typing import Annotated, Literal, Self

from pydantic import model_validator

from otel_tracead.config_types import Duration, WithoutEffect
from otel_tracead.exporting.http_config import HttpExporterConfig, Url
from otel_tracead.redaction import PrivateUrl

_TRACES_ONLY = WithoutEffect("otel-tracead sends traces only")


class OtlpHttpConfig(HttpExporterConfig):
    """The `otlp_http` exporter.

    Attributes:
        endpoint: the backend's base URL; `/v1/traces` is added.
        traces_endpoint: the full URL instead.
        encoding: of the requests.
    """

    endpoint: Url | None = None
    traces_endpoint: Url | None = None
    encoding: Literal["proto", "json"] = "proto"
    timeout: Duration = 30.0
    metrics_endpoint: Annotated[PrivateUrl | None, _TRACES_ONLY] = None
    logs_endpoint: Annotated[PrivateUrl | None, _TRACES_ONLY] = None
    profiles_endpoint: Annotated[PrivateUrl | None, _TRACES_ONLY] = None

    @model_validator(mode="after")
    def _one_url(self) -> Self:
        if self.endpoint is None and self.traces_endpoint is None:
            raise ValueError("at least one endpoint must be specified: endpoint or traces_endpoint")
        return self

    @property
    def url(self) -> str:
        """Where requests go."""
        return self.traces_endpoint or f"{(self.endpoint or '').rstrip('/')}/v1/traces"
