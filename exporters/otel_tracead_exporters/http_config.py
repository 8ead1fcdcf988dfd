"""What the HTTP exporters have in common in their configuration."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from otel_tracead.config_types import Secret
from otel_tracead.exporting import ExporterConfig
from otel_tracead.tls import ClientTls


def _is_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f'"{url}" is no URL: write http://host:port or https://host:port')
    return url


Url = Annotated[str, AfterValidator(_is_url)]
"""An http or https URL."""

HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~\-]+$")]


class HttpExporterConfig(ExporterConfig):
    """Base of the HTTP exporters' configurations.

    Attributes:
        headers: sent with every request.
        tls: for https URLs.
    """

    headers: dict[HeaderName, Secret] = Field(default_factory=dict)
    tls: ClientTls = ClientTls()
