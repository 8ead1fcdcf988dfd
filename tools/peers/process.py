"""A server in a process of its own: started, waited for, ended; its output goes to a file."""

import os
import random
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tools.peers.guard import guarded

HOST = "127.0.0.1"
# Above the well-known ports that peers listen on by default, below those that the kernel hands out to clients.
_PORTS = range(20_000, 32_000)
_TAIL = 30


class Unavailable(Exception):  # noqa: N818 (a state of the machine, not a failure)
    """This machine cannot run the peer; the message says what is missing."""


_SLICES: Final = 97
_given: dict[int, None] = {}  # in order


def free_port() -> int:
    """Find a port of 127.0.0.1 that nobody listens on, outside of what the kernel hands out by itself.

    A port is given out some time before somebody listens on it. So each process looks in a slice of its own, and once
    it has given out all of those, it begins with the one that was given out first.
    """
    own = _PORTS[os.getpid() % _SLICES :: _SLICES]
    fresh = [port for port in own if port not in _given]
    random.SystemRandom().shuffle(fresh)
    for port in [*fresh, *_given]:
        _given.pop(port, None)
        _given[port] = None
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise Unavailable("no free port between 20000 and 32000")


def listening(*ports: int) -> Callable[[], bool]:
    """Make a readiness check: every one of *ports* accepts connections."""

    def ready() -> bool:
        for port in ports:
            with socket.socket() as client:
                client.settimeout(1)
                if client.connect_ex((HOST, port)) != 0:
                    return False
        return True

    return ready


def answering(url: str) -> Callable[[], bool]:
    """Make a readiness check: *url* answers 200."""

    def ready() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    return ready


class Process:
    """A child process, as a context manager: entered when it is ready, left when it has ended, and never outliving us.

    Attributes:
        log: the file with its standard output and error.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        ready: Callable[[], bool],
        env: Mapping[str, str] | None = None,
        patience: float = 60.0,
    ) -> None:
        self.log = log
        self._ready = ready
        self._patience = patience
        with log.open("wb") as output:
            self._child = guarded(
                subprocess.Popen(
                    list(map(str, command)),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **(env or {})},
                )
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended, or None while it runs."""
        return self._child.poll()

    def wait_until_ready(self) -> Self:
        """Wait for the readiness check.

        Raises:
            RuntimeError: it ended before, or was not ready in time; the end of its log is in the message.
        """
        deadline = time.monotonic() + self._patience
        while not self._ready():
            if self._child.poll() is not None:
                raise RuntimeError(f"{self._describe()} ended with {self._child.returncode}:\n{self.tail()}")
            if time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{self._describe()} was not ready after {self._patience:g} s:\n{self.tail()}")
            time.sleep(0.05)
        return self

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._child.send_signal(number)

    def wait(self, patience: float = 60.0) -> int:
        """Wait until it ends by itself, and give its exit code."""
        return self._child.wait(patience)

    def stop(self, patience: float = 60.0) -> int:
        """End it by SIGTERM (by SIGKILL when that takes longer than *patience* seconds), and give its exit code."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(patience)
            except subprocess.TimeoutExpired:
                self._child.kill()
        return self._child.wait()

    def tail(self) -> str:
        """Give the last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_TAIL:])

    def _describe(self) -> str:
        return " ".join(map(str, self._child.args)) if isinstance(self._child.args, list) else str(self._child.args)

    def __enter__(self) -> Self:
        """Wait until it is ready."""
        return self.wait_until_ready()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self.stop()
