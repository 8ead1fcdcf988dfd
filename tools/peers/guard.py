"""Children do not outlive whoever started them, however that ended: a process beside them kills them when their parent is gone.

Linux only; elsewhere nobody watches. The kernel's own way (PR_SET_PDEATHSIG) ends a child already when the thread that started it ends.
"""

import os
import selectors
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TypeVar

P = TypeVar("P", bound="subprocess.Popen[bytes] | subprocess.Popen[str]")

_watchers: dict[int, int] = {}
"""The pipe that the watcher of each process reads from: a fork has its own. Open to the end: that is what it waits for."""


def guarded(child: P) -> P:
    """Have *child* killed when this process is gone; gives it back."""
    if hasattr(os, "pidfd_open"):
        with suppress(BrokenPipeError):  # somebody killed the watcher
            watcher = _watchers.get(os.getpid())
            if watcher is None:
                watcher = _watchers[os.getpid()] = _watcher()
            os.write(watcher, b"%d\n" % child.pid)
    return child


def _watcher() -> int:
    read, write = os.pipe()
    try:
        # In a session of its own: what ends its parent with the whole group must not end it as well.
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=read,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    finally:
        os.close(read)
    process.returncode = 0  # nobody waits for it: it ends behind us
    return write


def _watch() -> None:
    """Read process ids until there is nobody to tell any more; kill then what is left of them."""
    alive: set[int] = set()
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        rest = b""
        while True:
            for key, _ in selector.select():
                if key.fd in alive:  # it has ended
                    selector.unregister(key.fd)
                    os.close(key.fd)
                    alive.discard(key.fd)
                    continue
                data = os.read(key.fd, 4096)
                if not data:
                    for descriptor in alive:
                        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                    return
                *whole, rest = (rest + data).split(b"\n")
                for pid in whole:
                    with suppress(OSError):  # it has ended already
                        descriptor = os.pidfd_open(int(pid))
                        alive.add(descriptor)
                        selector.register(descriptor, selectors.EVENT_READ)


if __name__ == "__main__":
    _watch()
