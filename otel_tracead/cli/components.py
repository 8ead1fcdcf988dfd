"""`components`: what a configuration may use."""

from typing import Any

import click


@click.command("components")
def command() -> int:
    """List the components that a configuration may use, as YAML. Not a stable format."""
    import yaml

    from otel_tracead._version import __version__
    from otel_tracead.component import Kind
    from otel_tracead.service.config import SIGNAL
    from otel_tracead.service.registry import Registry
    from otel_tracead.service.uris import SCHEMES

    registry = Registry()
    listing: dict[str, Any] = {
        "buildinfo": {
            "command": "otel-tracead",
            "description": "Marks anomalous spans and forwards every span",
            "version": __version__,
        }
    }
    broken: list[str] = []
    for kind in (Kind.RECEIVER, Kind.PROCESSOR, Kind.EXPORTER, Kind.EXTENSION):
        listing[kind.value] = []
        for name in registry.names(kind):
            try:
                factory = registry.find(kind, name)
            except ImportError as error:
                broken.append(f'Error: {kind.singular} "{name}" cannot be loaded: {error}')
                continue
            if factory is not None:
                levels = factory.stability if kind is Kind.EXTENSION else {SIGNAL: factory.stability}
                deprecated = {"deprecated_aliases": list(factory.aliases)} if factory.aliases else {}
                module = factory.config.__module__.rpartition(".")[0] or factory.config.__module__
                stability = {"extension": levels} if kind is Kind.EXTENSION else levels
                listing[kind.value].append({"name": name, "module": module, "stability": stability} | deprecated)
    listing["providers"] = [{"scheme": scheme} for scheme in SCHEMES]
    click.echo(yaml.safe_dump(listing, sort_keys=False), nl=False)
    for line in broken:
        click.echo(line, err=True)
    return 1 if broken else 0
