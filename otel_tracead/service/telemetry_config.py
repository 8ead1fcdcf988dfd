"""What a user may write under `service::telemetry`."""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import (
    AnyCase,
    Endpoint,
    NotHere,
    PositiveDuration,
    PositiveSize,
    Size,
    Strings,
    WithoutEffect,
)

Port = Annotated[int, Field(ge=0, le=65535)]

_NO_RESOURCE: Final = WithoutEffect("own metrics and logs carry no resource; logs::initial_fields are for logs")
_NO_TRACES: Final = WithoutEffect("otel-tracead makes no traces of itself")
_NO_CALLERS: Final = WithoutEffect("log lines never name callers or show tracebacks")


def _true(value: bool) -> bool:
    if not value:
        raise ValueError("must be true: metrics have the names that the Collector's default reader gives them")
    return value


Always = Annotated[bool, AfterValidator(_true)]
"""A switch that cannot be switched off."""


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
    without_scope_info: Always = True
    without_type_suffix: Always = True
    without_units: Always = True
    with_resource_constant_labels: Annotated[dict[str, Any] | None, _NO_RESOURCE] = None


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
    producers: Annotated[Any, NotHere("there is one producer of metrics, the stage itself")] = None
    cardinality_limits: Annotated[Any, NotHere("labels are ids and a few words; no metric grows with the traffic")] = (
        None
    )


class ReaderConfig(ComponentConfig):
    """One reader of the metrics.

    Attributes:
        pull: who reads.
    """

    pull: PullConfig | None = None
    periodic: Annotated[
        Any, NotHere("own metrics are read, not sent; let a Collector's prometheus receiver read them and send them on")
    ] = None

    @model_validator(mode="after")
    def _is_read(self) -> "ReaderConfig":
        if self.pull is None:
            raise ValueError("must have a pull section")
        return self


def _default_readers() -> tuple[ReaderConfig, ...]:
    return (ReaderConfig(pull=PullConfig(exporter=PullExporterConfig(prometheus=PrometheusConfig()))),)


class MetricsConfig(ComponentConfig):
    """The stage's own metrics.

    Attributes:
        level: `none` opens no listener; the others are the same here.
        address: deprecated: write `readers`.
        readers: one listener each.
    """

    level: Annotated[Literal["none", "basic", "normal", "detailed"], AnyCase()] = "normal"
    address: Endpoint | None = Field(default=None, description="deprecated: write `readers`.")
    readers: tuple[ReaderConfig, ...] = Field(default_factory=_default_readers, strict=False)
    views: Annotated[Any, NotHere("metrics are as docs/metrics.md lists them; whoever reads them can drop some")] = None

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
        pulls = (reader.pull.exporter.prometheus for reader in self.readers if reader.pull is not None)
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

    level: Annotated[Literal["debug", "info", "warn", "error"], AnyCase()] = "info"
    encoding: Literal["console", "json"] = "console"
    output_paths: Strings = ("stderr",)
    initial_fields: dict[str, Any] = Field(default_factory=dict)
    sampling: LogSamplingConfig = LogSamplingConfig()
    error_output_paths: Annotated[Strings | None, WithoutEffect("an output that fails is silent")] = None
    development: Annotated[bool | None, _NO_CALLERS] = None
    disable_caller: Annotated[bool | None, _NO_CALLERS] = None
    disable_stacktrace: Annotated[bool | None, _NO_CALLERS] = None
    disable_zap_resource: Annotated[bool | None, _NO_RESOURCE] = None
    processors: Annotated[Any, NotHere("own logs go to output_paths; let a Collector read them from there")] = None


class TracesConfig(ComponentConfig):
    """Own traces, of which there are none."""

    level: Annotated[str | None, _NO_TRACES] = None
    propagators: Annotated[Strings | None, _NO_TRACES] = None
    limits: Annotated[dict[str, Any] | None, _NO_TRACES] = None
    sampler: Annotated[dict[str, Any] | None, _NO_TRACES] = None
    processors: Annotated[Any, NotHere("otel-tracead makes no traces of itself")] = None


class TelemetryConfig(ComponentConfig):
    """`service::telemetry`.

    Attributes:
        metrics: own metrics.
        logs: own logs.
        traces: own traces.
    """

    metrics: MetricsConfig = MetricsConfig()
    logs: LogsConfig = LogsConfig()
    traces: TracesConfig = TracesConfig()
    resource: Annotated[dict[str, Any] | None, _NO_RESOURCE] = None
