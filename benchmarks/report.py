"""What was measured, as text and as JSON, with the machine, the commit and the date; and the history of it."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

RESULTS: Final = Path(__file__).parent.parent / "docs" / "results"
HISTORY: Final = "history.jsonl"
"""Beside the results: a line for each run that gave ratios, only ever appended to."""
_HEADER: Final = ("command", "commit", "machine", "date")


def commit() -> str:
    """Name the commit of the checkout; ends in `-dirty` when files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return done.stdout.strip() or "unknown"


def machine() -> str:
    """Describe the machine without naming it, and how busy others keep it: to be asked before the first run."""
    cpu = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?"
    )
    memory = next((int(line.split()[1]) / 2**20 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    cores = len(os.sched_getaffinity(0))
    return f"{cpu}, {cores} cores, {memory:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"


def header(module: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Say what was run, of which commit, where and when: to be asked before the first run."""
    command = " ".join(("python -m", module, *map(_without_places, arguments)))
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    return {"command": command, "commit": commit(), "machine": machine(), "date": date}


def write(place: Path, title: str, document: dict[str, Any], sections: Sequence[str]) -> None:
    """Write *sections* under *title* and a header to *place*.txt, and the whole *document* to *place*.json.

    Ratios in the document (`ratios`, by name: less is better) go to the history beside it, too.
    """
    told = [f"{key:<9} {document[key]}" for key in _HEADER]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.with_suffix(".txt").write_text("\n\n".join([title, "\n".join(told), *sections]).rstrip() + "\n")
    place.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    if ratios := document.get("ratios"):
        entry = {
            "part": place.name,
            **{key: document[key] for key in ("commit", "date", "machine")},
            "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()},
        }
        with (place.parent / HISTORY).open("a") as history:
            history.write(json.dumps(entry) + "\n")


def conclude(place: Path, title: str, document: dict[str, Any], sections: Sequence[str], trouble: str = "") -> None:
    """End a benchmark's command: `write`, show what was written, and fail with *trouble* if there is any.

    Raises:
        ClickException: *trouble* is not empty; what was measured is written all the same.
    """
    write(place, title, document, sections)
    click.echo(place.with_suffix(".txt").read_text())
    if trouble:
        raise click.ClickException(trouble)


def _without_places(argument: str) -> str:
    """An argument without the folders of this machine."""
    return Path(argument).name if Path(argument).is_absolute() else argument


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
