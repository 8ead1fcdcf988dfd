"""`python -m benchmarks.regression`: has a span become dearer than it was, beside a pinned peer in the same run?

The quick form of `cpu_per_span`: all systems run at once and get short bursts in turn, so that what disturbs the machine
disturbs all of them. Only ratios are compared: those of this run with the ones in reference.json, which `--write` renews.
"""

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final, Self

import click

from benchmarks import report
from benchmarks.cpu_per_span import packed
from benchmarks.measure import Load, Stand, standing
from benchmarks.spans import Source, simulated
from benchmarks.systems import System, missing, named
from benchmarks.traffic import Protocol

REFERENCE: Final = Path(__file__).parent / "reference.json"
LIMIT: Final = 1.15
"""A ratio beyond the reference's by so much is a regression."""
PEER: Final = "collector-forward"
SUBJECTS: Final = ("tracead", "tracead-plumbing")
TURNS: Final = 5
_MORE: Final = 2  # times as many turns where the first ones say that something is dearer
_SPANS_PER_REQUEST: Final = 512
_BURST: Final = (
    40_000  # spans, as fast as they are taken: steady rates are mostly wake-ups, which depend on the neighbours
)
_PATIENCE: Final = 20.0  # seconds that a burst may take
_POOL: Final = 40_000  # different spans


@dataclass(slots=True)
class Bursts:
    """CPU microseconds a span of each system, burst by burst.

    Attributes:
        cpu_us: by the system's name, in order; the first burst, which warms up, is not among them.
        lost: spans that did not come out, of all systems.
    """

    cpu_us: dict[str, list[float]] = field(default_factory=dict)
    lost: int = 0

    def ratios(self) -> dict[str, float]:
        """Give each system's cost beside the peer's: the median over the turns."""
        peer = self.cpu_us[PEER]
        return {
            name: median(own / beside for own, beside in zip(cpu, peer, strict=True))
            for name, cpu in self.cpu_us.items()
            if name != PEER
        }


class Contest:
    """Systems that run side by side and are sent to in turn.

    Args:
        systems: the peer is one of them.
        folder: for logs and traffic.
        origin: of the spans.
    """

    def __init__(self, systems: Sequence[System], folder: Path, origin: Source) -> None:
        self._systems = systems
        self._folder = folder
        self._origin = origin
        self._running = ExitStack()
        self._stands: dict[str, Stand] = {}
        self._sent: dict[str, int] = {}
        self.bursts = Bursts()

    def __enter__(self) -> Self:
        """Start all of them and warm them up."""
        files = packed(self._origin, _POOL, [_SPANS_PER_REQUEST], Protocol.OTLP, self._folder)
        self._load = Load(
            traffic=files[_SPANS_PER_REQUEST][0],
            spans_per_request=_SPANS_PER_REQUEST,
            rate=math.inf,
            seconds=_PATIENCE,
            warm_up=0.0,
            most=_BURST,
        )
        with ExitStack() as starting:
            for system in self._systems:
                stand = starting.enter_context(standing(system, self._origin.model, self._folder))
                self._stands[system.name] = stand
                self._burst(system.name)
            self._running = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End them, and count what never came out."""
        for name, stand in self._stands.items():
            stand.process.stop()
            self.bursts.lost += abs(self._sent[name] - stand.received())
        self._running.close()

    def turns(self, count: int) -> Iterator[int]:
        """Send a burst to each system, *count* times; each turn begins with another one."""
        names = list(self._stands)
        for turn in range(count):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                self.bursts.cpu_us.setdefault(name, []).append(self._burst(name))
            yield turn

    def _burst(self, name: str) -> float:
        stand = self._stands[name]
        before = stand.cpu_seconds()
        sent = stand.send(self._load, self._load.seconds)
        self._sent[name] = self._sent.get(name, 0) + sent.spans
        stand.wait(self._sent[name])
        return 1e6 * (stand.cpu_seconds() - before) / sent.spans


def dearer(ratios: Mapping[str, float], reference: Mapping[str, float]) -> dict[str, float]:
    """Give by how much systems are dearer than *reference* says, where that is beyond the limit."""
    found = {name: ratio / reference.get(name, math.inf) for name, ratio in ratios.items()}
    return {name: times for name, times in found.items() if times > LIMIT}


def compare(contest: Contest, reference: Mapping[str, float], turns: int = TURNS) -> dict[str, float]:
    """Give what is dearer after *turns*; if something is, after twice as many more: noise passes, a regression stays."""
    for _ in contest.turns(turns):
        pass
    if not dearer(contest.bursts.ratios(), reference):
        return {}
    for _ in contest.turns(_MORE * turns):
        pass
    return dearer(contest.bursts.ratios(), reference)


def reference() -> dict[str, float]:
    """Read the ratios that this checkout is to have."""
    found: dict[str, float] = json.loads(REFERENCE.read_text())["ratios"]
    return found


@click.command(context_settings={"show_default": True})
@click.option("--write", is_flag=True, help="write the ratios of this run to benchmarks/reference.json")
@click.option("--turns", type=int, default=TURNS)
def main(write: bool, turns: int) -> None:
    """Compare with the reference, or write it anew; exit 1 where something is more than 15 % dearer."""
    told = report.header("benchmarks.regression", sys.argv[1:])
    systems = [named(name) for name in (PEER, *SUBJECTS)]
    for reason in filter(None, map(missing, systems)):
        raise click.ClickException(reason)
    found: dict[str, float] = {}
    # Always the simulated shop: the reference must not depend on what lies beside the checkout.
    with TemporaryDirectory(prefix="otel-tracead-bench-") as temporary:
        with Contest(systems, Path(temporary), simulated()) as contest:
            if write:
                for turn in contest.turns(turns):
                    click.echo(f"[{turn + 1}/{turns}]", err=True)
            else:
                found = compare(contest, reference(), turns)
        bursts = contest.bursts
    for name, ratio in bursts.ratios().items():
        click.echo(f"{name:<20}{median(bursts.cpu_us[name]):>7.2f} µs/span, {ratio:.3f} x {PEER}")
    if bursts.lost:
        raise click.ClickException(f"{bursts.lost} spans were lost or doubled")
    if write:
        ratios = {name: round(ratio, 3) for name, ratio in bursts.ratios().items()}
        REFERENCE.write_text(json.dumps({**told, "peer": PEER, "ratios": ratios}, indent=1) + "\n")
    if found:
        raise click.ClickException(
            "dearer than benchmarks/reference.json says: "
            + ", ".join(f"{name} {times:.2f} x" for name, times in found.items())
        )


if __name__ == "__main__":
    main()
