"""`python -m benchmarks.network`: what the network costs a span on one core, alone and without everything around it.

Real traces in batches of several sizes, one trace by itself, and networks of the default's sizes with random weights for more
labels and longer traces. CPU time, the least of several rounds that are taken in turns.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
import numpy.typing as npt

from benchmarks import report
from benchmarks.spans import Source, source
from otel_tracead.artifact import folder
from otel_tracead.detection.detector import load_detector
from otel_tracead.detection.scorer import Scorer
from otel_tracead.traces.encoding import Encoder, Events
from otel_tracead.traces.offline import gather
from otel_tracead.traces.trace import Trace
from otel_tracead.training.architecture import Architecture
from otel_tracead.wire.batch import group
from tests.tiny_model import random_network

Columns = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.int64]]
"""What `Scorer.surprise` takes: labels, scaled times and offsets."""

_BATCHES: Final = (500, 2000, 10_000, 40_000)
_JUDGED: Final = 10_000  # spans that a stage judges at once at 50,000 a second: those of a fifth of a second
_ALONE: Final = 200  # traces that are judged one by one
_USUAL: Final = 40  # spans of a trace that is one by itself, at least
_LABELS: Final = (50, 1000, 5000)
_LENGTHS: Final = (50, 500, 5000)
_METHOD: Final = """\
Scorer.surprise is what a stage calls for each batch of traces: it packs them, runs the network and reads what it says. judge is
all that becomes of a trace: its sequence, network, evidence and verdict. On one core; ONNX Runtime with one thread.
labels, spans a trace: random networks of the default's sizes, labels and times, in batches of 10,000 spans."""


def batches(columns: Columns, spans: int) -> Iterator[Columns]:
    """Cut traces into batches of about so many *spans*; 1 gives each trace by itself."""
    labels, times, offsets = columns
    cuts = [0]
    while cuts[-1] < len(offsets) - 1:
        wanted = int(np.searchsorted(offsets, offsets[cuts[-1]] + spans))
        cuts.append(min(max(wanted, cuts[-1] + 1), len(offsets) - 1))
    for first, last in pairwise(cuts):
        rows = slice(offsets[first], offsets[last])
        yield labels[rows], times[rows], offsets[first : last + 1] - offsets[first]


def least(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Give the least CPU seconds of each of *works*, which are done in turns."""
    found = dict.fromkeys(works, float("inf"))
    for _ in range(rounds):
        for name, work in works.items():
            begun = time.process_time()
            work()
            found[name] = min(found[name], time.process_time() - begun)
    return found


def _known(origin: Source, traces: list[Trace]) -> Columns:
    """Encode *traces* as their model does."""
    encoder = Encoder(*folder.load(origin.model).manifest.labels.parsed())
    detector = load_detector(origin.model, execution_provider="cpu", require_report_card=False)
    events: Events = encoder.encode(traces)
    known = detector.assess(events).known
    return known.label, known.scaled, events.offsets


def _runs(scorer: Scorer, given: list[Columns]) -> Callable[[], object]:
    return lambda: [scorer.surprise(*one) for one in given]


def _real(origin: Source, spans: int, rounds: int) -> dict[str, Any]:
    """Measure real traces, in batches and one by one; µs a span by the spans of a batch, ms a trace."""
    pool = origin.spans(spans)
    traces = list(gather([group([envelope for envelope, _ in pool], [span for _, span in pool])]))
    artifact = folder.load(origin.model)
    scorer = Scorer(
        artifact.network, state=artifact.manifest.network.state, labels=len(artifact.dictionary), provider="cpu"
    )
    columns = _known(origin, traces)
    usual = [place for place, trace in enumerate(traces) if len(trace.spans) >= _USUAL][:_ALONE]
    alone = list(batches(columns, 1))
    detector = load_detector(origin.model, execution_provider="cpu", require_report_card=False)
    works = {str(size): _runs(scorer, list(batches(columns, size))) for size in _BATCHES}
    works["alone"] = _runs(scorer, [alone[place] for place in usual])
    works["judge"] = lambda: [detector.judge([traces[place]]) for place in usual]
    found = least(works, rounds)
    costs = {size: 1e6 * found[str(size)] / len(columns[0]) for size in _BATCHES}
    return {
        "batches": costs,
        "spans_per_second": 1e6 / costs[_JUDGED],
        "network_one_trace_ms": 1e3 * found["alone"] / len(usual),
        "one_trace_ms": 1e3 * found["judge"] / len(usual),
        "one_trace_spans": float(np.mean([len(traces[place].spans) for place in usual])),
    }


def _made(labels: int, length: int) -> tuple[Scorer, Columns]:
    """Make a random network and one batch for it."""
    architecture, random = Architecture(labels=labels), np.random.default_rng(0)
    scorer = Scorer(random_network(architecture), state=architecture.state, labels=labels, provider="cpu")
    offsets = np.arange(0, _JUDGED + 1, length, dtype=np.int64)
    return scorer, (random.integers(1, labels, _JUDGED), random.normal(0, 0.7, _JUDGED), offsets)


def _growth(rounds: int) -> dict[str, dict[int, float]]:
    """Measure more labels and longer traces, µs a span."""
    cases = {("labels", labels): _made(labels, 50) for labels in _LABELS}
    cases |= {("spans a trace", length): _made(50, length) for length in _LENGTHS}
    works = {f"{group}/{size}": _runs(scorer, [columns]) for (group, size), (scorer, columns) in cases.items()}
    found = least(works, 3 * rounds)
    return {
        group: {size: 1e6 * found[f"{group}/{size}"] / _JUDGED for name, size in cases if name == group}
        for group in ("labels", "spans a trace")
    }


def _section(title: str, costs: Mapping[int, float]) -> str:
    first = next(iter(costs.values()))
    rows = (f"{size:>14,}{cost:>10.2f}{1e6 / cost:>12,.0f}{cost / first:>8.2f}" for size, cost in costs.items())
    return "\n".join((f"{title:>14}{'µs/span':>10}{'spans/s':>12}{'ratio':>8}", *rows))


@click.command(context_settings={"show_default": True})
@click.option("--input", "inputs", type=click.Path(path_type=Path, exists=True), multiple=True, help="OTLP JSON lines.")
@click.option("--model", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Model of these spans.")
@click.option("--spans", type=int, default=80_000)
@click.option("--rounds", type=int, default=7)
@click.option("--output", type=click.Path(path_type=Path), default=report.RESULTS / "network")
def main(inputs: tuple[Path, ...], model: Path | None, spans: int, rounds: int, output: Path) -> None:
    """Measure the network; write OUTPUT.txt and OUTPUT.json."""
    told = report.header("benchmarks.network", sys.argv[1:])
    origin = source(inputs, model)
    real, growth = _real(origin, spans, rounds), _growth(rounds)
    ratios = {
        f"{name}/{size}": cost / next(iter(costs.values()))
        for name, costs in growth.items()
        for size, cost in list(costs.items())[1:]
    }
    document = {**told, "traffic": origin.words(spans), **real, **growth, "ratios": ratios}
    alone = (
        f"one trace of {real['one_trace_spans']:.0f} spans by itself: {real['network_one_trace_ms']:.2f} ms CPU in "
        f"Scorer.surprise, {real['one_trace_ms']:.2f} ms in all of judge"
    )
    sections = [
        f"traffic   {document['traffic']}",
        _section("spans a batch", real["batches"]),
        alone,
        *(_section(name, costs) for name, costs in growth.items()),
        _METHOD,
    ]
    report.conclude(output, "The network alone: CPU time of Scorer.surprise", document, sections)


if __name__ == "__main__":
    main()
