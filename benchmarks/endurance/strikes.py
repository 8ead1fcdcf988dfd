"""Faults of a soak made to happen: to the network, to the process, to its model and at its doors."""

import os
import random
import shutil
import socket
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from signal import SIGCONT, SIGHUP, SIGKILL, SIGSTOP
from typing import Final

from benchmarks.endurance.faults import Fault, Kind
from benchmarks.endurance.numbered import Way
from benchmarks.endurance.rig import Rig, Sending
from tools.peers import Process
from tools.peers.process import HOST

_SLOWEST: Final = 1.0  # seconds; below the exporter's timeout, or it would rightly send again
_CUTS: Final = 5
_CLIENTS: Final = 40
_ANSWER: Final = 5.0

Waiting = Callable[[float], None]
"""Waits for so many seconds, and looks meanwhile whether all is well."""


class Strikes:
    """Makes faults happen to a running stage.

    Args:
        around: what surrounds it.
        stage: the process.
        seed: of what is not said by a fault.

    Attributes:
        stage: the process; another one after a SIGKILL.
        counts: how often each kind struck.
        statuses: what broken requests were answered with.
    """

    def __init__(self, around: Rig, stage: Process, seed: int) -> None:
        self._around = around
        self._random = random.Random(seed)
        self._reloads = 0
        self.stage = stage
        self.counts: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()

    def begin(self, fault: Fault, sending: Sending, wait: Waiting) -> Callable[[], None]:
        """Let *fault* begin; gives what ends it."""
        self.counts[fault.kind.value] += 1
        network = self._around.network
        match fault.kind:
            case Kind.AWAY:
                network.gone()
                return network.back
            case Kind.SLOW:
                network.slow(self._random.uniform(0.1, _SLOWEST))
                return network.back
            case Kind.NONSENSE:
                network.nonsense()
                return network.back
            case Kind.CUT:
                for _ in range(self._random.randint(1, _CUTS)):
                    network.cut()
                    wait(self._random.uniform(0.1, 1.0))
            case Kind.RELOAD:
                self._reloads += 1
                self._around.stage.configure(decision_cache=100_000 - self._reloads % 2)
                self.stage.signal(SIGHUP)
            case Kind.FROZEN:
                self.stage.signal(SIGSTOP)
                return lambda: self.stage.signal(SIGCONT)
            case Kind.MODEL:
                self._replace_model()
            case Kind.GIANT:
                sending.say("giant")
            case Kind.BAD:
                for name, way, request in _broken(self._random):
                    self.statuses[f"{name}: {_talk(self._around.stage.ports[way], request)}"] += 1
            case Kind.SLOW_CLIENTS:
                return self._slow_clients()
            case Kind.KILLED:
                self.stage.signal(SIGKILL)
                self.stage.wait()
                self.stage = self._around.stage.start().wait_until_ready()
        return lambda: None

    def _replace_model(self) -> None:
        """As docs/reload.md says: the new folder beside the old one, then two renames."""
        folder = self._around.stage.model
        fresh, old = folder.with_name("model.new"), folder.with_name("model.old")
        shutil.rmtree(old, ignore_errors=True)
        shutil.copytree(folder, fresh)
        folder.rename(old)
        fresh.rename(folder)
        for path in folder.iterdir():
            os.utime(path)

    def _slow_clients(self) -> Callable[[], None]:
        """Connections that say a little and then nothing more."""
        open_ = ExitStack()
        for number in range(_CLIENTS):
            way = Way(number % len(Way))
            with suppress(OSError):
                client = open_.enter_context(socket.create_connection((HOST, self._around.stage.ports[way]), _ANSWER))
                whole = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" if way is Way.GRPC else _post("/v1/traces", b"x" * 1000)
                client.sendall(whole[: self._random.randint(1, len(whole) - 1)])
        return open_.close


def _post(path: str, body: bytes, *headers: str) -> bytes:
    head = (f"POST {path} HTTP/1.1", "Host: stage", f"Content-Length: {len(body)}", "Connection: close", *headers)
    return "\r\n".join((*head, "", "")).encode() + body


def _broken(chance: random.Random) -> Iterator[tuple[str, Way, bytes]]:
    """Requests that nobody may take: what they are, where they go, their bytes."""
    protobuf, json_ = "Content-Type: application/x-protobuf", "Content-Type: application/json"
    gzip = "Content-Encoding: gzip"
    yield from (
        ("random bytes as protobuf", Way.HTTP, _post("/v1/traces", chance.randbytes(2000), protobuf)),
        ("half a list of Zipkin spans", Way.ZIPKIN, _post("/api/v2/spans", b'[{"traceId":"1","id":', json_)),
        ("a list in a list, 100,000 deep", Way.ZIPKIN, _post("/api/v2/spans", b"[" * 100_000, json_)),
        ("200 MiB of nothing, compressed", Way.HTTP, _post("/v1/traces", _bomb(), protobuf, gzip)),
        ("no such path", Way.HTTP, _post("/v1/../../etc/passwd", b"", protobuf)),
        ("a content type of its own", Way.HTTP, _post("/v1/traces", b"a,b", "Content-Type: text/csv")),
        ("random bytes as HTTP/2", Way.GRPC, chance.randbytes(3000)),
        ("random bytes as HTTP/1", Way.HTTP, chance.randbytes(3000)),
    )


@cache
def _bomb() -> bytes:
    packed = zlib.compressobj(9, zlib.DEFLATED, 31)  # as gzip
    return b"".join(packed.compress(bytes(1 << 20)) for _ in range(200)) + packed.flush()


def _talk(port: int, request: bytes) -> str:
    """Send it; gives the status that came, or what else came of it."""
    answer = b""
    try:
        with socket.create_connection((HOST, port), _ANSWER) as client:
            client.settimeout(_ANSWER)
            with suppress(OSError):  # it may have answered and closed before it had everything
                client.sendall(request)
            while len(answer) < 4096 and (part := client.recv(4096)):
                answer += part
    except OSError as error:
        return type(error).__name__ if not answer else _status(answer)
    return _status(answer)


def _status(answer: bytes) -> str:
    words = answer.split(maxsplit=2)
    if answer.startswith(b"HTTP/1.") and len(words) > 1:
        return words[1].decode(errors="replace")
    return "closed" if not answer else "an HTTP/2 error"


def waiting(check: Callable[[], None]) -> Waiting:
    """Make a `Waiting` that asks *check* again and again."""

    def wait(seconds: float) -> None:
        end = time.monotonic() + seconds
        check()
        while (left := end - time.monotonic()) > 0:
            check()
            time.sleep(min(0.1, left))

    return wait


def log_lines(folder: Path, level: str) -> Counter[str]:
    """Count what the stage's logs say on *level*, by the message."""
    found: Counter[str] = Counter()
    for path in sorted(folder.glob("life-*.log")):
        with path.open(errors="replace") as lines:
            for line in lines:
                parts = line.split("\t")
                if len(parts) > 2 and parts[1] == level:
                    found[parts[2].strip()[:100]] += 1
    return found
