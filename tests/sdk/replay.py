"""Traces of the simulated shop, made again by the real SDK: one tracer provider a service, all with one processor."""

from collections.abc import Iterable, Sequence

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

from otel_tracead.traces.trace import Trace
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.otlp import Envelopes, decode_request
from otel_tracead.wire.values import plain_value

KINDS = {2: SpanKind.SERVER, 3: SpanKind.CLIENT, 4: SpanKind.PRODUCER, 5: SpanKind.CONSUMER}


class Application:
    """Services that share one processor."""

    def __init__(self, processor: SpanProcessor) -> None:
        self.processor = processor
        self.providers: dict[tuple[str, str], TracerProvider] = {}

    def provider(self, service: str, instance: str = "") -> TracerProvider:
        key = (service, instance)
        if key not in self.providers:
            resource = Resource({"service.name": service} | ({"service.instance.id": instance} if instance else {}))
            self.providers[key] = TracerProvider(resource=resource, shutdown_on_exit=False)
            self.providers[key].add_span_processor(self.processor)
        return self.providers[key]

    def play(self, traces: Iterable[Trace]) -> int:
        spans = 0
        for trace in traces:
            spans += len(trace.spans)
            self._trace(trace)
        return spans

    def _trace(self, trace: Trace) -> None:
        parsed = [ProtoSpan.FromString(span) for span in trace.spans]
        envelopes = {span.span_id: envelope for span, envelope in zip(parsed, trace.envelopes, strict=True)}
        children: dict[bytes, list[ProtoSpan]] = {}
        for span in parsed:
            parent = span.parent_span_id if span.parent_span_id in envelopes else b""
            children.setdefault(parent, []).append(span)

        def start(span: ProtoSpan, context) -> None:
            envelope = envelopes[span.span_id]
            tracer = self.provider(envelope.service, envelope.instance).get_tracer("replay")
            made = tracer.start_span(
                span.name,
                context,
                KINDS.get(span.kind, SpanKind.INTERNAL),
                attributes={pair.key: plain_value(pair.value) for pair in span.attributes},
                start_time=span.start_time_unix_nano,
            )
            if span.status.code == 2:
                made.set_status(Status(StatusCode.ERROR, span.status.message))
            for child in children.get(span.span_id, ()):
                start(child, set_span_in_context(made))
            made.end(span.end_time_unix_nano)

        for root in children[b""]:
            start(root, None)


def as_batch(spans: Sequence[ReadableSpan]) -> SpanBatch:
    """Give what the SDK's own OTLP exporter would send."""
    return decode_request(encode_spans(spans).SerializeToString(), Envelopes())


def own(span: ReadableSpan) -> dict[str, object]:
    return {key: value for key, value in span.attributes.items() if key.startswith("tracead.")}
