"""Zipkin v2 JSON to and from `SpanBatch`.

A span that came from Zipkin keeps its JSON object beside the translation and leaves to Zipkin as that object,
with our attributes as tags; translated there and back it would lose `shared`, its times and its ids' form.
Sources: openzipkin/zipkin-api, zipkin2-api.yaml; the two translations name theirs.
"""

from typing import Any

import orjson
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_tracead.errors import InvalidRequest
from otel_tracead.wire import _writer
from otel_tracead.wire import _zipkin_reader as reader
from otel_tracead.wire import _zipkin_writer as writer
from otel_tracead.wire._json_reader import Broken, describe
from otel_tracead.wire.attributes import OWN_PREFIX, compact_json
from otel_tracead.wire.batch import Envelope, SpanBatch, TranslatedSpan
from otel_tracead.wire.otlp import Envelopes, text

_V1 = "Expected a JSON_V2 encoded list, but received: JSON_V1; post it to /api/v1/spans of a server that knows v1"
_UNKNOWN_SERVICE = "unknown_service"


def decode_spans(body: bytes, envelopes: Envelopes) -> SpanBatch:
    """Decode a JSON list of Zipkin v2 spans; each becomes a `TranslatedSpan`.

    Raises:
        InvalidRequest: no valid JSON list of v2 spans; says which span and key.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"not valid JSON: {error}") from error
    if type(document) is not list:
        raise InvalidRequest(f"expected a JSON list of Zipkin v2 spans, not {describe(document)}")
    known: dict[reader.EnvelopeKey, list[bytes]] = {}
    for index, span in enumerate(document):
        if _is_v1(span):
            raise InvalidRequest(f"[{index}]: {_V1}")
        try:
            key, encoded = reader.read_span(span)
        except Broken as broken:
            broken.path.append(index)
            raise InvalidRequest(f"not a valid Zipkin v2 span: {broken}") from broken
        known.setdefault(key, []).append(TranslatedSpan(encoded, compact_json(span)))
    return SpanBatch([(_envelope(key, envelopes), spans) for key, spans in known.items()])


def encode_spans(batch: SpanBatch, default_service_name: str = _UNKNOWN_SERVICE) -> bytes:
    """Encode *batch* as a JSON list of Zipkin v2 spans.

    Args:
        batch: a `TranslatedSpan` gives back its origin with our attributes as tags; others are translated.
        default_service_name: for spans whose resource names no service.
    """
    parts: list[bytes] = []
    for envelope, spans in batch.groups:
        shared: tuple[str, dict[str, str]] | None = None
        for span in spans:
            if isinstance(span, TranslatedSpan):
                parts.append(_tagged_origin(span))
                continue
            shared = shared or writer.shared_part(envelope, default_service_name)
            parts.append(orjson.dumps(writer.write_span(span, *shared)))
    return b"[" + b",".join(parts) + b"]"


def _is_v1(span: Any) -> bool:
    if type(span) is not dict:
        return False
    if "binaryAnnotations" in span:
        return True
    annotations = span.get("annotations")
    if type(annotations) is not list or not {"localEndpoint", "remoteEndpoint", "tags"}.isdisjoint(span):
        return False
    return any(type(annotation) is dict and "endpoint" in annotation for annotation in annotations)


def _envelope(key: reader.EnvelopeKey, envelopes: Envelopes) -> Envelope:
    attributes, name, version = key
    resource = b"".join(_writer.string_attribute(b"\x0a", tag, value) for tag, value in attributes)
    scope = b"".join(
        _writer.delimited(tag, value.encode()) for tag, value in ((b"\x0a", name), (b"\x12", version)) if value
    )
    return envelopes.intern(
        _writer.delimited(b"\x0a", resource) if resource else b"", _writer.delimited(b"\x0a", scope) if scope else b""
    )


def _tagged_origin(span: TranslatedSpan) -> bytes:
    if span.find(OWN_PREFIX) < 0:
        return span.origin
    prefix = OWN_PREFIX.decode()
    attributes = Span.FromString(span).attributes
    own = {attribute.key: text(attribute.value) for attribute in attributes if attribute.key.startswith(prefix)}
    if not own:
        return span.origin
    origin = orjson.loads(span.origin)
    origin["tags"] = {**(origin.get("tags") or {}), **own}
    return orjson.dumps(origin)
