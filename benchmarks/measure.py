"""One run: a system between a sender and a sink, its CPU time and memory, and whether anything was lost."""

import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from benchmarks.accounting import cpu_seconds, peak_rss
from benchmarks.sender import Sent
from benchmarks.sink import COUNT
from benchmarks.systems import Place, System
from benchmarks.traffic import Protocol
from tools.peers import Process, free_port, guarded
from tools.peers.process import HOST, listening

_QUIET: Final = 0.3  # seconds after the last span came out, for what is tidied up behind it
_PATIENCE: Final = 30.0
_ROUNDS: Final = 1 << 24  # that one sender may use


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is sent.

    Attributes:
        traffic: the file that `Traffic.save` wrote.
        spans_per_request: how it was packed.
        rate: spans a second; infinity is full speed, with a bounded number of requests under way.
        seconds: of the measured interval.
        warm_up: seconds at the same rate before it.
        most: spans that a sender sends at most, however many seconds it has.
    """

    traffic: Path
    spans_per_request: int
    rate: float
    seconds: float
    warm_up: float
    most: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was measured.

    Attributes:
        system: its name.
        takes: what came in.
        spans_per_request: of the load.
        rate: spans a second that were asked for; infinity for full speed.
        achieved: spans a second that it took.
        cpu_us: CPU microseconds a span, user and system, of the process with its threads and children.
        cores: CPU seconds a second while it was sent to.
        rss_mib: resident memory at its peak.
        sent: spans that it accepted, warm-up included.
        received: spans that came out.
        refused: requests that it told the sender to send again.
        p50_ms: median time until it had answered a request.
        p99_ms: 99th percentile of that.
    """

    system: str
    takes: Protocol = Protocol.OTLP
    spans_per_request: int
    rate: float
    achieved: float
    cpu_us: float
    cores: float
    rss_mib: float
    sent: int
    received: int
    refused: int
    p50_ms: float
    p99_ms: float

    @property
    def lost(self) -> int:
        """Spans that were accepted and did not come out (negative: came out twice)."""
        return self.sent - self.received


class Stand:
    """A running system, who sends to it, and the sink behind it.

    Attributes:
        process: the system's.
        place: where it stands.
    """

    def __init__(self, process: Process, place: Place, sink: grpc.Channel) -> None:
        self.process = process
        self.place = place
        self._count = sink.unary_unary(COUNT, request_serializer=None, response_deserializer=None)
        self._round = 0

    def received(self) -> int:
        """Count the spans that came out."""
        return int(self._count(b""))

    def cpu_seconds(self) -> float:
        """Give what it used so far."""
        return cpu_seconds(self.process.pid)

    @contextmanager
    def sending(self, load: Load, seconds: float) -> Iterator["Sending"]:
        """Send for *seconds*, under trace ids that were not sent before; waits for the end of it."""
        options = {
            "--traffic": load.traffic,
            "--target": f"{HOST}:{self.place.port}",
            "--rate": load.rate,
            "--seconds": seconds,
            "--first-round": self._round,
            "--most": load.most,
        }
        self._round += _ROUNDS
        words = (str(word) for pair in options.items() for word in pair)
        with guarded(
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.sender", *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        ) as child:
            sending = Sending(child, self.place.log)
            try:
                yield sending
                sending.result()
            finally:
                child.kill()

    def send(self, load: Load, seconds: float) -> Sent:
        """Send for *seconds*.

        Raises:
            RuntimeError: the sender failed.
        """
        with self.sending(load, seconds) as sending:
            return sending.result()

    def wait(self, expected: int) -> None:
        """Wait until *expected* spans came out, or nothing comes any longer."""
        deadline = time.monotonic() + _PATIENCE
        while self.received() < expected and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(_QUIET)


class Sending:
    """A sender at work."""

    def __init__(self, child: "subprocess.Popen[str]", log: Path) -> None:
        self._child = child
        self._log = log
        self._sent: Sent | None = None

    def result(self) -> Sent:
        """Wait for its end and give what it did.

        Raises:
            RuntimeError: it failed.
        """
        if self._sent is None:
            out, errors = self._child.communicate()
            if self._child.returncode != 0:
                end = self._log.read_text(errors="replace")[-3000:]
                raise RuntimeError(f"the sender failed:\n{errors}\nand {self._log} ends:\n{end}")
            self._sent = Sent(**json.loads(out))
        return self._sent


@contextmanager
def standing(
    system: System, model: Path, folder: Path, settings: Mapping[str, str] | None = None, name: str | None = None
) -> Iterator[Stand]:
    """Start a sink and *system* in front of it; logs go to *folder*, under *name* or the system's.

    Raises:
        RuntimeError: a process did not start.
    """
    sink_port = free_port()
    command = [sys.executable, "-m", "benchmarks.sink", "--port", str(sink_port)]
    target = f"{HOST}:{sink_port}"
    place = Place(
        port=free_port(), target=target, log=folder / f"{name or system.name}.log", model=model, settings=settings or {}
    )
    with (
        Process(command, log=folder / f"sink-{name or system.name}.log", ready=listening(sink_port)),
        grpc.insecure_channel(target) as channel,
        system.start(place) as process,
    ):
        yield Stand(process, place, channel)


def run(system: System, load: Load, model: Path, folder: Path, settings: Mapping[str, str] | None = None) -> Run:
    """Measure *system* under *load*; logs go to *folder*, *settings* to its configuration file.

    Raises:
        RuntimeError: a process did not start, or the sender failed.
    """
    with standing(system, model, folder, settings) as stand:
        warm = stand.send(load, load.warm_up)
        stand.wait(warm.spans)
        before = stand.cpu_seconds()
        main = stand.send(load, load.seconds)
        sent = warm.spans + main.spans
        stand.wait(sent)
        cpu = stand.cpu_seconds() - before
        rss = peak_rss(stand.process.pid)
        stand.process.stop()
        return Run(
            system=system.name,
            takes=system.takes,
            spans_per_request=load.spans_per_request,
            rate=load.rate,
            achieved=main.spans / main.seconds,
            cpu_us=1e6 * cpu / main.spans,
            cores=cpu / main.seconds,
            rss_mib=rss / 2**20,
            sent=sent,
            received=stand.received(),
            refused=warm.refused + main.refused,
            p50_ms=main.p50_ms,
            p99_ms=main.p99_ms,
        )


def rate_of(text: str) -> float:
    """Read a rate from a command line: spans a second, or `max`.

    Raises:
        ValueError: it is neither.
    """
    rate = math.inf if text == "max" else float(text)
    if not rate > 0:
        raise ValueError(f"{text}: not a rate")
    return rate


def words_of(rate: float) -> str:
    """Say a rate."""
    return "full speed" if rate == math.inf else f"{rate:,.0f} spans a second"
