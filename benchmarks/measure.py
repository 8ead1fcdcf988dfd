"""One run: a system between a sender and a sink, its CPU time and memory, and whether anything was lost."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc

from benchmarks.sender import Sent
from benchmarks.sink import COUNT
from benchmarks.systems import Place, System
from tools.peers import Process, free_port
from tools.peers.process import HOST, listening

# Longer than `wait_duration` (1 s) and any batch timeout: after it nothing is on its way, if nothing was lost.
_SILENCE = 2.5
_PATIENCE = 30.0
_WARM_UP_ROUND = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is sent.

    Attributes:
        traffic: the file that `Traffic.save` wrote.
        spans_per_request: how it was packed.
        rate: spans a second.
        seconds: of the measured interval.
        warm_up: seconds at the same rate before it.
    """

    traffic: Path
    spans_per_request: int
    rate: float
    seconds: float
    warm_up: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was measured.

    Attributes:
        system: its name.
        spans_per_request: of the load.
        rate: spans a second that were asked for.
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


def run(system: System, load: Load, model: Path, folder: Path) -> Run:
    """Measure *system* under *load*; logs go to *folder*.

    Raises:
        RuntimeError: a process did not start, or the sender failed.
    """
    sink_port, port = free_port(), free_port()
    command = [sys.executable, "-m", "benchmarks.sink", "--port", str(sink_port)]
    target = f"{HOST}:{sink_port}"
    place = Place(port=port, target=target, log=folder / f"{system.name}.log", model=model)
    with (
        Process(command, log=folder / "sink.log", ready=listening(sink_port)),
        grpc.insecure_channel(target) as channel,
        system.start(place) as subject,
    ):
        count = channel.unary_unary(COUNT, request_serializer=None, response_deserializer=None)

        def received() -> int:
            return int(count(b""))

        warm = _send(load, place, load.warm_up, _WARM_UP_ROUND)
        _wait(received, warm.spans)
        before = _cpu_seconds(subject.pid)
        main = _send(load, place, load.seconds, 0)
        sent = warm.spans + main.spans
        _wait(received, sent)
        cpu = _cpu_seconds(subject.pid) - before
        rss = _peak_rss(subject.pid)
        subject.stop()
        return Run(
            system=system.name,
            spans_per_request=load.spans_per_request,
            rate=load.rate,
            achieved=main.spans / main.seconds,
            cpu_us=1e6 * cpu / main.spans,
            cores=cpu / main.seconds,
            rss_mib=rss / 2**20,
            sent=sent,
            received=received(),
            refused=warm.refused + main.refused,
            p50_ms=main.p50_ms,
            p99_ms=main.p99_ms,
        )


def _send(load: Load, place: Place, seconds: float, first_round: int) -> Sent:
    options = {
        "--traffic": load.traffic,
        "--target": f"{HOST}:{place.port}",
        "--rate": load.rate,
        "--seconds": seconds,
        "--first-round": first_round,
    }
    command = [sys.executable, "-m", "benchmarks.sender", *(str(word) for pair in options.items() for word in pair)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the sender failed:\n{done.stderr}\nand {place.log} ends:\n{place.log.read_text()[-3000:]}")
    return Sent(**json.loads(done.stdout))


def _wait(received: Callable[[], int], expected: float) -> None:
    """Wait until *expected* spans came out, and a silence more; or until nothing comes any longer."""
    deadline = time.monotonic() + _PATIENCE
    while received() < expected and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(_SILENCE)


def _family(pid: int) -> list[int]:
    """The process and its descendants."""
    children = " ".join(tasks.read_text() for tasks in Path(f"/proc/{pid}/task").glob("*/children"))
    return [pid, *(member for child in children.split() for member in _family(int(child)))]


def _cpu_seconds(pid: int) -> float:
    """User and system time so far, of all threads; the kernel gives it in ticks of 10 ms."""
    ticks = 0
    for member in _family(pid):
        # After the name, which stands in parentheses and may hold anything: proc_pid_stat(5), fields 14 and 15.
        values = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        ticks += int(values[11]) + int(values[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _peak_rss(pid: int) -> int:
    """Peak resident memory in bytes."""
    total = 0
    for member in _family(pid):
        status = Path(f"/proc/{member}/status").read_text()
        total += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) * 1024
    return total
