"""What a user may write for `health_check`."""

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import Endpoint, NotHere, WithoutEffect

_V1: Final = NotHere("the first version of health_check is what there is")
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


class HealthCheckConfig(ComponentConfig):
    """Keys and defaults are those of the Collector's extension.

    Attributes:
        endpoint: where to listen.
        path: the path that answers.
        response_body: fixed bodies.
        transport: of the connections; TCP is what there is.
        use_v2: the first version is what there is.
    """

    endpoint: Endpoint = Endpoint("localhost", 13133)
    path: str = Field(default="/", pattern="^/")
    response_body: ResponseBodyConfig | None = None
    transport: Literal["tcp"] = "tcp"
    use_v2: Literal[False] = False
    check_collector_pipeline: Annotated[
        dict[str, Any] | None, WithoutEffect("whether exporters fail is said by metrics, not by the health check")
    ] = None
    http: Annotated[Any, _V1] = None
    grpc: Annotated[Any, _V1] = None
    component_health: Annotated[Any, _V1] = None
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
