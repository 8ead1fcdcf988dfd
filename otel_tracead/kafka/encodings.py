"""How spans stand in a record's value: the Collector's encodings that are here, by name."""

from collections.abc import Callable, Mapping
from typing import Final

from otel_tracead.kafka.client import Encoding
from otel_tracead.wire import otlp, otlp_json, zipkin
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.otlp import Envelopes

DECODERS: Final[Mapping[Encoding, Callable[[bytes, Envelopes], SpanBatch]]] = {
    "otlp_proto": otlp.decode_request,
    "otlp_json": otlp_json.decode_request,
    "zipkin_json": zipkin.decode_spans,
    "zipkin_proto": zipkin.decode_protobuf,
}
"""Each raises `InvalidRequest` for a value that is not what it says."""

ENCODERS: Final[Mapping[Encoding, Callable[[SpanBatch], bytes]]] = {
    "otlp_proto": otlp.encode_request,
    "otlp_json": otlp_json.encode_request,
    "zipkin_json": zipkin.encode_spans,
    "zipkin_proto": zipkin.encode_protobuf,
}
