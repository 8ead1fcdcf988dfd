"""How spans stand in a record's value: the Collector's encodings that are here, by name."""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from otel_tracead.kafka.client import Encoding
from otel_tracead.wire import otlp, otlp_json, zipkin
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.otlp import Envelopes


class Decode(Protocol):
    """Makes spans of a record's value."""

    def __call__(self, value: bytes, envelopes: Envelopes, /, *, originals: bool) -> SpanBatch:
        """Decode a value; with *originals*, spans of other forms than OTLP keep that form.

        Raises:
            InvalidRequest: it is not what it says.
        """


def _otlp(decode: Callable[[bytes, Envelopes], SpanBatch]) -> Decode:
    def as_it_came(value: bytes, envelopes: Envelopes, *, originals: bool) -> SpanBatch:
        del originals
        return decode(value, envelopes)

    return as_it_came


DECODERS: Final[Mapping[Encoding, Decode]] = {
    "otlp_proto": _otlp(otlp.decode_request),
    "otlp_json": _otlp(otlp_json.decode_request),
    "zipkin_json": zipkin.decode_spans,
    "zipkin_proto": zipkin.decode_protobuf,
}

ENCODERS: Final[Mapping[Encoding, Callable[[SpanBatch], bytes]]] = {
    "otlp_proto": otlp.encode_request,
    "otlp_json": otlp_json.encode_request,
    "zipkin_json": zipkin.encode_spans,
    "zipkin_proto": zipkin.encode_protobuf,
}

GIVE_BACK: Final = frozenset[Encoding]({"zipkin_json", "zipkin_proto"})
"""Encodings in which a span that came so goes as it came."""
