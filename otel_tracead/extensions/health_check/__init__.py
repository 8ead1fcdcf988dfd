"""Answers whether the stage takes spans, for Kubernetes probes and load balancers."""

from otel_tracead.component import Factory, Kind
from otel_tracead.extensions.health_check.config import HealthCheckConfig
from otel_tracead.extensions.health_check.extension import HealthCheck

FACTORY = Factory(
    name="health_check",
    kind=Kind.EXTENSION,
    config=HealthCheckConfig,
    build=lambda config, settings, _consumer: HealthCheck(config, settings),
)

__all__ = ["FACTORY", "HealthCheck", "HealthCheckConfig"]
