"""otel-tracead: a tracing pipeline stage that marks anomalous spans and forwards every span."""

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    """Give the version: reading it from the metadata takes as long as all else that `--help` needs."""
    if name == "__version__":
        from otel_tracead._version import __version__

        return __version__
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
