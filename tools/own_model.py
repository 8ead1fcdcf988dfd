"""`python -m tools.own_model`: does what docs/own-model.md says, on free ports, and takes the time.

Block after block is run in one shell, with the simulated shop in the place of a system; needs the extra `train`. What it took
goes to docs/results/own-model.txt. Exit code 1: a block failed.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks import report
from tools.peers import free_port, guarded

ROOT: Final = Path(__file__).parent.parent
PAGE: Final = ROOT / "docs" / "own-model.md"
_RESULT: Final = ROOT / "docs" / "results" / "own-model.txt"

_BLOCK = re.compile(r"^## (?P<heading>[^\n]*)$|^```(?P<language>\w+)\n(?P<body>.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        section: the heading above it.
        language: after the fence.
        body: what stands in it.
    """

    section: str
    language: str
    body: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of *page*, in order."""
    found = []
    section = ""
    for match in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        if match["heading"] is not None:
            section = match["heading"]
        else:
            found.append(Block(section, match["language"], match["body"]))
    return found


@dataclass(frozen=True, slots=True)
class Step:
    """A block that was run.

    Attributes:
        section: the heading above it.
        command: its first line.
        seconds: it took.
        output: of it.
    """

    section: str
    command: str
    seconds: float
    output: str


def walk(page: Path, folder: Path, replaced: Mapping[str, str], env: Mapping[str, str], patience: float) -> list[Step]:
    """Run the `bash` blocks of *page* in *folder*, in one shell that stops at the first failure.

    Args:
        page: the document.
        folder: where they are run.
        replaced: what stands on the page, and what is run instead.
        env: of the shell.
        patience: seconds for all of it.

    Raises:
        RuntimeError: one failed; with what was run and said.
    """
    script = ["set -euo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    commands = [block for block in blocks(page) if block.language == "bash"]
    for number, block in enumerate(commands):
        script += [f"exec >step-{number} 2>&1", _with(block.body, replaced), f"date +%s.%N >done-{number}"]
    path = folder / "walk.sh"
    path.write_text("\n".join(script), encoding="utf-8")
    begun = time.time()
    shell = guarded(
        subprocess.Popen(
            ["/bin/bash", str(path)], cwd=folder, env=dict(env), stdin=subprocess.DEVNULL, start_new_session=True
        )
    )
    try:
        code = shell.wait(patience)
    except subprocess.TimeoutExpired:
        code = None  # it waits for something that does not come; what was said until then tells what
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
    outputs = [(folder / f"step-{number}") for number in range(len(commands))]
    said = [path.read_text(errors="replace") if path.exists() else "(not run)" for path in outputs]
    if code != 0:
        raise RuntimeError("\n".join(f"{one.body}{text}" for one, text in zip(commands, said, strict=True)))
    steps = []
    for number, block in enumerate(commands):
        ended = float((folder / f"done-{number}").read_text())
        first = next(line for line in block.body.splitlines() if "otel-tracead" in line or "kill" in line)
        steps.append(Step(block.section, first.rstrip(" \\"), ended - begun, said[number]))
        begun = ended
    return steps


def _with(text: str, replaced: Mapping[str, str]) -> str:
    for old, new in replaced.items():
        text = text.replace(old, new)
    return text


def on_free_ports() -> dict[str, str]:
    """Give what stands on the page, and what to run instead where others listen already."""
    return {
        "localhost:4317": f"localhost:{free_port()}",
        "localhost:13133": f"localhost:{free_port()}",
        "run --config stage.yaml": "run --config stage.yaml --set service.telemetry.metrics.level=none",
    }


def prepare(folder: Path, replaced: Mapping[str, str]) -> dict[str, str]:
    """Write the page's configuration to *folder*, and give an environment in which its commands are found."""
    (configuration,) = (block.body for block in blocks(PAGE) if block.language == "yaml")
    (folder / "stage.yaml").write_text(_with(configuration, replaced), encoding="utf-8")
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def main() -> None:
    """Walk the page as it stands, and write down how long each block took."""
    told = report.header("tools.own_model", sys.argv[1:])
    replaced = on_free_ports()
    with TemporaryDirectory(prefix="otel-tracead-own-model-") as temporary:
        folder = Path(temporary)
        steps = walk(PAGE, folder, replaced, prepare(folder, replaced), patience=7200)
    lines = ["The way of docs/own-model.md, with the simulated shop in the place of a system", ""]
    lines += [f"{key:<9} {value}" for key, value in told.items()]
    lines += [f"date      {datetime.now(UTC).date()}", "", f"seconds  {'section':<16}begins with"]
    lines += [f"{step.seconds:>7.0f}  {step.section:<16}{step.command}" for step in steps]
    lines += [f"{sum(step.seconds for step in steps):>7.0f}  in all", ""]
    _RESULT.write_text("\n".join(lines), encoding="utf-8")
    sys.stdout.write("\n".join(lines))


if __name__ == "__main__":
    main()
