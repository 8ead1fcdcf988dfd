"""Senders that never try again, and a stage whose configuration changes under them."""

import http.client
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

import grpc
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_tracead.service.uris import merge
from tests.peers.independent import own, spans_of
from tests.peers.stage import Stage

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_NO_RETRIES = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]


class Sender(Protocol):
    """Sends one span (trace id, number of the span) and gives what went wrong, or None."""

    def __call__(self, trace_id: bytes, number: int) -> str | None: ...

    def close(self) -> None: ...


def otlp(trace_id: bytes, number: int) -> bytes:
    now = time.time_ns()
    request = ExportTraceServiceRequest()
    outer = request.resource_spans.add()
    outer.resource.attributes.add(key="service.name").value.string_value = "shop"
    outer.scope_spans.add().spans.add(
        trace_id=trace_id,
        span_id=number.to_bytes(8, "big"),
        parent_span_id=b"" if number == 1 else (1).to_bytes(8, "big"),
        name="work",
        kind=2,
        start_time_unix_nano=now,
        end_time_unix_nano=now + 10**6,
    )
    return request.SerializeToString()


def zipkin(trace_id: bytes, number: int) -> bytes:
    span = {
        "traceId": trace_id.hex(),
        "id": f"{number:016x}",
        "name": "work",
        "kind": "SERVER",
        "timestamp": time.time_ns() // 1000,
        "duration": 1000,
        "localEndpoint": {"serviceName": "shop"},
    }
    return json.dumps([span if number == 1 else {**span, "parentId": f"{1:016x}"}]).encode()


class GrpcSender:
    """One channel for good."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.insecure_channel(target, options=_NO_RETRIES)
        self._export = self._channel.unary_unary(EXPORT)

    def __call__(self, trace_id: bytes, number: int) -> str | None:
        try:
            self._export(otlp(trace_id, number), timeout=20)
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
        return None

    def close(self) -> None:
        self._channel.close()


class HttpSender:
    """One connection for as long as the server keeps it, or a new one for each request."""

    def __init__(
        self, url: str, path: str, body: Callable[[bytes, int], bytes], content_type: str, *, keep: bool
    ) -> None:
        self._netloc = url.removeprefix("http://")
        self._path, self._body, self._keep = path, body, keep
        self._headers = {"Content-Type": content_type}
        self._connection = http.client.HTTPConnection(self._netloc, timeout=20)

    def __call__(self, trace_id: bytes, number: int) -> str | None:
        if not self._keep:
            self._connection.close()
        try:
            self._connection.request("POST", self._path, self._body(trace_id, number), self._headers)
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            return repr(error)
        return None if answer.status in {200, 202} else f"{answer.status} {text[:200]!r}"

    def close(self) -> None:
        self._connection.close()


@dataclass
class Load:
    """Threads that send traces of three spans, each some time after the one before.

    Attributes:
        accepted: (trace id, span id) of every span that was taken.
        failures: what went wrong, by sender.
    """

    senders: Mapping[str, Sender]
    gap: float
    accepted: set[tuple[bytes, bytes]] = field(default_factory=set)
    failures: Counter[str] = field(default_factory=Counter)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        for name, send in self.senders.items():
            thread = threading.Thread(target=self._run, args=(name, send), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for sender in self.senders.values():
            sender.close()

    def _run(self, name: str, send: Sender) -> None:
        chance = random.Random(name)
        due: list[tuple[float, bytes, int]] = []
        while not self._stop.is_set() or due:
            now = time.monotonic()
            if not self._stop.is_set() and (not due or due[0][0] > now):  # or it would fall behind, and spans come late
                due.append((now, os.urandom(16), 1))
            while due and due[0][0] <= now:
                _, trace_id, number = due.pop(0)
                failure = send(trace_id, number)
                if failure is None:
                    self.accepted.add((trace_id, number.to_bytes(8, "big")))
                else:
                    self.failures[f"{name}: {failure}"] += 1
                if number < 3:
                    due.append((now + self.gap * (0.5 + chance.random()), trace_id, number + 1))
            due.sort()
            time.sleep(0.01)


class Changing:
    """A stage, its configuration file, and its reloads."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self._stage = stage
        self._file = folder / "stage.yaml"
        self._tree = yaml.safe_load(self._file.read_text())
        self._first = self._tree

    def reload(self, over: dict[str, Any], *, good: bool = True) -> None:
        """Merge *over* into the first configuration, send SIGHUP, and wait for what the log says."""
        message = "everything is ready" if good else "the old one keeps running"
        before = self._stage.log.read_text().count(message)
        self._file.write_text(yaml.safe_dump(merge(self._first, over), sort_keys=False))
        self._stage.signal(signal.SIGHUP)
        deadline = time.monotonic() + 30
        while self._stage.log.read_text().count(message) == before:
            assert time.monotonic() < deadline, self._stage.tail()
            time.sleep(0.02)


def assert_nothing_lost(load: Load, requests: list[ExportTraceServiceRequest]) -> None:
    """Every span that was taken came out once; every trace has one verdict, of all its spans, and none was hurried."""
    assert_taken_once(load, requests)
    spans = list(spans_of(requests))
    verdicts = Counter(span.trace_id for span in spans if "tracead.trace.anomalous" in own(span))
    assert verdicts == Counter({trace_id for trace_id, _ in load.accepted})
    assert [span.span_id for span in spans if "tracead.late" in own(span)] == []
    assert Counter(
        own(span).get("tracead.trace.complete") for span in spans if "tracead.trace.complete" in own(span)
    ) == {True: len(verdicts)}


def assert_taken_once(load: Load, requests: list[ExportTraceServiceRequest]) -> None:
    """Every span that was taken came out once, and no other."""
    assert Counter((span.trace_id, span.span_id) for span in spans_of(requests)) == Counter(load.accepted)
