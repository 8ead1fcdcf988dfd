"""`otel-tracead score`: the verdicts that `run` would give, on stored traces."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:  # heavy, and `--help` needs none of it
    from otel_tracead.detection.offline import OfflineStage, OfflineTally
    from otel_tracead.wire.files import TraceFileWriter


@click.command(name="score")
@click.option(
    "--model",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of a model artifact; relative to here, then to the package (the bundled model_artifacts/shop).",
)
@click.option(
    "--input", "inputs", multiple=True, required=True, metavar="PATH", help="Trace file, folder or glob. Repeats."
)
@click.option(
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Trace file; its name says the format: .jsonl (OTLP JSON lines) or .pb (OTLP protobuf), also with .gz or .zst.",
)
@click.option(
    "--annotate",
    type=click.Choice(["anomalous", "all", "root"]),
    default="anomalous",
    show_default=True,
    help="Which spans get a verdict of their own: the anomalous ones, all, or none but the verdict span.",
)
@click.option(
    "--false-positive-rate",
    type=click.FloatRange(min=0, max=1, min_open=True, max_open=True),
    default=0.01,
    show_default=True,
    help="Share of normal traces that may be marked.",
)
@click.option(
    "--num-traces",
    type=click.IntRange(min=1),
    default=50_000,
    show_default=True,
    help="A trace ends when as many others have come since its newest span, or with its file.",
)
@click.option(
    "--execution-provider",
    type=click.Choice(["auto", "cuda", "cpu"]),
    default="auto",
    show_default=True,
    help="auto takes CUDA when it works.",
)
@click.option(
    "--require-report-card/--no-require-report-card",
    default=True,
    show_default=True,
    help="Refuse a model whose own check did not hold.",
)
def command(
    *,
    model: Path,
    inputs: tuple[str, ...],
    output: Path,
    annotate: Literal["anomalous", "all", "root"],
    false_positive_rate: float,
    num_traces: int,
    execution_provider: Literal["auto", "cuda", "cpu"],
    require_report_card: bool,
) -> int:
    """Annotate stored traces with the verdicts and attributes that `run` would give.

    Every span goes out exactly once. `tracead.trace.release` says how a trace ended: `wait` where --num-traces others
    have come since its newest span, `limit` where it has 10,000 spans, `shutdown` where it ended with its file.

    The exit code is 1 if scoring failed for any trace; its spans are in the file all the same.
    """
    from otel_tracead.detection.annotate import Mode
    from otel_tracead.detection.detector import DetectionSettings, load_detector
    from otel_tracead.detection.offline import OfflineStage
    from otel_tracead.processors.tracead.model import find_model
    from otel_tracead.wire.files import TraceFileWriter, expand

    paths = expand(inputs)
    if any(path.resolve() == output.resolve() for path in paths):
        raise click.UsageError(f"--output {output} is one of the files to read; give it another name or folder.")
    detector = load_detector(
        find_model(model, Path.cwd()),
        settings=DetectionSettings(false_positive_rate=false_positive_rate),
        execution_provider=execution_provider,
        require_report_card=require_report_card,
    )
    stage = OfflineStage(detector, mode=Mode(annotate), num_traces=num_traces)
    with TraceFileWriter(output) as writer, _progress(paths) as show:
        _score(paths, stage, writer, show)
    for line in _summary(output, stage.tally):
        click.echo(line, err=True)
    return 1 if stage.tally.failed else 0


_Show = Callable[[Path, int], None]


def _score(paths: list[Path], stage: "OfflineStage", writer: "TraceFileWriter", show: _Show) -> None:
    from otel_tracead.wire.files import read_file
    from otel_tracead.wire.otlp import Envelopes

    envelopes = Envelopes()
    for path in paths:
        for batch in stage.annotate(batch for _, batch in read_file(path, envelopes)):
            writer.write(batch)
            show(path, stage.tally.spans)


@contextmanager
def _progress(paths: list[Path]) -> Iterator[_Show]:
    """Show on a terminal which file is read and how many spans went out; say nothing in a pipe."""
    import sys

    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    shown = sys.stderr.isatty()
    numbers = {path: number for number, path in enumerate(paths, 1)}
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not shown, transient=True) as progress:
        task = progress.add_task("Loading", total=None)

        def show(path: Path, spans: int) -> None:
            if shown:
                text = f"{path.name} (file {numbers[path]} of {len(paths)}), {spans:,} spans written"
                progress.update(task, description=text)

        yield show


def _summary(output: Path, tally: "OfflineTally") -> Iterator[str]:
    from otel_tracead.detection.detector import UNKNOWN_TRAFFIC

    unscored = ", ".join(f"{count} {reason}" for reason, count in sorted(tally.unscored.items()))
    line = f"{output}: {tally.spans} spans, {tally.traces} traces, {tally.anomalous} anomalous, "
    line += f"{tally.unscored.total()} unscored" + (f" ({unscored})" if unscored else "")
    for number, what in ((tally.invalid, "spans without valid ids"), (tally.late, "late spans")):
        line += f", {number} {what}" if number else ""
    yield line
    if tally.failed:
        yield f"Error: scoring failed for {tally.failed} traces, which are marked tracead.unscored=error: {tally.error!r}"
    if tally.traces and tally.unscored[UNKNOWN_TRAFFIC] > tally.traces / 2:
        yield (
            "warning: the model does not know most of this traffic; "
            "train one on it: otel-tracead train --input TRACES --output FOLDER"
        )
