"""What runs of several systems say: medians over the repeats, beside a reference in the same run, as a table and a picture."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any, Final, NamedTuple

from benchmarks.measure import Run, words_of
from benchmarks.plots import Bar, Panel
from benchmarks.systems import REFERENCES, SYSTEMS
from benchmarks.traffic import Protocol

_HEADER: Final = (
    f"{'system':<24}{'µs/span':>9}{'min-max':>14}{'ratio':>7}{'cores':>7}{'MiB':>7}"
    f"{'p50 ms':>8}{'p99 ms':>8}{'spans/s':>9}{'lost':>6}{'refused':>9}"
)
METHOD: Final = """\
µs/span: user and system time of the whole process with its threads and children, from the kernel, over the measured
interval and until the last span came out, divided by the spans accepted in it. MiB: resident memory at its peak. p50, p99:
until a request was answered. spans/s: accepted; below what was asked for, the system could not follow. Full speed: with 64
requests under way, on the cores that the sender and the sink use, too. lost: accepted and not come out, warm-up included
(negative: came out twice). refused: requests that the sender was told to send again."""


class Setting(NamedTuple):
    """What systems were measured under."""

    takes: Protocol
    spans_per_request: int
    rate: float

    @property
    def key(self) -> str:
        """A short name, for JSON."""
        return f"{self.takes}/{self.spans_per_request}/{'max' if self.rate == math.inf else f'{self.rate:g}'}"

    @property
    def words(self) -> str:
        """A heading."""
        return f"{self.spans_per_request} spans a request, {words_of(self.rate)}"


def medians(runs: Sequence[Run]) -> dict[str, dict[str, float]]:
    """Give the median CPU time a span by setting and system."""
    return {
        setting.key: {name: median(run.cpu_us for run in found) for name, found in systems}
        for setting, systems in _grouped(runs)
    }


def ratios(runs: Sequence[Run]) -> dict[str, float]:
    """Give the median CPU time a span of each system beside the reference's, by setting and system."""
    found: dict[str, float] = {}
    for setting, systems in medians(runs).items():
        reference = systems.get(REFERENCES[Protocol(setting.split("/")[0])])
        if reference:
            found |= {f"{setting}/{name}": cpu / reference for name, cpu in systems.items()}
    return found


def lost(runs: Sequence[Run]) -> dict[str, int]:
    """Give the spans that were lost or doubled by "ours" and by "peers", which drop some at full speed."""
    found = {"ours": 0, "peers": 0}
    for run in runs:
        found["ours" if run.system.startswith("tracead") else "peers"] += abs(run.lost)
    return found


def as_json(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Write every run down."""
    return [{**asdict(run), "rate": "max" if run.rate == math.inf else run.rate, "lost": run.lost} for run in runs]


def tables(runs: Sequence[Run], bytes_per_span: dict[str, float]) -> list[str]:
    """Make a table for each setting, and say what the systems are."""
    beside = ratios(runs)
    sections = []
    for setting, systems in _grouped(runs):
        size = bytes_per_span[f"{setting.takes}/{setting.spans_per_request}"]
        sections.append(f"{setting.words}, {size:.0f} bytes a span")
        rows = (_row(found, beside.get(f"{setting.key}/{name}")) for name, found in systems)
        sections.append("\n".join((_HEADER, *rows)))
    measured = {run.system for run in runs}
    sections.append("\n".join(f"{one.name:<24}{one.description}" for one in SYSTEMS if one.name in measured))
    return sections


def panels(runs: Sequence[Run]) -> list[Panel]:
    """Make a picture's panel for each setting."""
    return [
        Panel(
            setting.words,
            [Bar(name, median(cpu), min(cpu), max(cpu)) for name, cpu in _times(systems)],
        )
        for setting, systems in _grouped(runs)
    ]


def _times(systems: Sequence[tuple[str, list[Run]]]) -> Iterator[tuple[str, list[float]]]:
    for name, found in systems:
        yield name, [run.cpu_us for run in found]


def _grouped(runs: Sequence[Run]) -> list[tuple[Setting, list[tuple[str, list[Run]]]]]:
    """Runs by setting, and in each by system in the order of `SYSTEMS`."""
    settings = sorted({Setting(run.takes, run.spans_per_request, run.rate) for run in runs}, key=_order)
    return [
        (
            setting,
            [
                (system.name, found)
                for system in SYSTEMS
                if (found := [run for run in runs if (run.system, *setting) == _place(run, system.name)])
            ],
        )
        for setting in settings
    ]


def _place(run: Run, system: str) -> tuple[Any, ...]:
    return (system, run.takes, run.spans_per_request, run.rate)


def _order(setting: Setting) -> tuple[Any, ...]:
    return (setting.takes, -setting.spans_per_request, setting.rate)


def _row(runs: Sequence[Run], ratio: float | None) -> str:
    cpu = [run.cpu_us for run in runs]
    spread = f"{min(cpu):.2f}-{max(cpu):.2f}"
    return (
        f"{runs[0].system:<24}{median(cpu):>9.2f}{spread:>14}{'-' if ratio is None else f'{ratio:.2f}':>7}"
        f"{median(run.cores for run in runs):>7.2f}"
        f"{median(run.rss_mib for run in runs):>7.0f}{median(run.p50_ms for run in runs):>8.1f}"
        f"{median(run.p99_ms for run in runs):>8.1f}{median(run.achieved for run in runs):>9.0f}"
        f"{sum(run.lost for run in runs):>6}{sum(run.refused for run in runs):>9}"
    )
