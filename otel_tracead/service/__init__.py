"""Floor 4: YAML to a graph of components, their start, drain and reload, and the stage's own metrics and logs."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otel_tracead.service.lifecycle import Service
    from otel_tracead.service.registry import Registry


@asynccontextmanager
async def running(
    config: Mapping[str, Any],
    *,
    base: Path | None = None,
    registry: "Registry | None" = None,
    logger: Any = None,
) -> "AsyncIterator[Service]":
    """Run a configuration inside this process for the length of a `with` block, then drain it.

    Args:
        config: what the YAML would hold. `service::telemetry::metrics` is off where it is not given, so that
            services may run side by side.
        base: the folder that relative paths start from; the working directory by default.
        registry: the component types there are; by default all that are installed.
        logger: a structlog logger; silent by default.

    Yields:
        the started service: `component(Kind.RECEIVER, "otlp").ports`, `telemetry`, `graph`.

    Raises:
        ConfigError: the configuration is not valid.
        StartError: a component cannot start.
        RuntimeError: after the block, if spans were left or a component failed to shut down.
    """
    import structlog

    from otel_tracead.service.config import check, decode
    from otel_tracead.service.lifecycle import Service
    from otel_tracead.service.registry import Registry
    from otel_tracead.service.uris import merge
    from otel_tracead.telemetry import Telemetry

    quiet = {"service": {"telemetry": {"metrics": {"level": "none"}}}}
    decoded = decode(merge(quiet, config), registry or Registry(), base or Path.cwd())
    check(decoded)
    logger = logger or structlog.wrap_logger(structlog.testing.ReturnLogger(), processors=[])
    service = Service(decoded, telemetry=Telemetry(), logger=logger)
    await service.start()
    try:
        yield service
    except BaseException:
        await service.shutdown()
        raise
    if problems := await service.shutdown():
        raise RuntimeError("; ".join(problems))
