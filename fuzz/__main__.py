"""Fuzzes every target, one after the other, and says what it found: `make fuzz`, or `python -m fuzz --help`."""

import argparse
import importlib.util
import os
import platform
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fuzz import targets

_ROOT: Final = Path(__file__).parents[1]
_LONGEST_INPUT: Final = 1 << 13
_HANGS: Final = 120  # seconds of the clock; what takes two of the processor is a finding of its own
_UNITS: Final = re.compile(rb"stat::number_of_executed_units: *([0-9]+)")
_COVERAGE: Final = re.compile(rb"cov: ([0-9]+) ft: ([0-9]+)")


@dataclass(slots=True)
class Outcome:
    """What became of one target.

    Attributes:
        name: of the target.
        executions: of inputs.
        seconds: of the clock.
        coverage: edges of Python's code that were seen.
        features: the same with how often, as libFuzzer counts.
        findings: files.
    """

    name: str
    executions: int = 0
    seconds: float = 0.0
    coverage: int = 0
    features: int = 0
    findings: list[Path] = field(default_factory=list)


def main() -> int:
    """Fuzz; 0 if nothing was found, 1 if something was."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(targets.MODULES)}; default: all")
    parser.add_argument("--seconds", type=float, default=600.0, help="of the clock for all targets together")
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time")
    parser.add_argument(
        "--keep", type=Path, default=_ROOT / "build" / "fuzz", help="what was learned, for the next time"
    )
    parser.add_argument("--report", type=Path, help="write what was done here")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.targets if name not in targets.MODULES]
    if unknown:
        parser.error(f"no such target: {', '.join(unknown)}")
    if importlib.util.find_spec("atheris") is None:
        print(
            f"Fuzzing is left out: atheris has no wheel for Python {platform.python_version()} on {sys.platform} "
            f"({platform.machine()}). `make test` still runs every target on its seeds, its cases and some hundred changes."
        )
        return 0
    outcomes = _all(arguments.targets or list(targets.MODULES), arguments.seconds, arguments.jobs, arguments.keep)
    report = _report(outcomes)
    print(report)
    if arguments.report:
        arguments.report.write_text(report, encoding="utf-8")
    return 1 if any(outcome.findings for outcome in outcomes) else 0


def _all(names: list[str], seconds: float, jobs: int, keep: Path) -> list[Outcome]:
    """Run all targets, *jobs* at a time; each gets its share of what time is left when it begins."""
    waiting, running, done = list(names), list[tuple[_Run, Outcome]](), list[Outcome]()
    ends = time.monotonic() + seconds
    while waiting or running:
        while waiting and len(running) < jobs:
            left = ends - time.monotonic()
            share = max(5.0, min(left, left * jobs / len(waiting)))
            name = waiting.pop(0)
            print(f"{name}: {share:.0f} s", flush=True)
            running.append((_Run(name, share, keep), Outcome(name)))
        time.sleep(0.2)
        for pair in tuple(running):
            if pair[0].is_over(pair[1]):
                running.remove(pair)
                done.append(pair[1])
                print(_line(pair[1]), flush=True)
    return sorted(done, key=lambda outcome: names.index(outcome.name))


class _Run:
    """One target's process; after a finding another one, as long as there is time."""

    def __init__(self, name: str, seconds: float, keep: Path) -> None:
        self._name = name
        self._began = time.monotonic()
        self._seconds = seconds
        self._corpus, self._seeds, self._found = (keep / part / name for part in ("corpus", "seeds", "findings"))
        self._log = keep / f"{name}.log"
        for folder in (self._corpus, self._seeds, self._found):
            folder.mkdir(parents=True, exist_ok=True)
        self._before = set(self._found.iterdir())
        write = "import sys; from pathlib import Path; from fuzz import targets; t = targets.find(sys.argv[1])\n"
        write += "for n, one in enumerate([*t.seeds(), *t.cases()]): (Path(sys.argv[2]) / str(n)).write_bytes(one)"
        # Where this fails, so does the target itself, and says why.
        subprocess.run(
            [sys.executable, "-c", write, name, str(self._seeds)], check=False, capture_output=True, cwd=_ROOT
        )
        self._process = self._start(seconds)

    def _start(self, seconds: float) -> "subprocess.Popen[bytes]":
        options = [
            f"-max_total_time={max(1, round(seconds))}",
            f"-max_len={_LONGEST_INPUT}",
            f"-timeout={_HANGS}",
            "-rss_limit_mb=4096",
            "-print_final_stats=1",
            "-reload=0",
            f"-artifact_prefix={self._found}/",
        ]
        command = [sys.executable, "-m", "fuzz.one", self._name, *options, str(self._corpus), str(self._seeds)]
        with self._log.open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=_ROOT)

    def is_over(self, outcome: Outcome) -> bool:
        """Say whether it has ended, and note what it did in *outcome*."""
        if self._process.poll() is None:
            return False
        text = self._log.read_bytes()
        coverage = [(int(edges), int(features)) for edges, features in _COVERAGE.findall(text)]
        outcome.executions += sum(map(int, _UNITS.findall(text)))
        outcome.coverage, outcome.features = max([(outcome.coverage, outcome.features), *coverage])
        outcome.seconds = time.monotonic() - self._began
        outcome.findings = sorted(set(self._found.iterdir()) - self._before)
        if self._process.returncode == 0 or not coverage:
            if not coverage:
                outcome.findings.append(self._log)  # it did not even begin
            return True
        left = self._seconds - outcome.seconds
        if left < 1:
            return True
        self._process = self._start(left)
        return False


def _line(outcome: Outcome) -> str:
    return (
        f"{outcome.name:<18}{outcome.executions:>12,}{outcome.seconds:>9.0f}{outcome.coverage:>9,}{outcome.features:>9,}"
        f"{len(outcome.findings):>10}"
    )


def _report(outcomes: list[Outcome]) -> str:
    executions, seconds = sum(one.executions for one in outcomes), sum(one.seconds for one in outcomes)
    found = [path for outcome in outcomes for path in outcome.findings]
    lines = [
        f"{' '.join(['python -m fuzz', *sys.argv[1:]])}",
        f"commit {_commit()}, Python {platform.python_version()}, {os.cpu_count()} processors ({platform.machine()})",
        "",
        f"{'target':<18}{'executions':>12}{'seconds':>9}{'edges':>9}{'features':>9}{'findings':>10}",
        *map(_line, outcomes),
        f"{'together':<18}{executions:>12,}{seconds:>9.0f}{'':>18}{len(found):>10}",
        *(f"found: {path}" for path in found),
    ]
    return "\n".join(lines) + "\n"


def _commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=_ROOT, check=False
    )
    return found.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
