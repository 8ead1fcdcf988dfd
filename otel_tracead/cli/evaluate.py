"""`otel-tracead evaluate`: the paper's experiments, as tables, figures and one page that says what held."""

import sys
from pathlib import Path

import click


@click.command(name="evaluate")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="PATH",
    help="Trace file, folder or glob of normal traffic; repeats. Without it: simulated traffic.",
)
@click.option(
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of report.html, summary.txt, tables and figures.",
)
@click.option(
    "--fast", is_flag=True, help="Five minutes on two cores, with fewer traces and epochs. Without it: hours."
)
@click.option(
    "--seeds",
    type=click.IntRange(1, 20),
    default=3,
    show_default=True,
    help="Repetitions; tables give their mean and spread.",
)
def command(inputs: tuple[str, ...], output: Path, fast: bool, seeds: int) -> None:
    """Repeat the paper's experiments: every model, every injection, tables and figures."""
    from importlib.metadata import PackageNotFoundError, version

    from otel_tracead.errors import TraceadError
    from otel_tracead.wire.files import expand

    paths = expand(inputs)
    for library in ("matplotlib", "onnx", "torch"):
        try:  # now, and not in a worker after a minute
            version(library)
        except PackageNotFoundError as error:
            raise TraceadError(
                f"evaluate needs {library}, which is not installed; install it with: pip install 'otel-tracead[train]'"
            ) from error
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from otel_tracead.evaluation.evaluate import evaluate

    with Progress(
        TextColumn("{task.description:<32}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    ) as bar:
        tasks: dict[str, int] = {}

        def show(what: str, share: float) -> None:
            if what not in tasks:
                tasks[what] = int(bar.add_task(what, total=1.0))
            bar.update(tasks[what], completed=share)  # type: ignore[arg-type]

        result = evaluate(
            paths, output, fast=fast, seeds=seeds, arguments=_arguments(inputs, output, fast, seeds), progress=show
        )
    for warning in result.warnings:
        click.echo(f"warning: {warning}", err=True)
    for sentence in result.words:
        click.echo(sentence)
    click.echo(f"Report: {output / 'report.html'}")


def _arguments(inputs: tuple[str, ...], output: Path, fast: bool, seeds: int) -> list[str]:
    """Give the command's arguments as one would write them."""
    given = [part for path in inputs for part in ("--input", path)]
    return ["evaluate", *given, "--output", str(output), *(["--fast"] if fast else []), "--seeds", str(seeds)]
