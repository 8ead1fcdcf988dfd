"""What must hold of every batch that any decoder of ours has taken, with protobuf's own parser as the reference."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from fuzz.target import Finding
from otel_tracead.errors import InvalidRequest
from otel_tracead.wire import otlp, otlp_json, zipkin
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.otlp import Envelopes

_Parts = Counter[tuple[bytes, bytes, bytes]]


def holds(found: object, wanted: object, what: str) -> None:
    """Raise a `Finding` where *found* is not what was *wanted*."""
    if found != wanted:
        if isinstance(found, Counter) and isinstance(wanted, Counter):  # what they have in common says nothing
            found, wanted = found - wanted, wanted - found
        raise Finding(f"{what}:\n  {found!r:.2000}\nis not\n  {wanted!r:.2000}")


def groups(batch: SpanBatch) -> list[tuple[bytes, bytes, list[bytes]]]:
    """Give a batch as plain data, one group an envelope."""
    found: dict[tuple[bytes, bytes], list[bytes]] = {}
    for envelope, spans in batch.groups:
        found.setdefault((envelope.resource, envelope.scope), []).extend(spans)
    return [(*key, spans) for key, spans in found.items()]


def _each(batch: SpanBatch) -> _Parts:
    return Counter((envelope.resource, envelope.scope, bytes(span)) for envelope, span in batch)


def parts(body: bytes) -> _Parts:
    """Give the spans of a request with what they stand under, as protobuf's own parser prints them."""
    found: _Parts = Counter()
    for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
        scopes = list(resource_spans.scope_spans)
        resource_spans.ClearField("scope_spans")
        resource = resource_spans.SerializeToString(deterministic=True)
        for scope_spans in scopes:
            spans = list(scope_spans.spans)
            scope_spans.ClearField("spans")
            scope = scope_spans.SerializeToString(deterministic=True)
            found.update((resource, scope, span.SerializeToString(deterministic=True)) for span in spans)
    return found


def leaves(batch: SpanBatch) -> bytes:
    """See that what goes on over OTLP can be read there, and by us, as what came; give it."""
    body = otlp.encode_request(batch)
    ExportTraceServiceRequest.FromString(body)
    holds(_each(otlp.decode_request(body, Envelopes())), _each(batch), "what we read of what we send")
    return body


def leaves_as_json(batch: SpanBatch) -> None:
    """See that what goes on as OTLP/JSON says the same, but for fields that JSON cannot name."""
    try:
        again = otlp_json.decode_request(otlp_json.encode_request(batch), Envelopes())
    except InvalidRequest as error:
        if "nested deeper" in str(error):  # JSON may nest less deep than protobuf
            return
        raise
    holds(Counter(_known(again)), Counter(_known(batch)), "OTLP/JSON says something else")


def _known(batch: SpanBatch) -> Iterator[bytes]:
    for _, encoded in batch:
        span = Span.FromString(encoded)
        span.DiscardUnknownFields()
        _as_json_says(span.attributes)
        for event in span.events:
            _as_json_says(event.attributes)
        for link in span.links:
            _as_json_says(link.attributes)
        yield span.SerializeToString(deterministic=True)


def _as_json_says(pairs: Iterable[KeyValue]) -> None:
    """Take out what JSON has no words for.

    That is which of the many NaN one is, and places in a table of strings, which are for profiles only (common.proto).
    """
    values = [pair.value for pair in pairs if pair.HasField("value")]
    for pair in pairs:
        pair.ClearField("key_strindex")
    while values:
        value = values.pop()
        kind = value.WhichOneof("value")
        if kind == "string_value_strindex":
            value.ClearField("string_value_strindex")
        elif kind == "double_value" and value.double_value != value.double_value:
            value.double_value = math.nan
        elif kind == "array_value":
            values += value.array_value.values
        elif kind == "kvlist_value":
            for pair in value.kvlist_value.values:
                pair.ClearField("key_strindex")
                if pair.HasField("value"):
                    values.append(pair.value)


def leaves_to_zipkin(batch: SpanBatch) -> None:
    """See that a Zipkin server would take what goes on to it: all of it, and as JSON and protobuf alike."""
    again = zipkin.decode_spans(zipkin.encode_spans(batch), Envelopes())
    holds(len(again), len(batch), "spans on the way to Zipkin")
    holds(len(zipkin.decode_protobuf(zipkin.encode_protobuf(batch), Envelopes())), len(batch), "spans to Zipkin")
