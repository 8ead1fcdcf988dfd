"""What `otel-tracead evaluate` does: traces in, a folder with tables, figures, a summary and a page out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from otel_tracead.errors import TraceadError
from otel_tracead.evaluation import study
from otel_tracead.evaluation.provenance import provenance
from otel_tracead.evaluation.report import files, headline
from otel_tracead.evaluation.study import FAST, FULL, Progress
from otel_tracead.evaluation.traffic import simulated
from otel_tracead.traces.encoding import Encoder
from otel_tracead.traces.labels import LabelTemplate
from otel_tracead.traces.reading import Source, TraceFile
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
    sources: Sequence[Source], output: Path, *, fast: bool, seeds: int, arguments: Sequence[str], progress: Progress
) -> Evaluated:
    """Repeat the paper's experiments on the traces of *sources*, or on simulated ones, and write the folder *output*.

    Args:
        sources: of normal traffic; none: simulated traffic.
        output: files of an earlier run there are replaced.
        fast: fewer traces and epochs.
        seeds: repetitions.
        arguments: of the command, to be written down.
        progress: told what is done and its share.

    Raises:
        InputError: a source cannot be read, or there is too little to learn from.
        TraceadError: *output* cannot be written.
    """
    for folder in (output, output / "tables", output / "figures"):
        try:  # before anything else: it must not be found out after an hour
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TraceadError(f"--output: {folder} cannot be made: {error.strerror}") from error
    template = LabelTemplate()
    if sources:
        traffic = _named(sources)
        told = partial(progress, "reading traces")
        events = read(sources, template, _ORDER, max_spans=_MAX_SPANS, progress=told).events
    else:
        traffic = "a simulated shop"
        encoder = Encoder(template, _ORDER)
        events = simulated(_SIMULATED_S[fast], encoder, partial(progress, "simulating traffic"))
    plan = replace(FAST if fast else FULL, seeds=seeds)
    result = study.run(events, plan, traffic, [*provenance(arguments), ("label", template.template)], progress)
    for name, content in files(result).items():
        (output / name).write_text(content, encoding="utf-8")
    judged = result.judged
    words = (headline(judged), *(f"{claim.verdict.value}: {claim.said} {claim.measured}" for claim in judged))
    return Evaluated(words, result.warnings)


def _named(sources: Sequence[Source]) -> str:
    """Name traffic by the folder that its files have in common, or by its one source."""
    paths = [source.path for source in sources if isinstance(source, TraceFile)]
    if len(sources) == 1:
        return paths[0].name if paths else str(sources[0])
    if len(paths) < len(sources):
        return f"{len(sources)} sources"
    folder = paths[0].parent
    alike = all(path.parent == folder for path in paths)
    return f"{folder.name or folder.resolve().name} ({len(paths)} files)" if alike else f"{len(paths)} files"
