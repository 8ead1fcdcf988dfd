"""What a user may write for `health_check`."""

from pydantic import Field

from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import Endpoint


class ResponseBodyConfig(ComponentConfig):
    """What to answer instead of the JSON object.

    Attributes:
        healthy: with 200.
        unhealthy: with 503.
    """

    healthy: str = ""
    unhealthy: str = ""


class HealthCheckConfig(ComponentConfig):
    """Keys and defaults are those of the Collector's extension.

    Attributes:
        endpoint: where to listen.
        path: the path that answers.
        response_body: fixed bodies.
    """

    endpoint: Endpoint = Endpoint("localhost", 13133)
    path: str = Field(default="/", pattern="^/")
    response_body: ResponseBodyConfig | None = None
