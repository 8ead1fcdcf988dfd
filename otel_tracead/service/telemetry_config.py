"""What a user may write under `service::telemetry`."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import Endpoint, PositiveDuration, PositiveSize, Size, Strings

Port = Annotated[int, Field(ge=0, le=65535)]


class PrometheusConfig(ComponentConfig):
    """Where the metrics can be read; the three names of the Collector's default reader cannot be switched off.

    Attributes:
        host: where to listen.
        port: likewise; 0 lets the kernel choose.
        without_scope_info: metrics carry no labels of their instrumentation scope.
        without_type_suffix: names of counters carry no `_total`.
        without_units: names carry no unit.
    """

    host: str = "localhost"
    port: Port = 8888
    without_scope_info: Literal[True] = True
    without_type_suffix: Literal[True] = True
    without_units: Literal[True] = True


class PullExporterConfig(ComponentConfig):
    """What offers the metrics to be pulled.

    Attributes:
        prometheus: the Prometheus listener.
    """

    prometheus: PrometheusConfig


class PullConfig(ComponentConfig):
    """A reader that waits to be asked.

    Attributes:
        exporter: what it asks.
    """

    exporter: PullExporterConfig


class ReaderConfig(ComponentConfig):
    """One reader of the metrics.

    Attributes:
        pull: who reads.
    """

    pull: PullConfig


def _default_readers() -> tuple[ReaderConfig, ...]:
    return (ReaderConfig(pull=PullConfig(exporter=PullExporterConfig(prometheus=PrometheusConfig()))),)


class MetricsConfig(ComponentConfig):
    """The stage's own metrics.

    Attributes:
        level: `none` opens no listener; the others are the same here.
        address: deprecated: write `readers`.
        readers: one listener each.
    """

    level: Literal["none", "basic", "normal", "detailed"] = "normal"
    address: Endpoint | None = Field(default=None, description="deprecated: write `readers`.")
    readers: tuple[ReaderConfig, ...] = Field(default_factory=_default_readers, strict=False)

    @model_validator(mode="after")
    def _one_place(self) -> "MetricsConfig":
        if self.address is not None and "readers" in self.model_fields_set:
            raise ValueError("address (deprecated) and readers must not both be given")
        return self

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where to listen; nowhere at level `none`."""
        if self.level == "none":
            return ()
        if self.address is not None:
            return (self.address,)
        pulls = (reader.pull.exporter.prometheus for reader in self.readers)
        return tuple(Endpoint(pull.host, pull.port) for pull in pulls)


class LogSamplingConfig(ComponentConfig):
    """How many lines of the same message a tick lets through: the first `initial`, then every `thereafter`-th.

    Attributes:
        enabled: off lets every line through.
        tick: the interval in which lines are counted.
        initial: lines of one message that pass in each tick.
        thereafter: of the further ones every so manieth passes.
    """

    enabled: bool = True
    tick: PositiveDuration = 10.0
    initial: Size = 10
    thereafter: PositiveSize = 100


class LogsConfig(ComponentConfig):
    """The stage's own logs.

    Attributes:
        level: the lowest that is written.
        encoding: of a line.
        output_paths: `stderr`, `stdout` or files.
        initial_fields: added to every line.
        sampling: what holds repeats back.
    """

    level: Literal["debug", "info", "warn", "error"] = "info"
    encoding: Literal["console", "json"] = "console"
    output_paths: Strings = ("stderr",)
    initial_fields: dict[str, Any] = Field(default_factory=dict)
    sampling: LogSamplingConfig = LogSamplingConfig()

    @model_validator(mode="before")
    @classmethod
    def _any_case(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(given.get("level"), str):
            return {**given, "level": given["level"].lower()}
        return given


class TelemetryConfig(ComponentConfig):
    """`service::telemetry`.

    Attributes:
        metrics: own metrics.
        logs: own logs.
    """

    metrics: MetricsConfig = MetricsConfig()
    logs: LogsConfig = LogsConfig()
