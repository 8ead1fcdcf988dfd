"""`python -m benchmarks.load_balancing`: run every scenario, write what became of spans and traces to docs/results/."""

import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from zlib import crc32

import click

from benchmarks import report
from benchmarks.load_balancing.account import Outcome
from benchmarks.load_balancing.ring import Ring
from benchmarks.load_balancing.scenarios import SCENARIOS, run
from benchmarks.spans import BUNDLED, START_UNIX_NANO
from otel_tracead.generator import Scenario, requests, simulate
from otel_tracead.wire.otlp import Envelopes, decode_request

_IDS: Final = 200_000


def replayed(seconds: float, traces_per_second: float, interval: float = 5.0) -> list[tuple[float, bytes]]:
    """Give (seconds since the start, request) of the simulated shop.

    As SDKs do, each instance exports every *interval* seconds, at a time of its own: spans of a trace come apart.
    """
    scenario = Scenario(
        seed=7,
        start_unix_nano=START_UNIX_NANO,
        duration_s=seconds,
        traces_per_second=traces_per_second,
        scale=max(1.0, traces_per_second / 50),
    )
    found = []
    envelopes = Envelopes()
    for at, body in requests(simulate(scenario), export_interval_s=interval):
        instance = decode_request(body, envelopes).groups[0][0].instance
        phase = crc32(instance.encode()) / 2**32 * interval  # the simulation's instances all begin at once
        found.append(((at - scenario.start_unix_nano) / 1e9 + phase, body))
    return sorted(found, key=lambda pair: pair[0])


def moves(ids: int = _IDS) -> list[tuple[str, int, float, float]]:
    """Give (what happens, replicas before, share of traces that move, the most that one replica gets) for rings."""
    keys = [number.to_bytes(16, "big") for number in range(1 << 64, (1 << 64) + ids)]
    found = []
    for replicas in (2, 4, 8, 16, 50):
        names = [f"otel-tracead-{number}.otel-tracead.tracing:4317" for number in range(replicas + 1)]
        before, after = Ring(names[:-1]), Ring(names)
        routes = [before.endpoint(key) for key in keys]
        moved = sum(old != after.endpoint(key) for key, old in zip(keys, routes, strict=True)) / ids
        largest = max(routes.count(name) for name in names) / ids * replicas
        found.append(("joins by name", replicas, moved, largest))
        # By address: the one that is replaced gets another.
        replaced = Ring([*names[: replicas - 1], "10.0.0.77:4317"])
        others = [(key, old) for key, old in zip(keys, routes, strict=True) if old != names[replicas - 1]]
        also = sum(replaced.endpoint(key) != old for key, old in others) / ids
        found.append(("is replaced, by address", replicas, also, largest))
    return found


def _table(outcomes: Iterable[tuple[str, Outcome]]) -> str:
    head = (
        f"{'scenario':<10}{'spans':>8}{'lost':>7}{'doubled':>9}{'traces':>8}{'split':>7}{'share':>8}{'replicas':>10}"
        f"{'marked':>8}{'of split':>10}{'late':>6}{'retries':>9}"
    )
    rows = (
        f"{name:<10}{one.sent:>8,}{one.lost:>7,}{one.doubled:>9,}{one.traces:>8,}{one.split:>7,}"
        f"{one.split / one.traces:>8.2%}{one.moved:>10,}{one.marked / max(1, one.traces - one.split):>8.2%}"
        f"{one.split_marked / one.split if one.split else 0:>10.2%}{one.late:>6,}{one.retries:>9,}"
        for name, one in outcomes
    )
    return "\n".join((head, *rows, "", *(f"{name:<10}{SCENARIOS[name].words}" for name in SCENARIOS)))


def _rings(found: Iterable[tuple[str, int, float, float]]) -> str:
    head = f"{'replicas':>8}  {'one more':<26}{'traces that move':>17}{'1/(N+1)':>9}{'busiest, of its share':>23}"
    rows = (
        f"{replicas:>8}  {what:<26}{moved:>17.2%}{1 / (replicas + 1) if 'joins' in what else 0:>9.2%}{largest:>23.2f}"
        for what, replicas, moved, largest in found
    )
    return "\n".join((head, *rows))


def _setting(seconds: float, traces_per_second: float, wait: str) -> str:
    return (
        f"{traces_per_second:g} traces a second of the simulated shop for {seconds:g} s; each instance exports every 5 s, at its "
        f"own time; `wait_duration` {wait}; what happens, happens in the middle"
    )


_METHOD: Final = """\
A sender splits each request by trace id over the ring of the Collector's load-balancing exporter, with a queue for each replica
that tries until it is taken, as in examples/load-balancing.yaml; replicas run examples/replica.yaml. split: traces with more than
one verdict, and their share of all. replicas: traces whose spans came out of more than one replica. marked, of split: share marked
as anomalous of the traces with one verdict, and of the split ones; the traffic is without faults. lost: sent and not come out;
after a kill only what the killed replica had taken counts as lost by it, and the run fails if anything else is missing.
"""


@click.command(context_settings={"show_default": True})
@click.option("--seconds", type=float, default=90, help="of each scenario")
@click.option("--traces-per-second", type=float, default=100)
@click.option("--wait", default="10s", help="wait_duration of the replicas")
@click.option("--model", type=click.Path(path_type=Path, exists=True), default=BUNDLED)
@click.option("--output", type=click.Path(path_type=Path), default=report.RESULTS / "load-balancing")
def main(seconds: float, traces_per_second: float, wait: str, model: Path, output: Path) -> None:
    """Measure what happens when replicas come and go; write OUTPUT.txt and OUTPUT.json."""
    told = report.header("benchmarks.load_balancing", sys.argv[1:])
    traffic = replayed(seconds, traces_per_second)
    outcomes = {}
    with TemporaryDirectory(prefix="otel-tracead-bench-") as temporary:
        for name in SCENARIOS:
            outcomes[name] = run(name, traffic, model, wait, Path(temporary))
            click.echo(f"{name}: {outcomes[name]}", err=True)
    rings = moves()
    sections = [
        _setting(seconds, traces_per_second, wait),
        _table(outcomes.items()),
        f"Rings alone, {_IDS:,} trace ids",
        _rings(rings),
        _METHOD,
    ]
    document: dict[str, Any] = {
        **told,
        "runs": {name: asdict(one) for name, one in outcomes.items()},
        "rings": [dict(zip(("what", "replicas", "moved", "busiest"), row, strict=True)) for row in rings],
    }
    lost = any(one.lost_by_others for one in outcomes.values())
    trouble = "spans are missing that no killed replica had taken" if lost else ""
    report.conclude(output, "Replicas behind routing by trace id", document, sections, trouble)


if __name__ == "__main__":
    main()
