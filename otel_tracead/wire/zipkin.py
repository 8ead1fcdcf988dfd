"""Zipkin's formats to and from `SpanBatch`: v2 JSON and protobuf both ways, v1 JSON in.

A span that came from Zipkin keeps its JSON object beside the translation and leaves to Zipkin as that object,
with our attributes as tags; translated there and back it would lose `shared`, its times and its ids' form.
Sources: openzipkin/zipkin-api, zipkin2-api.yaml, zipkin-api.yaml (v1) and zipkin.proto; the translations name theirs.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_tracead.errors import InvalidRequest
from otel_tracead.wire import _zipkin_proto, _zipkin_records, _zipkin_text, _zipkin_v1
from otel_tracead.wire import _zipkin_reader as reader
from otel_tracead.wire import _zipkin_writer as writer
from otel_tracead.wire._json_reader import Broken, describe
from otel_tracead.wire.attributes import OWN_PREFIX
from otel_tracead.wire.batch import SpanBatch, TranslatedSpan
from otel_tracead.wire.otlp import Envelopes
from otel_tracead.wire.values import text

_V1 = "Expected a JSON_V2 encoded list, but received: JSON_V1; post it to /api/v1/spans"
_UNKNOWN_SERVICE = "unknown_service"
# A Zipkin server takes a v2 request for v1 where it finds these bytes, be they the end of a tag of any name.
_LOOKS_LIKE_V1, _ESCAPED = b'yAnnotations"', b'\\u0079Annotations"'


def decode_spans(
    body: bytes, envelopes: Envelopes, *, parse_string_tags: bool = False, originals: bool = True
) -> SpanBatch:
    """Decode a JSON list of Zipkin v2 spans.

    Args:
        body: the list.
        envelopes: where envelopes are shared.
        parse_string_tags: whether tags that spell a number or boolean become such attributes.
        originals: whether each becomes a `TranslatedSpan`, for somebody who will give it to Zipkin again; else plain bytes.

    Raises:
        InvalidRequest: no valid JSON list of v2 spans; says which span and key.
    """
    usual = _zipkin_records.read(body, parse_string_tags=parse_string_tags, originals=originals)
    if usual is not None:
        return SpanBatch([(envelopes.intern(*fields), spans) for fields, spans in usual.items()])
    document = _list(body, "v2")
    return _translate(lambda: _zipkin_text.elements(body, document), document, envelopes, parse_string_tags, originals)


def decode_v1_spans(
    body: bytes, envelopes: Envelopes, *, parse_string_tags: bool = False, originals: bool = True
) -> SpanBatch:
    """Decode a JSON list of Zipkin v1 spans: each becomes one or more v2 spans, which is how they will leave to Zipkin.

    Args and Raises: see `decode_spans`.
    """
    document: list[Any] = []
    for index, span in enumerate(_list(body, "v1")):
        with _Refusing("v1", index):
            document += _zipkin_v1.convert(span)
    return _translate(lambda: map(_zipkin_text.compact, document), document, envelopes, parse_string_tags, originals)


def decode_protobuf(
    body: bytes, envelopes: Envelopes, *, parse_string_tags: bool = False, originals: bool = True
) -> SpanBatch:
    """Decode a protobuf `ListOfSpans`; the spans' original form is the JSON object that says the same.

    Args and Raises: see `decode_spans`.
    """
    with _Refusing("v2"):
        document = _zipkin_proto.read_list(body)
    return _translate(lambda: map(_zipkin_text.compact, document), document, envelopes, parse_string_tags, originals)


def encode_spans(batch: SpanBatch, default_service_name: str = _UNKNOWN_SERVICE) -> bytes:
    """Encode *batch* as a JSON list of Zipkin v2 spans.

    Args:
        batch: a `TranslatedSpan` gives back its origin with our attributes as tags; others are translated.
        default_service_name: for spans whose resource names no service.
    """
    parts = [part if type(part) is bytes else orjson.dumps(part) for part in _parts(batch, default_service_name)]
    return (b"[" + b",".join(parts) + b"]").replace(_LOOKS_LIKE_V1, _ESCAPED)


def encode_protobuf(batch: SpanBatch, default_service_name: str = _UNKNOWN_SERVICE) -> bytes:
    """Encode *batch* as a protobuf `ListOfSpans`; see `encode_spans`. Unknown fields of JSON objects are left out."""
    parts = _parts(batch, default_service_name)
    return _zipkin_proto.write_list(orjson.loads(part) if isinstance(part, bytes) else part for part in parts)


class _Refusing:
    """Turns a `Broken` into what the sender is told."""

    def __init__(self, form: str, *steps: int) -> None:
        self._form = form
        self._steps = steps

    def __enter__(self) -> None: ...

    def __exit__(self, _type: object, error: object, _traceback: object) -> None:
        if isinstance(error, Broken):
            error.path.extend(self._steps)
            raise InvalidRequest(f"not a valid Zipkin {self._form} span: {error}") from error


def _list(body: bytes, form: str) -> list[Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"not valid JSON: {error}") from error
    if type(document) is not list:
        raise InvalidRequest(f"expected a JSON list of Zipkin {form} spans, not {describe(document)}")
    return document


def _translate(
    texts: Callable[[], Iterable[bytes]],
    document: list[Any],
    envelopes: Envelopes,
    parse_string_tags: bool,
    originals: bool,
) -> SpanBatch:
    known: dict[reader.EnvelopeKey, list[bytes]] = {}
    with _Refusing("v2"):
        origins = iter(texts())  # of a JSON list all at once, of the others one by one
    for index, span in enumerate(document):
        if _is_v1(span):
            raise InvalidRequest(f"[{index}]: {_V1}")
        try:
            key, encoded, upper = reader.read_span(span, parse_string_tags=parse_string_tags)
        except Broken as broken:
            broken.path.append(index)
            raise InvalidRequest(f"not a valid Zipkin v2 span: {broken}") from broken
        origin = next(origins)  # even where it is not kept: what cannot be printed is refused, whoever stands behind
        if originals:
            encoded = TranslatedSpan(encoded, _zipkin_text.with_lower_ids(origin) if upper else origin)
        known.setdefault(key, []).append(encoded)
    return SpanBatch(
        [(envelopes.intern(*reader.envelope_fields(key)), spans) for key, spans in known.items()],
    )


def _is_v1(span: Any) -> bool:
    if type(span) is not dict:
        return False
    if "binaryAnnotations" in span:
        return True
    annotations = span.get("annotations")
    if type(annotations) is not list or not {"localEndpoint", "remoteEndpoint", "tags"}.isdisjoint(span):
        return False
    return any(type(annotation) is dict and "endpoint" in annotation for annotation in annotations)


def _parts(batch: SpanBatch, default_service_name: str) -> Iterator[bytes | dict[str, Any]]:
    """Walk over spans: those that came from Zipkin as their JSON, others translated."""
    for envelope, spans in batch.groups:
        shared: tuple[str, dict[str, str]] | None = None
        for span in spans:
            if isinstance(span, TranslatedSpan):
                yield _tagged_origin(span)
            else:
                shared = shared or writer.shared_part(envelope, default_service_name)
                yield writer.write_span(span, *shared)


def _tagged_origin(span: TranslatedSpan) -> bytes:
    if span.find(OWN_PREFIX) < 0:
        return span.origin
    prefix = OWN_PREFIX.decode()
    attributes = Span.FromString(span).attributes
    own = {attribute.key: text(attribute.value) for attribute in attributes if attribute.key.startswith(prefix)}
    return _zipkin_text.with_tags(span.origin, own) if own else span.origin
