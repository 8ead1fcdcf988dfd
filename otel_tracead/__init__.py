"""otel-tracead: a tracing pipeline stage that marks anomalous spans and forwards every span."""

from otel_tracead._version import __version__

__all__ = ["__version__"]
