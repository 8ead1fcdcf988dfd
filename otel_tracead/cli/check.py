"""`otel-tracead check`: does this detector work on this traffic?"""

from pathlib import Path
from typing import Final, Literal

import click

from otel_tracead.cli.model_options import (
    format_option,
    input_option,
    model_option,
    provider_option,
    rate_option,
    sources,
)
from otel_tracead.terminal import escaped, escaped_json

_MAX_SPANS: Final = 500_000  # beyond them more traces tell no more, and take minutes
_EACH: Final = 100  # anomalies of a kind
_SEED: Final = 0


@click.command(name="check")
@model_option
@input_option(" with traffic that you take for normal")
@rate_option
@provider_option
@format_option()
def command(
    *,
    model: Path,
    inputs: tuple[str, ...],
    false_positive_rate: float,
    execution_provider: Literal["auto", "cuda", "cpu"],
    form: Literal["text", "json"],
) -> int:
    """Check whether a detector works on traffic that is taken for normal.

    The traces are judged as they are, and with an anomaly of every kind injected into copies of them. The exit code is
    0 only if the detector beats chance, marking every trace, and a plain rule for each label's own times, and does not
    surely mark more than three times as many normal traces as it may.
    """
    from functools import partial

    from otel_tracead.artifact import folder as artifacts
    from otel_tracead.cli.progress import bars
    from otel_tracead.detection.check import conclude, try_out
    from otel_tracead.detection.detector import DetectionSettings, load_detector
    from otel_tracead.processors.tracead.model import find_model
    from otel_tracead.reports import check as report
    from otel_tracead.training.reading import read

    traces = sources(inputs)
    folder = find_model(model, Path.cwd())
    settings = DetectionSettings(false_positive_rate=false_positive_rate)
    # A model whose own card failed may be checked as well: that is what the check is for.
    make = partial(
        load_detector,
        folder,
        settings=settings,
        execution_provider=execution_provider,
        require_report_card=False,
    )
    make()  # before hours of reading: a model that does not load should say so at once
    manifest = artifacts.load(folder).manifest
    with bars() as show:
        reading = read(
            traces,
            *manifest.labels.parsed(),
            max_spans=_MAX_SPANS,
            progress=partial(show, "reading traces"),
        )
        tried = try_out(make, reading.events, count=_EACH, seed=_SEED, progress=partial(show, "trying the detector"))
    result = conclude([tried], false_positive_rate)
    subject = report.Subject(manifest.name, manifest.version, reading.traces, reading.events.traces)
    as_json = form == "json"
    click.echo(escaped_json(report.as_json(subject, result)) if as_json else escaped(report.as_text(subject, result)))
    return 0 if result.passed else 1
