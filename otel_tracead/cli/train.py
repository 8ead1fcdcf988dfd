"""`otel-tracead train`: learn normal behaviour from traces and write a model artifact."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from otel_tracead.cli.model_options import input_option, sources
from otel_tracead.terminal import escaped

if TYPE_CHECKING:
    from otel_tracead.artifact.manifest import Manifest


@click.command(name="train")
@input_option()
@click.option(
    "--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the artifact."
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="YAML: labels, model, training, calibration.",
)
@click.option(
    "--preset",
    type=click.Choice(["default", "paper"]),
    default="default",
    show_default=True,
    help="default, or the model and the rules of the paper as it describes them.",
)
def command(inputs: tuple[str, ...], output: Path, config_path: Path | None, preset: str) -> int:
    """Learn normal behaviour from traces; write a model artifact and its report card."""
    from otel_tracead.cli.progress import bars
    from otel_tracead.errors import TraceadError

    traces = sources(inputs)
    try:
        train = _trainer(preset, config_path)
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "onnx"):
            raise
        raise TraceadError(
            f"train needs {error.name}, which is not installed; install it with: pip install 'otel-tracead[train]'"
        ) from error
    with bars() as show:
        manifest, warnings = train(traces, output, progress=show)
    for warning in warnings:
        click.echo(escaped(f"warning: {warning}"), err=True)
    card = manifest.report_card
    for sentence in card.words[: len(card.words) - len(warnings)]:
        click.echo(escaped(sentence))
    click.echo(f"{output}: model {manifest.name} {manifest.version}, {manifest.training['traces']} traces")
    if card.passed:
        click.echo("The report card is passed.")
    else:
        click.echo(escaped(f"The report card is NOT passed: {'; '.join(card.reasons)}"))
    return 0


def _trainer(preset: str, config_path: Path | None) -> Callable[..., tuple["Manifest", list[str]]]:
    """Read the preset's YAML, before the libraries that take seconds to load, and give what trains by it."""
    from otel_tracead.training import settings

    if preset == "paper":
        from otel_tracead.training.paper.settings import PaperConfig

        paper = settings.load_as(config_path, PaperConfig)
        from otel_tracead.training.paper.train import train as train_paper

        return partial(train_paper, config=paper)
    config = settings.load(config_path)
    from otel_tracead.training.train import train

    return partial(train, config=config)
