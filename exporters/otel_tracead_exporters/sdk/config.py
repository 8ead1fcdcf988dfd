"""What a user writes for the `sdk` exporter."""

from typing import Annotated, Any

from pydantic import Field, SerializationInfo, field_serializer

from otel_tracead.config_types import Duration
from otel_tracead.exporting import ExporterConfig
from otel_tracead.redaction import REDACTED, Secret

Scalar = bool | int | float | Secret | None
Argument = Scalar | Annotated[tuple[Scalar, ...], Field(strict=False)] | dict[str, Scalar]
"""One argument of an exporter's constructor. Any string may be a secret, so all print as `[REDACTED]`."""


class SdkConfig(ExporterConfig):
    """The `sdk` exporter.

    Attributes:
        exporter: the name of its entry point in the group `opentelemetry_traces_exporter`.
        arguments: keyword arguments of its constructor: plain values, lists and maps of them.
        timeout: for each attempt. A call into the SDK cannot be stopped: what hangs longer is waited for by the next
            attempt, not sent twice.
    """

    exporter: Annotated[str, Field(min_length=1)]
    arguments: dict[str, Argument] = Field(default_factory=dict)
    timeout: Duration = 30.0

    def keywords(self) -> dict[str, Any]:
        """Give the arguments as the constructor gets them, secrets as plain text."""
        return {name: _plain(value, redacted=False) for name, value in self.arguments.items()}

    @field_serializer("arguments")
    def _shown(self, arguments: dict[str, Argument], info: SerializationInfo) -> dict[str, Any]:
        redacted = not (info.context or {}).get("secrets")
        return {name: _plain(value, redacted=redacted) for name, value in arguments.items()}


def _plain(value: Argument, *, redacted: bool) -> Any:
    if isinstance(value, Secret):
        return REDACTED if redacted else value.get_secret_value()
    if isinstance(value, tuple):
        return [_plain(item, redacted=redacted) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item, redacted=redacted) for key, item in value.items()}
    return value
