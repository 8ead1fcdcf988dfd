"""`otel-tracead rank`: which service is the root cause of what changed in a window?"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import click

from otel_tracead.cli.model_options import format_option, input_option, model_option, sources
from otel_tracead.cli.time_window import TimeWindow
from otel_tracead.moment import Moment, parse_moment
from otel_tracead.terminal import escaped, escaped_json

if TYPE_CHECKING:  # heavy, and `--help` needs none of it
    from otel_tracead.artifact.folder import Artifact
    from otel_tracead.detection.norms import Norms
    from otel_tracead.detection.traffic_sums import Split, TrafficSums
    from otel_tracead.traces.encoding import Encoder
    from otel_tracead.traces.reading import Source

_ADDED_TOGETHER: Final = 20_000  # spans
_MOSTLY: Final = 0.5

_Show = Callable[[str, float], None]


def _moment(_context: click.Context, _option: click.Parameter, text: str | None) -> Moment | None:
    try:
        return None if text is None else parse_moment(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command(name="rank")
@model_option
@input_option()
@input_option(
    ", to compare with in place of what the model took for normal; traces in the window are left out",
    required=False,
    name="--reference",
)
@click.option(
    "--since",
    callback=_moment,
    metavar="TIME",
    help="Traces that began from then on: RFC 3339, or -15m from the newest span.",
)
@click.option("--until", callback=_moment, metavar="TIME", help="Traces that began before then, likewise.")
@format_option(" (docs/ranking.md)")
def command(
    *,
    model: Path,
    inputs: tuple[str, ...],
    references: tuple[str, ...],
    since: Moment | None,
    until: Moment | None,
    form: Literal["text", "json"],
) -> None:
    """Rank services by how likely they are the root cause of what changed in a window, with the evidence.

    The window is compared with the model's own normal state, or with the traces of --reference. A fault that changes
    neither times nor calls leaves no trace in spans: then no service stands out.
    """
    from otel_tracead.artifact import folder
    from otel_tracead.cli.progress import bars
    from otel_tracead.detection.ranking import rank
    from otel_tracead.detection.traffic_sums import Split
    from otel_tracead.processors.tracead.model import find_model
    from otel_tracead.reports import ranking as report

    artifact = folder.load(find_model(model, Path.cwd()))
    traces, usual = sources(inputs), sources(references)
    with bars() as show:
        window = _window(since, until, traces, show)
        norms, against = _norms(artifact, usual, window, show)
        sums = _sums(Split.INSTANCE, traces, _encoder(artifact), window.__contains__, partial(show, "reading traces"))
    first, last = _span_of(sums, window, inputs)
    ranking = rank(sums, norms)
    subject = report.Subject(since=first, until=last, traces=sums.traces, against=against)
    as_json = form == "json"
    click.echo(escaped_json(report.as_json(subject, ranking)) if as_json else escaped(report.as_text(subject, ranking)))
    if sums.left_out:
        click.echo(f"warning: {sums.left_out:,} spans were left out: there are too many labels or instances", err=True)
    if ranking.unknown > _MOSTLY:
        warning = (
            f"warning: {ranking.unknown:.0%} of the spans have labels of which nothing is known from {against}; "
            "train a model on this traffic, or give --reference PATH"
        )
        click.echo(escaped(warning), err=True)


def _window(since: Moment | None, until: Moment | None, traces: "Sequence[Source]", show: _Show) -> TimeWindow:
    """Give the window in absolute time; the traces are read once more where it is told from the newest span."""
    newest = 0
    if any(moment is not None and moment.relative for moment in (since, until)):
        newest = _newest(traces, partial(show, "looking for the newest span"))
    window = TimeWindow(since.at(newest) if since else None, until.at(newest) if until else None)
    if window.since is not None and window.until is not None and window.since >= window.until:
        raise click.UsageError("--since is not before --until, so no trace can lie between them")
    return window


def _newest(traces: "Sequence[Source]", show: Callable[[float], None]) -> int:
    from otel_tracead.traces.reading import read_batches
    from otel_tracead.wire.heads import HeadReader
    from otel_tracead.wire.joined import join

    reader = HeadReader((), lambda *_: 0)
    newest = 0
    for _, batches in read_batches(traces, show):
        for batch in batches:
            envelopes, spans = zip(*batch, strict=True)
            newest = max(newest, int(reader.read([join(spans)], [envelopes]).start.max()))
    return newest


def _norms(
    artifact: "Artifact", references: "Sequence[Source]", window: TimeWindow, show: _Show
) -> "tuple[Norms, str]":
    """Give what is usual, and where that is known from."""
    from otel_tracead.detection.norms import measure, unpack
    from otel_tracead.detection.traffic_sums import Split
    from otel_tracead.errors import ArtifactError, InputError

    if references:

        def outside(moment: int) -> bool:
            return not window.bounded or moment not in window

        usual = _sums(Split.TIME, references, _encoder(artifact), outside, partial(show, "reading the reference"))
        if not usual.traces:
            raise InputError("--reference: there is no trace in it, or none that lies outside the window")
        return measure(usual), f"{usual.traces:,} traces of the reference"
    try:
        norms = unpack(artifact.calibration.norms, artifact.dictionary)
    except ArtifactError as error:
        raise ArtifactError(f"{artifact.folder}: {error} (or give --reference PATH, traces to compare with)") from error
    return norms, f"the normal state of model {artifact.manifest.name} {artifact.manifest.version}"


def _encoder(artifact: "Artifact") -> "Encoder":
    from otel_tracead.traces.encoding import Encoder

    return Encoder(*artifact.manifest.labels.parsed())


def _sums(
    split: "Split",
    traces: "Sequence[Source]",
    encoder: "Encoder",
    wanted: Callable[[int], bool],
    show: Callable[[float], None],
) -> "TrafficSums":
    """Sum up the traces that began at a *wanted* moment."""
    import numpy as np

    from otel_tracead.detection.traffic_sums import TrafficSums
    from otel_tracead.traces.encoding import select
    from otel_tracead.traces.reading import chunks, read_traces

    sums = TrafficSums(split)
    for chunk in chunks(read_traces(traces, show), _ADDED_TOGETHER):
        events = encoder.encode(chunk)
        sums.add(select(events, np.flatnonzero([wanted(moment) for moment in events.began.tolist()])))
    return sums


def _span_of(sums: "TrafficSums", window: TimeWindow, inputs: Sequence[str]) -> tuple[int, int]:
    """Give from when to when the window is: as it was told, else as the traces say.

    Raises:
        InputError: there is no trace in it.
    """
    from otel_tracead.errors import InputError
    from otel_tracead.reports.ranking import format_time

    if sums.first is None or sums.last is None:
        parts = ((window.since, "from"), (window.until, "before"))
        when = " and ".join(f"{word} {format_time(moment)}" for moment, word in parts if moment is not None)
        what = f"no trace began {when}" if when else "there is no trace"
        raise InputError(f"--input {', '.join(inputs)}: {what}; give another file or another --since and --until")
    return (
        sums.first if window.since is None else window.since,
        sums.last if window.until is None else window.until,
    )
