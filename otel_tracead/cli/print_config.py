"""`print-config`: the configuration as it is understood, with every default."""

from typing import Any

import click

from otel_tracead.cli.config_options import config_options, sources


@click.command("print-config")
@config_options
@click.option("--mode", type=click.Choice(["redacted", "unredacted"]), default="redacted", show_default=True)
@click.option("--format", "form", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
@click.option(
    "--validate",
    "look",
    type=bool,
    is_flag=False,
    flag_value="true",
    default=True,
    show_default=True,
    help="Look for the files that are named, too.",
)
def command(config: tuple[str, ...], overrides: tuple[str, ...], mode: str, form: str, look: bool) -> None:
    """Print the configuration with all defaults; without --config the embedded one.

    Secrets print as [REDACTED] unless --mode unredacted is given.
    """
    import json

    import yaml

    from otel_tracead.component import ComponentConfig, Kind
    from otel_tracead.service.loading import load

    loaded = load(sources(config, overrides), look=look)

    def printed(model: ComponentConfig) -> dict[str, Any]:
        # a null would be read back as "the section with its defaults", so what is left out stays left out
        return model.model_dump(
            mode="json", by_alias=True, exclude_none=True, context={"secrets": mode == "unredacted"}
        )

    tree: dict[str, Any] = {
        kind.value: {str(id_): printed(found.config) for id_, found in loaded.components[kind].items()}
        for kind in (Kind.RECEIVER, Kind.PROCESSOR, Kind.EXPORTER, Kind.EXTENSION)
    }
    tree["service"] = {
        "extensions": [str(id_) for id_ in loaded.extensions],
        "pipelines": {
            str(id_): {kind.value: [str(name) for name in names] for kind, names in lists.items()}
            for id_, lists in loaded.pipelines.items()
        },
        "telemetry": printed(loaded.telemetry),
    }
    text = json.dumps(tree, indent=2) if form == "json" else yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
    click.echo(text.rstrip("\n"))
