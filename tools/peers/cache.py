"""Where peers are installed: `$XDG_CACHE_HOME/otel-tracead-peers`, shared by checkouts and survived by `make clean`."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Built:
    """A peer that is built with Go from the module proxy.

    Attributes:
        peer: its name, and its folder's.
        version: that is built.
        takes: how long that takes, in words.
    """

    peer: str
    version: str
    takes: str

    def binary(self) -> Path:
        """Give the binary that `install` built.

        Raises:
            Unavailable: it was not built on this machine.
        """
        if not self._place.exists():
            raise Unavailable(f"{self.peer} is not built: `make peers` builds it (Go, {self.takes})")
        return self._place

    def install(self, build: Callable[[Path], Path]) -> Path:
        """Build it unless it is there.

        Args:
            build: does so in a folder that is given to it, and gives where the binary lies, on the same file system.

        Raises:
            Unavailable: no Go, or the build fails.
        """
        if not self._place.exists():
            need("go")
            with locked(self.peer) as folder:
                if not self._place.exists():
                    build(folder.resolve()).rename(self._place)
        return self._place

    @property
    def _place(self) -> Path:
        return cache_folder(self.peer) / f"{self.peer}-v{self.version}"


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
