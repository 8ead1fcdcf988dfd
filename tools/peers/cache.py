"""Where peers are installed: `$XDG_CACHE_HOME/otel-tracead-peers`, shared by checkouts and survived by `make clean`."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tools.peers.process import Unavailable


def cache_folder(peer: str) -> Path:
    """Give the folder of *peer*, which need not exist yet."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "otel-tracead-peers" / peer


@contextmanager
def locked(peer: str) -> Iterator[Path]:
    """Make the folder of *peer* and keep other processes from installing into it at the same time."""
    folder = cache_folder(peer)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{peer}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def need(*programs: str) -> None:
    """Make sure that *programs* are on the path.

    Raises:
        Unavailable: one is not.
    """
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise Unavailable(f"needs {' and '.join(missing)}")


def execute(command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Run an installer and give what it printed.

    Raises:
        Unavailable: it failed; the end of what it said is in the message.
    """
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise Unavailable(f"`{' '.join(map(str, command))}` failed with {done.returncode}: {said}")
    return done.stdout
