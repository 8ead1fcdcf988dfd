"""`otel-tracead score`: the verdicts that `run` would give, on stored traces."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from otel_tracead.cli.model_options import input_option, model_option, provider_option, rate_option, sources
from otel_tracead.terminal import escaped

if TYPE_CHECKING:  # heavy, and `--help` needs none of it
    from otel_tracead.detection.offline import OfflineStage, OfflineTally
    from otel_tracead.traces.reading import Source
    from otel_tracead.wire.files import TraceFileWriter


@click.command(name="score")
@model_option
@input_option()
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
@rate_option
@click.option(
    "--num-traces",
    type=click.IntRange(min=1),
    default=50_000,
    show_default=True,
    help="A trace ends when as many others have come since its newest span, or with its file.",
)
@provider_option
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
    from otel_tracead.cli.progress import bars
    from otel_tracead.detection.annotate import Mode
    from otel_tracead.detection.detector import DetectionSettings, load_detector
    from otel_tracead.detection.offline import OfflineStage
    from otel_tracead.processors.tracead.model import find_model
    from otel_tracead.traces.reading import TraceFile
    from otel_tracead.wire.files import TraceFileWriter

    traces = sources(inputs)
    if any(isinstance(one, TraceFile) and one.path.resolve() == output.resolve() for one in traces):
        raise click.UsageError(f"--output {output} is one of the files to read; give it another name or folder.")
    detector = load_detector(
        find_model(model, Path.cwd()),
        settings=DetectionSettings(false_positive_rate=false_positive_rate),
        execution_provider=execution_provider,
        require_report_card=require_report_card,
    )
    stage = OfflineStage(detector, mode=Mode(annotate), num_traces=num_traces)
    with TraceFileWriter(output) as writer, bars() as show:
        _score(traces, stage, writer, partial(show, "scoring traces"))
    if detector.model.trouble:
        click.echo(f"scored on the CPU, CUDA does not work: {detector.model.trouble}", err=True)
    for line in _summary(output, stage.tally):
        click.echo(escaped(line), err=True)
    return 1 if stage.tally.failed else 0


def _score(
    traces: "list[Source]", stage: "OfflineStage", writer: "TraceFileWriter", show: Callable[[float], None]
) -> None:
    from otel_tracead.traces.reading import read_batches

    for _, batches in read_batches(traces, show):
        for batch in stage.annotate(batches):
            writer.write(batch)


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
