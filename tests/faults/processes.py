"""A stage in a process of its own, senders that come back when they are told to, and what both know of spans."""

import resource
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.faults.books import Books
from tests.faults.pipeline import request
from tests.peers.independent import GrpcSink, spans_of
from tests.peers.stage import Stage
from tools.peers.backend import EXPORT

QUEUE = {"queue_size": 200_000, "sizer": "items"}
AGAIN = {"initial_interval": "50ms", "max_interval": "500ms"}
_RETRIED = {"UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED", "UNKNOWN"}


def otlp_to(target: str, **keys: Any) -> dict[str, Any]:
    always = {"endpoint": target, "tls": {"insecure": True}, "compression": "none", "timeout": "1s"}
    return {"otlp_grpc": {**always, "retry_on_failure": AGAIN, "sending_queue": QUEUE, **keys}}


def tracead(model: Path, **keys: Any) -> dict[str, Any]:
    always = {"model": str(model), "execution_provider": "cpu", "unknown_labels": 1.0, "wait_duration": "300ms"}
    return {"tracead": {**always, **keys}}


def books(stage: Stage) -> Books:
    return Books.at(stage.metrics)


def idle(stage: Stage) -> bool:
    """Say whether nothing is held before or in the queue of its exporter; looked at once, for spans move on."""
    found = books(stage)
    return found.held == 0 and found.queued("otlp_grpc") == 0


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for *condition*; one that cannot be asked does not hold."""
    deadline = time.monotonic() + seconds
    while True:
        with suppress(OSError):
            if condition():
                return
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


def arrived(sink: GrpcSink) -> Counter[str]:
    return Counter(
        span.name for body in list(sink.bodies) for span in spans_of([ExportTraceServiceRequest.FromString(body)])
    )


class Senders:
    """Threads that send a trace a request, as fast as they are let, and send again what they are told to.

    Attributes:
        taken: what the stage said yes to, by the name of the span.
        sent: what was offered, the same again not counted.
        refused: how often a request was not taken, by status.
    """

    def __init__(
        self, target: str, *, threads: int = 2, first: int = 0, spans: int = 3, size: int = 0, pause: float = 0.005
    ) -> None:
        self.taken: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self._target, self._first, self._spans, self._size, self._pause = target, first, spans, size, pause
        self._stop, self._now = threading.Event(), False
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, *, now: bool = False) -> None:
        """Send nothing new; what is being sent goes on until it is taken, unless *now*."""
        self._now = now
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_reconnect_backoff_ms", 200),
            ("grpc.enable_retries", 0),
        ]
        with grpc.insecure_channel(self._target, options=options) as channel:
            export = channel.unary_unary(EXPORT)
            trace = self._first + number
            while not self._stop.is_set():
                names = [f"{trace}/{n}" for n in range(1, self._spans + 1)]
                self._offer(export, request(trace, self._spans, self._size), names)
                trace += len(self._threads)
                self._stop.wait(self._pause)

    def _offer(self, export: Any, body: bytes, names: list[str]) -> None:
        with self._lock:
            self.sent.update(names)
        while True:
            try:
                export(body, timeout=5)
            except grpc.RpcError as error:
                code = error.code().name
                with self._lock:
                    self.refused[code] += 1
                if code not in _RETRIED:
                    raise
                if self._stop.is_set() and self._now:
                    return
                time.sleep(0.02)
            else:
                with self._lock:
                    self.taken.update(names)
                return


def fewer_files(pid: int, files: int) -> tuple[int, int]:
    """Let a process open *files* files at most; gives the limits before."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (files, before[1]))
    return before
