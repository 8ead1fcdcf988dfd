"""What a real process takes in memory, and how long others wait, when one sender asks for more than there is."""

import http.client
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import grpc
import psutil
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_tracead.wire.rpc_status import RpcStatus
from tests.faults.line import Line
from tests.faults.pipeline import request
from tests.faults.processes import Senders, arrived, books, idle, otlp_to, tracead, until
from tests.peers.independent import GrpcSink, spans_of
from tests.peers.stage import Stage
from tools.peers.backend import EXPORT

pytestmark = pytest.mark.peers
MIB = 1 << 20
Record = Callable[[str, object], None]


class Sampled:
    """The resident memory of a process, again and again.

    Attributes:
        highest: in MiB.
    """

    def __init__(self, pid: int) -> None:
        self.highest = 0.0
        self._process = psutil.Process(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        with suppress(psutil.Error):
            while not self._over.wait(0.02):
                self.highest = max(self.highest, self._process.memory_info().rss / MIB)


def told_over_grpc(target: str, body: bytes) -> tuple[str, float | None]:
    with grpc.insecure_channel(target, options=[("grpc.enable_retries", 0)]) as channel:
        try:
            channel.unary_unary(EXPORT)(body, timeout=10)
        except grpc.RpcError as error:
            call: Any = error
            status = RpcStatus.decode(dict(call.trailing_metadata()).get("grpc-status-details-bin", b""))
            return call.code().name, None if status is None else status.retry_after
    return "OK", None


def told_over_http(url: str, body: bytes) -> tuple[int, str | None]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.request("POST", "/v1/traces", body, {"Content-Type": "application/x-protobuf"})
    answer = connection.getresponse()
    connection.close()
    return answer.status, answer.getheader("Retry-After")


def test_memory_stays_under_its_limit_while_the_backend_is_away(
    tiny_artifact: Path, tmp_path: Path, record_property: Record
) -> None:
    with GrpcSink() as sink, Line(sink.target) as line:
        line.refuses = True
        alone = {"queue_size": 1_000_000, "sizer": "items"}
        with Stage(tmp_path, otlp_to(line.endpoint), tracead(tiny_artifact), name="alone") as stage:
            resting = psutil.Process(stage.pid).memory_info().rss // MIB
        limit = resting + 220
        # The spike: what comes within an interval, what is being judged, and ten requests of 2 MiB on their way out, three times.
        limiter = {"memory_limiter": {"check_interval": "100ms", "limit_mib": limit, "spike_limit_mib": 100}}
        out = otlp_to(line.endpoint, sending_queue=alone)
        with Stage(tmp_path, out, limiter | tracead(tiny_artifact)) as stage, Sampled(stage.pid) as memory:
            with Senders(stage.grpc, threads=6, spans=20, size=20_000, pause=0.0) as senders:
                until(lambda: senders.refused["UNAVAILABLE"] > 200)
                small = request(10**6)
                # Now and then there is room again; whoever is refused is told when to come back.
                until(lambda: told_over_grpc(stage.grpc, small) == ("UNAVAILABLE", 1.0))
                until(lambda: told_over_http(stage.http, small) == (503, "1"))
                found = books(stage)
                assert found.total("otelcol_processor_memory_limiter_refused_spans") > 1000
                assert found.refused >= 20 * 200
                found.check("otlp_grpc")
                time.sleep(3)
                assert set(senders.refused) == {"UNAVAILABLE"}
                line.restore()
            until(lambda: not senders.taken - arrived(sink), 60)
            until(lambda: books(stage).queued("otlp_grpc") == 0)
            books(stage).check("otlp_grpc")
            stage.drain()
        record_property("memory", f"resting {resting} MiB, limit {limit}, highest {memory.highest:.0f}")
        assert memory.highest < limit


class Timed(GrpcSink):
    """A backend that knows when each request came."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def _export(self, body: bytes, context: object) -> bytes:
        self.times.append(time.monotonic())
        return super()._export(body, context)


def parts(spans: int, each: int) -> list[bytes]:
    """One trace of so many spans, in requests of *each*."""
    found = []
    for first in range(0, spans, each):
        message = ExportTraceServiceRequest()
        outer = message.resource_spans.add()
        outer.resource.attributes.add(key="service.name").value.string_value = "giant"
        scope = outer.scope_spans.add()
        for number in range(first, first + each):
            scope.spans.add(
                trace_id=b"giant   " * 2,
                span_id=(number + 1).to_bytes(8, "big"),
                parent_span_id=b"" if number == 0 else (1).to_bytes(8, "big"),
                name="step",
                kind=1,
                start_time_unix_nano=10**18 + number,
                end_time_unix_nano=10**18 + number + 1000,
            )
        found.append(message.SerializeToString())
    return found


def delays(stage: Stage, sink: Timed, first: int, meanwhile: Any) -> list[float]:
    """Send a small trace every 20 ms until *meanwhile* has ended; how long each took to the backend."""
    sent: dict[str, float] = {}
    with grpc.insecure_channel(stage.grpc) as channel:
        export = channel.unary_unary(EXPORT)
        trace = first
        while meanwhile():
            sent[f"{trace}/1"] = time.monotonic()
            export(request(trace), timeout=30)
            trace += 1
            time.sleep(0.02)
    came: dict[str, float] = {}
    until(lambda: idle(stage))
    for body, at in zip(list(sink.bodies), list(sink.times), strict=True):
        for span in spans_of([ExportTraceServiceRequest.FromString(body)]):
            if span.name in sent:
                came.setdefault(span.name, at)
    assert sent.keys() == came.keys()
    return sorted(came[name] - sent[name] for name in sent)


def test_a_trace_of_a_million_spans_starves_no_other(
    tiny_artifact: Path, tmp_path: Path, record_property: Record
) -> None:
    giant = parts(1_000_000, 20_000)
    with Timed() as sink, Stage(tmp_path, otlp_to(sink.target, timeout="10s"), tracead(tiny_artifact)) as stage:
        over = time.monotonic() + 3
        usual = delays(stage, sink, 0, lambda: time.monotonic() < over)
        before = psutil.Process(stage.pid).memory_info().rss / MIB

        def send() -> None:
            with grpc.insecure_channel(stage.grpc) as channel:
                export = channel.unary_unary(EXPORT)
                for body in giant:
                    while True:
                        try:
                            export(body, timeout=30)
                            break
                        except grpc.RpcError as error:
                            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                                raise
                            time.sleep(0.05)

        sender = threading.Thread(target=send, daemon=True)
        started = time.monotonic()
        with Sampled(stage.pid) as memory:
            sender.start()
            beside = delays(stage, sink, 100_000, sender.is_alive)
        took = time.monotonic() - started
        found = books(stage)
        assert found.accepted == 1_000_000 + 3 * (len(usual) + len(beside))
        assert found.sent("otlp_grpc") == found.accepted
        found.check("otlp_grpc")
        assert found.total("otelcol_processor_tracead_traces_released", release="limit") == 1
        assert found.total("otelcol_processor_tracead_spans_late") == 1_000_000 - 10_000
        stage.drain()
    for name, some in (("usual", usual), ("beside", beside)):
        middle = some[len(some) // 2]
        record_property(name, f"{len(some)} traces, median {middle:.3f} s, longest {some[-1]:.3f} s")
    record_property("giant", f"a million spans in {took:.1f} s, memory {before:.0f} -> {memory.highest:.0f} MiB")
    # Seconds, not the time that the giant takes; a busy machine is no fault of the stage.
    assert beside[len(beside) // 2] < 2 * usual[len(usual) // 2] + 1.0
    assert beside[-1] < 2 * usual[-1] + 3.0
    assert memory.highest < before + 300
