"""The name of an encoded span."""

from opentelemetry.proto.trace.v1.trace_pb2 import Span


def name_of(span: bytes) -> str:
    return str(Span.FromString(span).name)
