"""`otel-tracead train`: learn normal behaviour from traces and write a model artifact."""

import sys
from pathlib import Path

import click


@click.command(name="train")
@click.option(
    "--input", "inputs", multiple=True, required=True, metavar="PATH", help="Trace file, folder or glob; repeats."
)
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
    "--preset", type=click.Choice(["default"]), default="default", show_default=True, help="A set of choices."
)
def command(inputs: tuple[str, ...], output: Path, config_path: Path | None, preset: str) -> int:  # noqa: ARG001
    """Learn normal behaviour from traces; write a model artifact and its report card."""
    from otel_tracead.errors import TraceadError
    from otel_tracead.training import settings
    from otel_tracead.wire.files import expand

    config = settings.load(config_path)
    paths = expand(inputs)
    try:
        from otel_tracead.training.train import train
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "onnx"):
            raise
        raise TraceadError(
            f"train needs {error.name}, which is not installed; install it with: pip install 'otel-tracead[train]'"
        ) from error
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description:<32}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not sys.stderr.isatty(),
    ) as bar:
        tasks: dict[str, int] = {}

        def show(what: str, share: float) -> None:
            if what not in tasks:
                tasks[what] = int(bar.add_task(what, total=1.0))
            bar.update(tasks[what], completed=share)  # type: ignore[arg-type]

        manifest, warnings = train(paths, output, config, show)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    card = manifest.report_card
    for sentence in card.words[: len(card.words) - len(warnings)]:
        click.echo(sentence)
    click.echo(f"{output}: model {manifest.name} {manifest.version}, {manifest.training['traces']} traces")
    if card.passed:
        click.echo("The report card is passed.")
    else:
        click.echo(f"The report card is NOT passed: {'; '.join(card.reasons)}")
    return 0
