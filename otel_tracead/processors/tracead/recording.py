"""Keeps labels and times of the traffic in a folder, for `otel-tracead train --input`.

What is kept of a span is its ids, name, kind, times, status code and the attributes in `KEPT_ATTRIBUTES`; of its
resource what is in `KEPT_RESOURCE`. Nothing here blocks or fails the pipeline: what cannot be written is counted.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from otel_tracead.component import Settings
from otel_tracead.errors import InputError
from otel_tracead.log_limit import LogLimiter
from otel_tracead.metrics import TRACES_NOT_RECORDED
from otel_tracead.traces.trace import Trace
from otel_tracead.wire._shallow import SpanHead
from otel_tracead.wire.batch import Envelope, SpanBatch, concatenate, group
from otel_tracead.wire.file_writer import TraceFileWriter

KEPT_ATTRIBUTES: Final = frozenset(
    {
        b"db.operation",
        b"db.operation.name",
        b"db.system",
        b"db.system.name",
        b"http.method",
        b"http.request.method",
        b"http.response.status_code",
        b"http.route",
        b"http.status_code",
        b"messaging.destination.name",
        b"messaging.operation",
        b"messaging.operation.name",
        b"messaging.system",
        b"peer.service",
        b"rpc.grpc.status_code",
        b"rpc.method",
        b"rpc.response.status_code",
        b"rpc.service",
        b"rpc.system",
    }
)
KEPT_RESOURCE: Final = (
    "service.name",
    "service.namespace",
    "service.version",
    "service.instance.id",
    "k8s.pod.name",
    "host.name",
    "host.ip",
    "deployment.environment",
    "deployment.environment.name",
)
_PATTERN: Final = "traces-*.pb.zst*"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordBounds:
    """How much is kept, and where.

    Attributes:
        waiting_spans: of traces that wait to be written; over it traces are not recorded.
        message_spans: written together.
        file_bytes: before compression, after which a new file begins.
        file_seconds: after which a new file begins; a file gets its name when it is whole.
        total_bytes: of all files together; over it the oldest is deleted.
    """

    waiting_spans: int = 50_000
    message_spans: int = 1024
    file_bytes: int = 64 * 1024 * 1024
    file_seconds: float = 300.0
    total_bytes: int = 1024 * 1024 * 1024


class Recorder:
    """Writes reduced traces to files in *folder*, in a thread of its own."""

    def __init__(self, folder: Path, settings: Settings, bounds: RecordBounds | None = None) -> None:
        self._folder = folder
        self._bounds = bounds or RecordBounds()
        self._not_recorded = settings.telemetry.counter(TRACES_NOT_RECORDED, settings.id)
        self._log = LogLimiter(settings.logger)
        self._traces: SimpleQueue[Trace | None] = SimpleQueue()
        self._offered = self._done = 0  # each written by one thread only
        self._thread = threading.Thread(target=self._run, name=f"record {settings.id}", daemon=True)
        self._thread.start()

    def offer(self, trace: Trace) -> None:
        """Have *trace* recorded, unless too many wait; never blocks."""
        if self._offered - self._done >= self._bounds.waiting_spans:
            self._not_recorded.add()
            self._log.warning("traces come faster than they can be recorded", folder=str(self._folder))
            return
        self._offered += len(trace.spans)
        self._traces.put(trace)

    def close(self, timeout: float = 5.0) -> None:
        """Write what waits and finish the file; gives up after *timeout* seconds."""
        self._traces.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        files = _Files(self._folder, self._bounds)
        reduce = Reducer()
        waiting: list[Trace] = []
        going_on = True
        while going_on:
            try:
                trace = self._traces.get(timeout=1.0)
                going_on = trace is not None
            except Empty:
                trace = None
            if trace is not None:
                waiting.append(trace)
            spans = sum(len(one.spans) for one in waiting)
            if trace is not None and spans < self._bounds.message_spans:
                continue
            try:
                if waiting:
                    files.write(concatenate(map(reduce, waiting)))
                files.rotate(now=not going_on)
            except Exception as error:  # noqa: BLE001 (recording is never worth a span)
                self._not_recorded.add(len(waiting))
                self._log.warning("traffic could not be recorded", folder=str(self._folder), error=str(error))
            waiting.clear()
            self._done += spans


class Reducer:
    """Reduces traces to what their labels and times need."""

    def __init__(self) -> None:
        self._envelopes: dict[Envelope, Envelope] = {}

    def __call__(self, trace: Trace) -> SpanBatch:
        """Give the reduced spans of *trace* in reduced envelopes."""
        return group(map(self._envelope, trace.envelopes), map(reduced_span, trace.spans))

    def _envelope(self, envelope: Envelope) -> Envelope:
        found = self._envelopes.get(envelope)
        if found is None:
            if len(self._envelopes) >= 10_000:
                self._envelopes.clear()
            kept = {key: envelope.attributes[key] for key in KEPT_RESOURCE if key in envelope.attributes}
            pairs = [KeyValue(key=key, value=AnyValue(string_value=text)) for key, text in kept.items()]
            resource = ResourceSpans(resource=Resource(attributes=pairs)).SerializeToString()
            found = self._envelopes[envelope] = Envelope(resource, b"", kept)
        return found


def reduced_span(span: bytes) -> bytes:
    """Give an encoded span with no more than its label and its times need."""
    head = SpanHead.FromString(span)
    head.DiscardUnknownFields()
    kept = [attribute for attribute in head.attributes if _key(attribute) in KEPT_ATTRIBUTES]
    head.ClearField("attributes")
    head.attributes.extend(kept)
    return head.SerializeToString()


def _key(attribute: bytes) -> bytes:
    if len(attribute) > 1 and attribute[0] == 0x0A and attribute[1] < 0x80:  # field 1, as every encoder begins
        return attribute[2 : 2 + attribute[1]]
    return KeyValue.FromString(attribute).key.encode()


class _Files:
    """The files of a folder: one is written, old ones are deleted."""

    def __init__(self, folder: Path, bounds: RecordBounds, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._bounds = bounds
        self._clock = clock
        self._writer: TraceFileWriter | None = None
        self._opened = 0.0
        self._bytes = 0
        self._number = 0

    def write(self, batch: SpanBatch) -> None:
        if self._writer is None:
            self._folder.mkdir(0o750, parents=True, exist_ok=True)
            self._number += 1
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
            self._writer = TraceFileWriter(self._folder / f"traces-{stamp}-{self._number:06d}.pb.zst")
            self._opened, self._bytes = self._clock(), 0
        try:
            self._writer.write(batch)
        except InputError:
            self._writer = None
            raise
        self._bytes += batch.size()

    def rotate(self, *, now: bool) -> None:
        """Finish the file if it is large or old, or *now*."""
        if self._writer is None:
            return
        old = self._clock() - self._opened >= self._bounds.file_seconds
        if not (now or old or self._bytes >= self._bounds.file_bytes):
            return
        writer, self._writer = self._writer, None
        writer.close()
        self._delete_oldest()

    def _delete_oldest(self) -> None:
        files = sorted(self._folder.glob(_PATTERN), key=lambda path: path.name)
        sizes = {path: path.stat().st_size for path in files}
        total = sum(sizes.values())
        for path in files[:-1]:
            if total <= self._bounds.total_bytes:
                return
            with suppress(OSError):
                path.unlink()
            total -= sizes[path]
