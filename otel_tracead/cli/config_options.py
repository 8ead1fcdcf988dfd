"""The options of every command that reads a configuration."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from otel_tracead.service.uris import Sources


def config_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--config` and `--set`, given as `config` and `overrides`."""
    add_config = click.option(
        "--config",
        multiple=True,
        metavar="URI",
        help="A path, file:PATH, env:VARIABLE or 'yaml:a::b: c'. Repeats; maps merge, the later one wins.",
    )
    add_set = click.option(
        "--set", "overrides", multiple=True, metavar="A.B=C", help="Set one value, after every --config. Repeats."
    )
    return add_config(add_set(function))


def sources(config: tuple[str, ...], overrides: tuple[str, ...]) -> "Sources":
    """Give the places to load from; the embedded default where there is no `--config`."""
    from otel_tracead.service.embedded import YAML
    from otel_tracead.service.uris import Sources

    return Sources(config or (f"yaml:{YAML}",), overrides)
