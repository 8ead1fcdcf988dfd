"""What a user may write for `health_check`."""

from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import Duration, Endpoint, NotHere, WithoutEffect

_PROBES: Final = NotHere("probes are answered in plain HTTP; let them come from this machine or the cluster only")
_SHORT: Final = WithoutEffect("probes are small and short")


class ResponseBodyConfig(ComponentConfig):
    """What to answer instead of the JSON object.

    Attributes:
        healthy: with 200.
        unhealthy: with 503.
    """

    null_is_off: ClassVar[bool] = True

    healthy: str = ""
    unhealthy: str = ""


class PathConfig(ComponentConfig):
    """One path of the second version.

    Attributes:
        enabled: whether it answers.
        path: where.
        verbose: tell of every component also where nobody asks for it (`?verbose`).
    """

    enabled: bool = True
    path: str = Field(default="/status", pattern="^/")
    verbose: bool = False


class HealthHttpConfig(ComponentConfig):
    """Where the second version answers.

    Attributes:
        endpoint: where to listen.
        status: how the service, its pipelines and its components are.
    """

    endpoint: Endpoint = Endpoint("localhost", 13133)
    status: PathConfig = PathConfig()
    config: Annotated[Any, NotHere("the configuration is nobody's business; use `otel-tracead print-config`")] = None
    tls: Annotated[Any, _PROBES] = None
    auth: Annotated[Any, _PROBES] = None


class ComponentHealthConfig(ComponentConfig):
    """Which errors of components make the answer 500.

    Attributes:
        include_permanent_errors: those that somebody has to do something about.
        include_recoverable_errors: those that may pass.
        recovery_duration: how long they may take to pass.
    """

    null_is_off: ClassVar[bool] = True

    include_permanent_errors: bool = False
    include_recoverable_errors: bool = False
    recovery_duration: Duration = 0.0


class HealthCheckConfig(ComponentConfig):
    """Keys and defaults are those of the Collector's extension.

    Attributes:
        endpoint: where to listen.
        path: the path that answers; one that ends with `/` stands for everything below it.
        response_body: fixed bodies.
        transport: of the connections; TCP is what there is.
        use_v2: answer as the second version does, by `http` and `component_health`.
        http: where the second version answers.
        component_health: which errors of components make it unhealthy.
    """

    endpoint: Endpoint = Endpoint("localhost", 13133)
    path: str = Field(default="/", pattern="^/")
    response_body: ResponseBodyConfig | None = None
    transport: Literal["tcp"] = "tcp"
    use_v2: bool = False
    http: HealthHttpConfig | None = None
    component_health: ComponentHealthConfig | None = None
    check_collector_pipeline: Annotated[
        dict[str, Any] | None, WithoutEffect("whether exporters fail is said with use_v2, and by metrics")
    ] = None
    grpc: Annotated[Any, NotHere("the second version answers over HTTP")] = None
    tls: Annotated[Any, _PROBES] = None
    auth: Annotated[Any, _PROBES] = None
    cors: Annotated[Any, _PROBES] = None
    response_headers: Annotated[Any, _PROBES] = None
    middlewares: Annotated[Any, _PROBES] = None
    dialer: Annotated[Any, NotHere("a listener calls nobody")] = None
    max_request_body_size: Annotated[int | None, _SHORT] = None
    compression_algorithms: Annotated[list[str] | None, _SHORT] = None
    include_metadata: Annotated[bool | None, _SHORT] = None
    read_timeout: Annotated[str | int | None, _SHORT] = None
    read_header_timeout: Annotated[str | int | None, _SHORT] = None
    write_timeout: Annotated[str | int | None, _SHORT] = None
    idle_timeout: Annotated[str | int | None, _SHORT] = None
    keep_alives_enabled: Annotated[bool | None, _SHORT] = None

    @model_validator(mode="after")
    def _one_version(self) -> Self:
        if self.use_v2 and self.http is None:
            raise ValueError("use_v2 needs a section http")
        if not self.use_v2 and (self.http is not None or self.component_health is not None):
            raise ValueError("http and component_health need use_v2: true")
        return self
