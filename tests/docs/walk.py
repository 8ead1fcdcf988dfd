"""A page's own commands, run one block after the other in one shell."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^## (?P<heading>[^\n]*)$|^```(?P<language>\w+)\n(?P<body>.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Step:
    """A block that was run.

    Attributes:
        section: the heading above it.
        seconds: it took.
        output: of it.
    """

    section: str
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
        AssertionError: one failed; with what was run and said.
    """
    script = ["set -euo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    commands = [block for block in blocks(page) if block.language == "bash"]
    for number, block in enumerate(commands):
        script += [f"exec >step-{number} 2>&1", _with(block.body, replaced), f"date +%s.%N >done-{number}"]
    path = folder / "walk.sh"
    path.write_text("\n".join(script), encoding="utf-8")
    begun = time.time()
    shell = subprocess.Popen(
        ["bash", str(path)], cwd=folder, env=dict(env), stdin=subprocess.DEVNULL, start_new_session=True
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
    assert code == 0, "\n".join(f"{one.body}{text}" for one, text in zip(commands, said, strict=True))
    steps = []
    for number, block in enumerate(commands):
        ended = float((folder / f"done-{number}").read_text())
        steps.append(Step(block.section, ended - begun, said[number]))
        begun = ended
    return steps


def _with(text: str, replaced: Mapping[str, str]) -> str:
    for old, new in replaced.items():
        text = text.replace(old, new)
    return text
