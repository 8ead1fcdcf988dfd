"""Encoded spans for tests that do not care what is in them."""

import random

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_tracead.wire.batch import Envelope, SpanBatch, group

ENVELOPES = tuple(Envelope(b"", b"", {"service.name": name}) for name in ("frontend", "cart", "payment"))


def trace_id(number: int) -> bytes:
    return random.Random(number).randbytes(16)


def span_id(number: int) -> bytes:
    return number.to_bytes(8, "big")


def encoded(trace: int | bytes, number: int, parent: int | bytes = b"", **fields: object) -> bytes:
    return Span(
        trace_id=trace if isinstance(trace, bytes) else trace_id(trace),
        span_id=span_id(number),
        parent_span_id=parent if isinstance(parent, bytes) else span_id(parent),
        **{"name": f"operation {number}", "start_time_unix_nano": 1000 + number, "end_time_unix_nano": 2000 + number}
        | fields,
    ).SerializeToString()


def batch(*spans: bytes) -> SpanBatch:
    return group((ENVELOPES[index % 3] for index in range(len(spans))), spans)
