"""Batches in words; pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from otel_tracead.wire._shallow import SpanHead
from otel_tracead.wire.batch import Envelope, SpanBatch
from otel_tracead.wire.values import text


def _marker(key: str) -> bytes:
    return KeyValue(key=key, value=AnyValue(bool_value=True)).SerializeToString()


_ANOMALOUS_SPAN: Final = _marker("tracead.anomaly.detected")
_ANOMALOUS_TRACE: Final = _marker("tracead.trace.anomalous")


@dataclass(frozen=True, slots=True)
class Counts:
    """What is in a batch, as far as our attributes say.

    Attributes:
        spans: all of them.
        anomalous_spans: those that are marked.
        anomalous_traces: those whose verdict says so.
    """

    spans: int
    anomalous_spans: int
    anomalous_traces: int

    def __add__(self, other: "Counts") -> "Counts":
        """Sum up."""
        return Counts(
            self.spans + other.spans,
            self.anomalous_spans + other.anomalous_spans,
            self.anomalous_traces + other.anomalous_traces,
        )


def count(batch: SpanBatch) -> Counts:
    """Count what is in *batch*; nothing is parsed."""
    spans = [span for _, spans in batch.groups for span in spans]
    return Counts(
        len(spans),
        sum(_ANOMALOUS_SPAN in span for span in spans),
        sum(_ANOMALOUS_TRACE in span for span in spans),
    )


def traces(batch: SpanBatch) -> int:
    """Count the different trace ids in *batch*."""
    return len({SpanHead.FromString(span).trace_id for _, span in batch})


def lines(batch: SpanBatch) -> Iterator[str]:
    """Give one line a span, as the Collector's `normal`: name, ids, attributes."""
    for _, encoded in batch:
        span = Span.FromString(encoded)
        attributes = " ".join(f"{printable(pair.key)}={printable(text(pair.value))}" for pair in span.attributes)
        yield f"{printable(span.name)} {span.trace_id.hex()} {span.span_id.hex()} {attributes}".rstrip()


def blocks(batch: SpanBatch) -> Iterator[str]:
    """Give every span in full, as the Collector's `detailed`."""
    for envelope, spans in batch.groups:
        yield _envelope(envelope)
        for index, encoded in enumerate(spans):
            yield _span(index, Span.FromString(encoded))


def printable(value: str) -> str:
    """Give *value* so that nothing in it can move a terminal's cursor."""
    return value if value.isprintable() else value.encode("unicode_escape").decode()


def _envelope(envelope: Envelope) -> str:
    pairs = (f"     -> {printable(key)}: {printable(value)}" for key, value in envelope.attributes.items())
    return "\n".join(("Resource attributes:", *pairs))


def _span(index: int, span: Any) -> str:
    rows = [
        f"Span #{index}",
        f"    Trace ID       : {span.trace_id.hex()}",
        f"    Parent ID      : {span.parent_span_id.hex()}",
        f"    ID             : {span.span_id.hex()}",
        f"    Name           : {printable(span.name)}",
        f"    Kind           : {_name(Span.SpanKind, span.kind)}",
        f"    Start time     : {span.start_time_unix_nano}",
        f"    End time       : {span.end_time_unix_nano}",
        f"    Status code    : {_name(Status.StatusCode, span.status.code)}",
        f"    Status message : {printable(span.status.message)}",
    ]
    if span.attributes:
        rows += ["Attributes:", *_pairs(span.attributes)]
    for number, event in enumerate(span.events):
        rows += [f"Event #{number}: {printable(event.name)} at {event.time_unix_nano}", *_pairs(event.attributes)]
    for number, link in enumerate(span.links):
        rows += [f"Link #{number}: {link.trace_id.hex()} {link.span_id.hex()}", *_pairs(link.attributes)]
    return "\n".join(rows)


def _pairs(attributes: Any) -> list[str]:
    return [f"     -> {printable(pair.key)}: {printable(text(pair.value))}" for pair in attributes]


def _name(enum: Any, value: int) -> str:
    return str(enum.Name(value)) if value in enum.values() else str(value)
