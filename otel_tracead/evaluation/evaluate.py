"""What `otel-tracead evaluate` does: traces in, a folder with tables, figures, a summary and a page out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from otel_tracead.errors import TraceadError
from otel_tracead.evaluation import study
from otel_tracead.evaluation.provenance import provenance
from otel_tracead.evaluation.report import files, headline
from otel_tracead.evaluation.study import FAST, FULL, Progress
from otel_tracead.evaluation.traffic import simulated
from otel_tracead.traces.encoding import Encoder, Events
from otel_tracead.traces.labels import LabelTemplate
from otel_tracead.traces.sequences import Order
from otel_tracead.training.reading import read

_MAX_SPANS: Final = 4_000_000
_SIMULATED_S: Final = {True: 600.0, False: 3600.0}
_ORDER: Final = Order.START  # the paper's: a trace is its events ordered by start time


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What the terminal says of it.

    Attributes:
        words: what held and what did not.
        warnings: why that is weaker than it looks.
    """

    words: tuple[str, ...]
    warnings: tuple[str, ...]


def evaluate(
    paths: Sequence[Path], output: Path, *, fast: bool, seeds: int, arguments: Sequence[str], progress: Progress
) -> Evaluated:
    """Repeat the paper's experiments on the traces of *paths*, or on simulated ones, and write the folder *output*.

    Args:
        paths: trace files with normal traffic; none: simulated traffic.
        output: files of an earlier run there are replaced.
        fast: fewer traces and epochs.
        seeds: repetitions.
        arguments: of the command, to be written down.
        progress: told what is done and its share.

    Raises:
        InputError: a file cannot be read, or there is too little to learn from.
        TraceadError: *output* cannot be written.
    """
    for folder in (output, output / "tables", output / "figures"):
        try:  # before anything else: it must not be found out after an hour
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TraceadError(f"--output: {folder} cannot be made: {error.strerror}") from error
    template = LabelTemplate()
    if paths:
        traffic, events = _named(paths), _read(paths, template, progress)
    else:
        traffic = "a simulated shop"
        encoder = Encoder(template, _ORDER)
        events = simulated(_SIMULATED_S[fast], encoder, lambda share: progress("simulating traffic", share))
    plan = replace(FAST if fast else FULL, seeds=seeds)
    result = study.run(events, plan, traffic, [*provenance(arguments), ("label", template.template)], progress)
    for name, content in files(result).items():
        (output / name).write_text(content, encoding="utf-8")
    judged = result.judged
    words = (headline(judged), *(f"{claim.verdict.value}: {claim.said} {claim.measured}" for claim in judged))
    return Evaluated(words, result.warnings)


def _read(paths: Sequence[Path], template: LabelTemplate, progress: Progress) -> Events:
    reading = read(
        paths, template, _ORDER, max_spans=_MAX_SPANS, progress=lambda share: progress("reading traces", share)
    )
    return reading.events


def _named(paths: Sequence[Path]) -> str:
    """Name traffic by the folder that its files have in common, or by its one file."""
    folder = paths[0].parent
    if len(paths) == 1:
        return paths[0].name
    alike = all(path.parent == folder for path in paths)
    return f"{folder.name or folder.resolve().name} ({len(paths)} files)" if alike else f"{len(paths)} files"
