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
    for kind in (Kind.RECEIVER, Kind.PROCESSOR, Kind.EXPORTER, None, Kind.EXTENSION):
        if kind is None:
            listing["connectors"] = []
            continue
        listing[kind.value] = []
        for name in registry.names(kind):
            try:
                factory = registry.find(kind, name)
            except ImportError as error:
                broken.append(f'Error: {kind.singular} "{name}" cannot be loaded: {error}')
                continue
            if factory is not None:
                signal = "extension" if kind is Kind.EXTENSION else SIGNAL
                deprecated = {"deprecated_aliases": list(factory.aliases)} if factory.aliases else {}
                source = factory.config.__module__
                module = f"{source.rpartition('.')[0] or source} {_version(source)}"
                entry = {"name": name, "module": module, "stability": {signal: factory.stability.capitalize()}}
                listing[kind.value].append(entry | deprecated)
    providers = f"otel_tracead.service.uris v{__version__}"
    listing["providers"] = [{"scheme": scheme, "module": providers} for scheme in SCHEMES]
    click.echo(yaml.safe_dump(listing, sort_keys=False, indent=4), nl=False)
    for line in broken:
        click.echo(line, err=True)
    return 1 if broken else 0


def _version(module: str) -> str:
    """Give the version of the distribution that *module* came with."""
    from importlib.metadata import packages_distributions, version

    from otel_tracead._version import __version__

    package = module.partition(".")[0]
    if package in {"otel_tracead", "otel_tracead_exporters"}:  # also where they were installed from a checkout
        return f"v{__version__}"
    names = packages_distributions().get(package)
    return f"v{version(names[0])}" if names else ""
