"""`otel-tracead evaluate`: the paper's experiments, as tables, figures and one page that says what held."""

from pathlib import Path

import click

from otel_tracead.cli.model_options import input_option, sources
from otel_tracead.terminal import escaped


@click.command(name="evaluate")
@input_option(" of normal traffic (without it: simulated traffic)", required=False)
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

    traces = sources(inputs)
    for library in ("matplotlib", "onnx", "torch"):
        try:  # now, and not in a worker after a minute
            version(library)
        except PackageNotFoundError as error:
            raise TraceadError(
                f"evaluate needs {library}, which is not installed; install it with: pip install 'otel-tracead[train]'"
            ) from error
    from otel_tracead.cli.progress import bars
    from otel_tracead.evaluation.evaluate import evaluate

    with bars() as show:
        result = evaluate(
            traces, output, fast=fast, seeds=seeds, arguments=_arguments(inputs, output, fast, seeds), progress=show
        )
    for warning in result.warnings:
        click.echo(escaped(f"warning: {warning}"), err=True)
    for sentence in result.words:
        click.echo(escaped(sentence))
    click.echo(f"Report: {output / 'report.html'}")


def _arguments(inputs: tuple[str, ...], output: Path, fast: bool, seeds: int) -> list[str]:
    """Give the command's arguments as one would write them."""
    from otel_tracead.trace_stores.address import is_address, redacted

    given = [part for path in inputs for part in ("--input", redacted(path) if is_address(path) else path)]
    return ["evaluate", *given, "--output", str(output), *(["--fast"] if fast else []), "--seeds", str(seeds)]
