"""`python -m benchmarks.summary`: what was promised about cost, what was measured, and by which command.

Reads the JSON files under docs/results; measures nothing. What a file does not hold is said to be not measured.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import click

from benchmarks import report

Document = dict[str, Any]
_CPU: Final = ("cpu-per-span-real", "cpu-per-span")
_ZIPKIN_SLOWER: Final = ("cpu-per-span-zipkin-25000",)
_FOLLOWS: Final = 0.95
"""Of the spans a second that were asked for: whoever takes fewer is measured under another load."""
_ZIPKIN: Final = ("cpu-per-span-zipkin-real", "cpu-per-span-zipkin")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file says.

    Attributes:
        value: that the target is about.
        words: where it comes from.
    """

    value: float
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One row.

    Attributes:
        what: it is about.
        bound: the value that was promised.
        unit: of the value.
        files: names of the results that may hold it, the first that does is taken.
        read: finds it; raises KeyError, IndexError or ValueError where it is not.
        at_least: whether more is better.
    """

    what: str
    bound: float
    unit: str = "x"
    files: tuple[str, ...]
    read: Callable[[Document], Reading]
    at_least: bool = False

    @property
    def promised(self) -> str:
        """The target in words."""
        return f"{'≥' if self.at_least else '≤'} {_figure(self.bound)} {self.unit}"


@dataclass(frozen=True, slots=True)
class Row:
    """A target and what came of it.

    Attributes:
        target: what was promised.
        reading: what was measured, if it was.
        document: where it stands.
    """

    target: Target
    reading: Reading | None
    document: Document

    @property
    def outcome(self) -> str:
        """`met`, `missed`, or that it is not known."""
        if self.reading is None:
            return "not measured"
        value, bound = self.reading.value, self.target.bound
        return "met" if (value >= bound if self.target.at_least else value <= bound) else "missed"


def _behind(document: Document, setting: str, system: str) -> bool:
    """Say whether *system* took fewer spans a second than it was sent, in most of its runs at *setting*."""
    takes, size, rate = setting.split("/")
    if rate == "max":
        return False
    shares = [
        one["achieved"] / one["rate"]
        for one in document.get("runs", [])
        if (one["system"], one["takes"], str(one["spans_per_request"])) == (system, takes, size)
        and one["rate"] == float(rate)
    ]
    return bool(shares) and median(shares) < _FOLLOWS


def _beside(setting: str, ours: str, theirs: str) -> Callable[[Document], Reading]:
    def read(document: Document) -> Reading:
        cpu = document["medians"][setting]
        for system in (ours, theirs):
            if _behind(document, setting, system):
                raise ValueError(f"{system} did not follow the rate: what it costs is of another load")
        return Reading(cpu[ours] / cpu[theirs], f"{cpu[ours]:.2f} / {cpu[theirs]:.2f} µs")

    return read


def _at(*keys: str | int) -> Callable[[Document], Reading]:
    def read(document: Document) -> Reading:
        found: Any = document
        for key in keys:
            found = found[key]
        return Reading(float(found))

    return read


def _named(prefix: str) -> Callable[[Document], Reading]:
    """A target in the list that `benchmarks.gpu` writes."""

    def read(document: Document) -> Reading:
        one = next(one for one in [*document["targets"], {}] if str(one.get("name", prefix)).startswith(prefix))
        return Reading(float(one["found"]), document["gpu"])

    return read


def _latency(name: str) -> Callable[[Document], Reading]:
    def read(document: Document) -> Reading:
        by_size = {size: found[name] for size, found in document["milliseconds"].items()}
        words = ", ".join(f"{value:.1f} at {size}" for size, value in by_size.items())
        return Reading(max(by_size.values()), words)

    return read


def _growth(group: str, *names: str) -> Callable[[Document], Reading]:
    def read(document: Document) -> Reading:
        found = {name: document["ratios"][f"{group}/{name}"] for name in names}
        return Reading(max(found.values()), ", ".join(f"{ratio:.2f} at {name}" for name, ratio in found.items()))

    return read


def _bounded(document: Document) -> Reading:
    """The most labels beside the second most: does it go on growing."""
    most, before = (document["ratios"][f"labels/{labels}"] for labels in ("5,000", "1,000"))
    return Reading(most / before, f"{most:.2f} beside 50 labels")


def _flat(group: str) -> Callable[[Document], Reading]:
    """The largest difference from the first, in either direction."""

    def read(document: Document) -> Reading:
        found = {name: ratio for name, ratio in document["ratios"].items() if name.startswith(f"{group}/")}
        words = ", ".join(f"{ratio:.2f} at {name.partition('/')[2]}" for name, ratio in found.items())
        return Reading(max(abs(ratio - 1) for ratio in found.values()), words)

    return read


def _beside_own_bytes(document: Document) -> Reading:
    found = [(run["grown"] - run["span_bytes"]) / run["spans"] for run in document["runs"]]
    return Reading(max(found), f"{min(found):.0f} to {max(found):.0f} by the traces' shape")


def _idle(document: Document) -> Reading:
    return Reading(document["idle_bytes"] / 1e6)


def _median(key: str) -> Callable[[Document], Reading]:
    def read(document: Document) -> Reading:
        found = sorted(document[key])
        return Reading(found[len(found) // 2], f"{found[0]:.2f} to {found[-1]:.2f}")

    return read


TARGETS: Final = (
    Target(what="plumbing beside Rotel, 512 spans a request", bound=1.0, files=_CPU, read=_beside("otlp/512/50000", "tracead-plumbing", "rotel")),
    Target(what="plumbing beside the Collector's forwarding, 50 a request", bound=1.0, files=_CPU, read=_beside("otlp/50/50000", "tracead-plumbing", "collector-forward")),
    Target(what="whole stage beside groupbytrace, 512, 50,000 a second", bound=0.75, files=_CPU, read=_beside("otlp/512/50000", "tracead", "collector-groupbytrace")),
    Target(what="whole stage beside groupbytrace, 512, full speed", bound=1.0, files=_CPU, read=_beside("otlp/512/max", "tracead", "collector-groupbytrace")),
    Target(what="whole stage beside groupbytrace, 50, 50,000 a second", bound=1.0, files=_CPU, read=_beside("otlp/50/50000", "tracead", "collector-groupbytrace")),
    Target(what="Zipkin JSON in, whole stage, 512 spans a request", bound=0.75, files=_ZIPKIN, read=_beside("zipkin/512/50000", "tracead-zipkin", "collector-zipkin")),
    Target(what="Zipkin JSON in, whole stage, 50 a request", bound=0.75, files=_ZIPKIN, read=_beside("zipkin/50/50000", "tracead-zipkin", "collector-zipkin")),
    Target(what="the same, 25,000 a second", bound=0.75, files=_ZIPKIN_SLOWER, read=_beside("zipkin/50/25000", "tracead-zipkin", "collector-zipkin")),
    Target(what="whole stage on CUDA beside an instant scorer", bound=1.15, files=("gpu",), read=_named("stage on CUDA")),
    Target(what="GPU time meanwhile", bound=20, unit="%", files=("gpu",), read=_named("GPU's time")),
    Target(what="model alone, one CPU core", bound=800_000, unit="spans/s", at_least=True, files=("network",), read=_at("spans_per_second")),
    Target(what="model alone, one trace", bound=1.0, unit="ms CPU", files=("network",), read=_at("network_one_trace_ms")),
    Target(what="one trace, from its spans to its verdict", bound=1.0, unit="ms CPU", files=("network",), read=_at("one_trace_ms")),
    Target(what="model alone, GPU", bound=10e6, unit="spans/s", at_least=True, files=("gpu",), read=_named("network alone")),
    Target(what="latency after release, 10,000 spans a second, p50", bound=20, unit="ms", files=("latency",), read=_latency("p50")),
    Target(what="latency after release, 10,000 spans a second, p99", bound=100, unit="ms", files=("latency",), read=_latency("p99")),
    Target(what="an open span beside its own bytes", bound=400, unit="bytes", files=("memory",), read=_beside_own_bytes),
    Target(what="an idle stage with a model", bound=200, unit="MB", files=("memory",), read=_idle),
    Target(what="CPU a span from 1,000 to 100,000 open traces: difference", bound=0.10, files=("growth",), read=_flat("open traces")),
    Target(what="CPU a span of traces of 5,000 spans, beside 50", bound=1.5, files=("growth",), read=_growth("spans a trace", "5,000")),
    Target(what="CPU a span at 1,000 labels, beside 50", bound=2.0, files=("growth",), read=_growth("labels", "1,000")),
    Target(what="CPU a span at 5,000 labels, beside 1,000: bounded", bound=1.5, files=("growth",), read=_bounded),
    Target(what="score, OTLP protobuf files", bound=150_000, unit="spans/s", at_least=True, files=("offline",), read=_at("rows", 0, "spans_per_second")),
    Target(what="score, OTLP JSON lines", bound=60_000, unit="spans/s", at_least=True, files=("offline",), read=_at("rows", 1, "spans_per_second")),
    Target(what="score, memory of a file four times as large", bound=1.1, files=("offline",), read=lambda found: Reading(max(row["growth"] for row in found["rows"]))),
    Target(what="train on Online Boutique, 2 CPU cores", bound=300, unit="s", files=("training",), read=_at("training_seconds")),
    Target(what="train on Online Boutique, GPU", bound=60, unit="s", files=("gpu",), read=_named("train --preset default on online_boutique")),
    Target(what="train the paper's recipe, GPU", bound=300, unit="s", files=("gpu",), read=_named("train --preset paper on online_boutique")),
    Target(what="otel-tracead --help", bound=0.3, unit="s", files=("start",), read=_median("help_seconds")),
    Target(what="otel-tracead run, ready", bound=2.0, unit="s", files=("start",), read=_median("ready_seconds")),
    Target(what="CPU a span of two processes beside one", bound=1.10, files=("several-processes",), read=_at("ratios", "several/one, same load each")),
)  # fmt: skip


def rows(results: Path, targets: Sequence[Target] = TARGETS) -> list[Row]:
    """Look up every target in the files of *results*."""
    found = []
    for target in targets:
        documents = [
            json.loads(path.read_text()) for name in target.files if (path := results / f"{name}.json").exists()
        ]
        readings = [(reading, one) for one in documents if (reading := _read(target, one)) is not None]
        reading, document = readings[0] if readings else (None, {})
        found.append(Row(target, reading, document))
    return found


def lost(results: Path) -> dict[str, int]:
    """Give the spans that a stage of ours lost or doubled, by the results that counted them."""
    documents = {path.stem: json.loads(path.read_text()) for path in sorted(results.glob("*.json"))}
    return {name: int(one["lost"]) for name, one in documents.items() if isinstance(one, dict) and "lost" in one}


def _read(target: Target, document: Document) -> Reading | None:
    try:
        return target.read(document)
    except (KeyError, IndexError, ValueError):
        return None


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(found: Sequence[Row]) -> str:
    """Make the table, a line for each target and a line for its command."""
    lines = [f"{'what':<60}{'target':>20}{'measured':>12}  {'outcome':<13}from"]
    for row in found:
        measured = "-" if row.reading is None else _figure(row.reading.value)
        words = row.reading.words if row.reading else ""
        lines.append(f"{row.target.what:<60}{row.target.promised:>20}{measured:>12}  {row.outcome:<13}{words}".rstrip())
    return "\n".join(lines)


def commands(found: Sequence[Row]) -> str:
    """Name the commands that were run, with commit and date, each once."""
    seen = {
        row.document["command"]: f"{row.document['commit']}, {row.document.get('date', 'no date')}"
        for row in found
        if row.reading is not None
    }
    return "\n".join(f"{command}\n    {where}" for command, where in seen.items())


@click.command(context_settings={"show_default": True})
@click.option("--results", type=click.Path(path_type=Path, exists=True), default=report.RESULTS)
@click.option("--output", type=click.Path(path_type=Path), help="by default acceptance in the folder of results")
def main(results: Path, output: Path | None) -> None:
    """Hold what was measured against what was promised; write OUTPUT.txt and OUTPUT.json."""
    told = report.header("benchmarks.summary", sys.argv[1:])
    found = rows(results)
    counted = lost(results)
    document: dict[str, Any] = {
        **told,
        "rows": [
            {
                "what": row.target.what,
                "target": row.target.promised,
                "measured": row.reading.value if row.reading else None,
                "from": row.reading.words if row.reading else "",
                "outcome": row.outcome,
                "command": row.document.get("command"),
                "commit": row.document.get("commit"),
            }
            for row in found
        ],
    }
    missing = ", ".join(name for name, count in counted.items() if count)
    sections = [
        table(found),
        f"Spans that we lost or doubled: {sum(counted.values())} in {', '.join(counted) or 'no run'}"
        + (f" ({missing})" if missing else ""),
        commands(found),
    ]
    place = output or results / "acceptance"
    report.conclude(place, "Targets of cost, and what was measured", document, sections)


if __name__ == "__main__":
    main()
