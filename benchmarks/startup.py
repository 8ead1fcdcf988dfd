"""`python -m benchmarks.startup`: how long the command line takes to say its help, and a stage to be ready.

Ready: the health check says so, with the bundled model loaded and the receivers listening. Nothing is warmed but the
files in the page cache, as on a machine where the stage was started before.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import click

from benchmarks import report
from benchmarks.spans import BUNDLED, ROOT
from tools.peers import Process, free_port
from tools.peers.process import HOST, answering

_COMMAND: Final = (sys.executable, "-m", "otel_tracead")
_CONFIG: Final = ROOT / "examples" / "replica.yaml"
_STEP: Final = 0.01


def help_seconds() -> float:
    """Time `otel-tracead --help`."""
    begun = time.perf_counter()
    subprocess.run([*_COMMAND, "--help"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def ready_seconds(folder: Path) -> float:
    """Time `otel-tracead run` until its health check answers 200."""
    health, receiver, metrics = free_port(), free_port(), free_port()
    overrides = {
        "receivers.otlp.protocols.grpc.endpoint": f"{HOST}:{receiver}",
        "extensions.health_check.endpoint": f"{HOST}:{health}",
    }
    words = [word for key, value in overrides.items() for word in ("--set", f"{key}={value}")]
    healthy = answering(f"http://{HOST}:{health}/")
    begun = time.perf_counter()
    process = Process(
        [*_COMMAND, "run", "--config", str(_CONFIG), *words],
        log=folder / "stage.log",
        ready=healthy,
        env={"TRACEAD_MODEL": str(BUNDLED), "TRACEAD_METRICS_PORT": str(metrics), "DOWNSTREAM_GRPC": f"{HOST}:1"},
    )
    try:
        while not healthy():
            if process.exit_code is not None:
                raise RuntimeError(f"it ended:\n{process.tail()}")
            time.sleep(_STEP)
        return time.perf_counter() - begun
    finally:
        process.stop()


def _several(what: str, repeats: int, measure: Callable[[], float]) -> list[float]:
    found = []
    for _ in range(repeats):
        found.append(measure())
        click.echo(f"{what} {found[-1]:.2f} s", err=True)
    return found


def _row(what: str, seconds: list[float]) -> str:
    return f"{what:<44}{median(seconds):>8.2f}{min(seconds):>8.2f}{max(seconds):>8.2f}"


@click.command(context_settings={"show_default": True})
@click.option("--repeats", type=int, default=7)
@click.option("--output", type=click.Path(path_type=Path), default=report.RESULTS / "start")
def main(repeats: int, output: Path) -> None:
    """Measure the start; write OUTPUT.txt and OUTPUT.json."""
    told = report.header("benchmarks.startup", sys.argv[1:])
    with TemporaryDirectory(prefix="otel-tracead-bench-") as temporary:
        helped = _several("help", repeats, help_seconds)
        ready = _several("ready", repeats, lambda: ready_seconds(Path(temporary)))
    document: dict[str, Any] = {**told, "help_seconds": helped, "ready_seconds": ready}
    rows = (
        f"{'seconds':<44}{'median':>8}{'min':>8}{'max':>8}",
        _row("otel-tracead --help", helped),
        _row("otel-tracead run, ready (bundled model)", ready),
    )
    report.conclude(output, "Start", document, ["\n".join(rows)])


if __name__ == "__main__":
    main()
