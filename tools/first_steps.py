"""`python -m tools.first_steps`: does what docs/first-steps.md says, in a fresh clone and a fresh home, and takes the time.

Every command of the page is run as it stands, in its order; what the page has a person do on Zipkin's page is done in a real
browser. What it took goes to docs/results/first-steps.txt, the pictures to build/first-steps. Exit code 1: a step failed, or all
together took too long. Comments on the page say what a command does not say itself: `stays until PLACE...` marks one that goes on
running, with what answers when it is ready, and `typed` what is no command.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

from benchmarks.report import machine
from tools.peers import guarded
from tools.peers.process import answering, listening
from tools.screenshots import take

_ROOT: Final = Path(__file__).parents[1]
_PAGE: Final = "docs/first-steps.md"
_RESULT: Final = _ROOT / "docs" / "results" / "first-steps.txt"
_PICTURES: Final = _ROOT / "build" / "first-steps"
_LIMIT_S: Final = 600
_PATIENCE_S: Final = 120
# What a login shell of somebody else would not have.
_OURS: Final = re.compile(r"(VIRTUAL_ENV|PYTHON|XDG_|PYTEST|OTEL_|TRACEAD_|MAKE|MFLAGS|PIP_CACHE).*")


@dataclass(frozen=True)
class Step:
    """A block of the page.

    Attributes:
        title: the heading that it stands under.
        text: the block.
        until: for a command that stays: what answers when it is ready (URLs, or host:port), else empty.
        typed: whether it is what a person types into the browser.
    """

    title: str
    text: str
    until: tuple[str, ...] = ()
    typed: bool = False


def steps(page: str) -> Iterator[Step]:
    """Yield the blocks of *page* under its numbered headings."""
    title, mark, block = "", "", list[str]()
    for line in [*page.splitlines(), ""]:
        if line.startswith("    ") and title:
            block.append(line[4:])
            continue
        if block:
            until = tuple(mark.removeprefix("stays until ").split()) if mark.startswith("stays until ") else ()
            yield Step(title, "\n".join(block), until, mark == "typed")
            mark, block = "", []
        if line.startswith("## "):
            title = line.removeprefix("## ") if re.match(r"## \d", line) else ""
        elif found := re.fullmatch(r"<!-- (.*) -->", line):
            mark = found[1]


def _environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not _OURS.fullmatch(name)}
    own = str(Path(sys.executable).parent)
    path = ":".join(part for part in kept["PATH"].split(":") if part != own)
    return {**kept, "PATH": path, "HOME": str(home)}


def _ready(place: str) -> bool:
    return answering(place)() if place.startswith("http") else listening(int(place.rpartition(":")[2]))()


def _wait(places: tuple[str, ...], child: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while (ended := child.poll() is not None) or not all(map(_ready, places)):
        if ended or time.monotonic() > deadline:
            raise RuntimeError(f"not ready: {' '.join(places)}\n{log.read_text()[-2000:]}")
        time.sleep(0.1)


@contextmanager
def _staying(
    command: list[str], places: tuple[str, ...], log: Path, env: Mapping[str, str], cwd: Path
) -> Iterator[None]:
    """Run *command* as in a terminal of its own, from ready to Ctrl-C."""
    if taken := [place for place in places if _ready(place)]:
        raise RuntimeError(f"something else answers already at {' '.join(taken)}")
    with log.open("wb") as output:
        child = guarded(
            subprocess.Popen(command, cwd=cwd, env=env, stdout=output, stderr=output, start_new_session=True)
        )
    try:
        _wait(places, child, log)
        yield
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGINT)
        child.wait(_PATIENCE_S)


def _found(query: str, folder: Path) -> str:
    try:
        return _find(query)
    except LookupError as error:
        logs = "\n".join(log.read_text(errors="replace")[-2000:] for log in sorted(folder.glob("*.log")))
        raise LookupError(f"{error}\n{logs}") from error


def _find(query: str) -> str:
    """Do what the page says of the browser, once there is something to be found."""
    url = "http://localhost:9412"
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        with urllib.request.urlopen(f"{url}/api/v2/traces?annotationQuery={quote(query)}", timeout=30) as answer:
            if len(answer.read()) > len("[]"):
                return take(url, _PICTURES, query)
        if time.monotonic() > deadline:
            raise LookupError(f"{query} finds nothing")
        time.sleep(0.5)


def walk(folder: Path) -> tuple[str, list[tuple[str, str, float]]]:
    """Clone what is committed into *folder* and do every step of its page there.

    Returns:
        The commit, and of each step its title, what was done, and the seconds it took.

    Raises:
        RuntimeError: a command fails, or what stays does not get ready.
        LookupError: nothing is found on Zipkin's page.
    """
    home, clone = folder / "home", folder / "otel-tracead"
    home.mkdir()
    env = _environment(home)
    begin = time.monotonic()
    _run(["git", "clone", "--quiet", str(_ROOT), str(clone)], folder, env)
    took = [("0. Clone", "git clone", time.monotonic() - begin)]
    shell_setup = ""
    with ExitStack() as running:
        for number, step in enumerate(steps((clone / _PAGE).read_text(encoding="utf-8"))):
            begin = time.monotonic()
            told = step.text.replace("\\\n", " ")
            sys.stdout.write(f"{step.title}: {' '.join(told.split())}\n")
            sys.stdout.flush()
            command = ["bash", "-ec", f"{shell_setup}{step.text}"]
            if step.typed:
                told = f"{told}  → {_found(step.text, folder)}"
            elif step.until:
                running.enter_context(_staying(command, step.until, folder / f"{number}.log", env, clone))
            elif step.text.startswith(". "):
                shell_setup = f"{step.text}\n"
            else:
                _run(command, clone, env)
            took.append((step.title, " ".join(told.split()), time.monotonic() - begin))
    return _run(["git", "rev-parse", "--short=12", "HEAD"], clone, env), took


def _run(command: list[str], cwd: Path, env: Mapping[str, str]) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout)[-2000:]
        raise RuntimeError(f"`{command[-1]}` ended with {done.returncode}:\n{said}")
    return done.stdout.strip()


def _table(took: list[tuple[str, str, float]]) -> list[str]:
    rows = [f"{seconds:>7.1f}  {title.split('.')[0]:<3} {done}" for title, done, seconds in took]
    total = sum(seconds for _, _, seconds in took)
    return ["seconds  what was done", *rows, f"{total:>7.1f}  in all; the limit is {_LIMIT_S}"]


def main() -> int:
    """Walk, and write down how long it took."""
    here = machine()
    with tempfile.TemporaryDirectory() as folder:
        try:
            commit, took = walk(Path(folder))
        except (RuntimeError, LookupError) as error:
            sys.stderr.write(f"{error}\n")
            return 1
    header = [
        f"The first steps of {_PAGE}, done by a script in a fresh clone and a fresh home, without any cache",
        "",
        "command   python -m tools.first_steps",
        f"commit    {commit}",
        f"machine   {here}",
        f"date      {datetime.now(UTC):%Y-%m-%d}",
        "",
    ]
    text = "\n".join([*header, *_table(took), ""])
    _RESULT.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0 if sum(seconds for _, _, seconds in took) < _LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main())
