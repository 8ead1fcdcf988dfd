"""The OpenTelemetry SDK's own exporters, as an application uses them."""

import asyncio

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_tracead.component import Kind, Settings
from otel_tracead.receivers.otlp import FACTORY, OtlpReceiverConfig
from otel_tracead.testing import RecordingConsumer


def trace_a_little(exporter) -> None:
    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("test", "1.0")
    for _ in range(10):
        with tracer.start_as_current_span("checkout", attributes={"items": 3}), tracer.start_as_current_span("pay"):
            pass
    assert provider.force_flush()
    provider.shutdown()


@pytest.mark.parametrize("protocol", ["grpc", "http", "http+gzip"])
async def test_spans_of_the_sdk_arrive(protocol: str) -> None:
    consumer = RecordingConsumer()
    config = {"protocols": {"grpc": {"endpoint": "localhost:0"}, "http": {"endpoint": "localhost:0"}}}
    settings = Settings(id="otlp", kind=Kind.RECEIVER)
    receiver = FACTORY.build(OtlpReceiverConfig.model_validate(config), settings, consumer)
    await receiver.start()
    url = f"http://localhost:{receiver.ports['http']}/v1/traces"
    exporter = {
        "grpc": lambda: GrpcExporter(endpoint=f"localhost:{receiver.ports['grpc']}", insecure=True),
        "http": lambda: HttpExporter(endpoint=url),
        "http+gzip": lambda: HttpExporter(endpoint=url, compression=Compression.Gzip),
    }[protocol]()
    await asyncio.to_thread(trace_a_little, exporter)
    await receiver.shutdown()
    spans = [Span.FromString(span) for span in consumer.spans]
    assert sorted(span.name for span in spans) == ["checkout"] * 10 + ["pay"] * 10
    assert {envelope.service for batch in consumer.batches for envelope, _ in batch} == {"shop"}
