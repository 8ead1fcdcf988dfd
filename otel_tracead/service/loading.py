"""From `--config` and `--set` to a configuration that has no problems."""

from dataclasses import replace

from otel_tracead.service.config import ServiceConfig, check, decode
from otel_tracead.service.registry import Registry
from otel_tracead.service.uris import Sources


def load(sources: Sources, registry: Registry | None = None, *, look: bool = True) -> ServiceConfig:
    """Retrieve, merge, expand, validate, and look for the files that are named.

    Args:
        sources: where the configuration comes from.
        registry: the component types there are; by default all that are installed.
        look: off leaves the last step out, so that the files may be elsewhere.

    Raises:
        ConfigError: every problem.
    """
    warnings: list[str] = []
    config = decode(sources.load(warnings.append), registry or Registry(), sources.base)
    if look:
        check(config)
    return replace(config, warnings=(*warnings, *config.warnings))
