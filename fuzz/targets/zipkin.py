"""Zipkin's formats: v2 JSON, v1 JSON, v2 protobuf."""

import re
from collections.abc import Callable
from typing import Any, Final

import orjson

from fuzz import mutation, samples
from fuzz.target import Finding, Target
from fuzz.targets import oracles
from otel_tracead.errors import InvalidRequest
from otel_tracead.wire import _zipkin_records, zipkin
from otel_tracead.wire.attributes import append_attributes, encode_attribute, strip_attributes
from otel_tracead.wire.batch import SpanBatch, TranslatedSpan
from otel_tracead.wire.otlp import Envelopes

_KEYS: Final = (
    *(*samples.ZIPKIN_SPAN, "serviceName", "ipv4", "ipv6", "port", "value", "endpoint", "binaryAnnotations", "key"),
    *("tracead.x", "otel.scope.name", "otel.status_code", "otlp.service.name.source", "span.kind", "w3c.tracestate"),
    *("otel.link.0", "peer.service", "net.host.ip", "otel.dropped_attributes_count", "unheardOf"),
)

_SPACE: Final = re.compile(rb'("(?:[^"\\]|\\.)*+")|\s+', re.DOTALL)


def _json(data: bytes) -> None:
    batch = _read(zipkin.decode_spans, data)
    found = None if batch is None else _with_origins(batch)
    usual = _zipkin_records.read
    _zipkin_records.read = lambda *_, **__: None
    try:
        plain = _read(zipkin.decode_spans, data)
    finally:
        _zipkin_records.read = usual
    oracles.holds(found, None if plain is None else _with_origins(plain), "the two readers differ")
    if batch is not None:
        _passes_through(batch)
        typed = zipkin.decode_spans(data, Envelopes(), parse_string_tags=True)
        oracles.holds(len(typed), len(batch), "spans with tags that have types")
        oracles.leaves(typed)


def _read(decode: Callable[..., SpanBatch], data: bytes) -> SpanBatch | None:
    try:
        return decode(data, Envelopes())
    except InvalidRequest:
        return None


def _with_origins(batch: SpanBatch) -> Any:
    """Give a batch as plain data; of origins without spaces, since one reader prints them closer than the other."""
    return [
        (resource, scope, [(bytes(span), _close(getattr(span, "origin", b""))) for span in spans])
        for resource, scope, spans in oracles.groups(batch)
    ]


def _close(origin: bytes) -> bytes:
    # A key that would make a Zipkin server take the request for v1 leaves in another spelling.
    return _SPACE.sub(rb"\1", origin).replace(b'\\u0079Annotations"', b'yAnnotations"')


def _passes_through(batch: SpanBatch) -> None:
    """See that spans leave to Zipkin as they came, with our tags and without those of others."""
    oracles.leaves(batch)
    oracles.leaves_as_json(batch)
    clean = SpanBatch([(envelope, [strip_attributes(span)[0] for span in spans]) for envelope, spans in batch.groups])
    again = _read(zipkin.decode_spans, zipkin.encode_spans(clean))
    oracles.holds(None if again is None else _with_origins(again), _with_origins(clean), "spans that were passed on")
    oracles.leaves_to_zipkin(batch)
    own = encode_attribute("tracead.x", "new")
    for envelope, span in batch:
        if not isinstance(span, TranslatedSpan):
            raise Finding("a span without its origin")
        own_less, _ = strip_attributes(span)
        (without,) = orjson.loads(zipkin.encode_spans(SpanBatch([(envelope, [own_less])])))
        (marked,) = orjson.loads(zipkin.encode_spans(SpanBatch([(envelope, [append_attributes(own_less, own)])])))
        before = orjson.loads(span.origin)
        kept = {key: value for key, value in (before.get("tags") or {}).items() if not key.startswith("tracead.")}
        oracles.holds(without.get("tags") or {}, kept, "tags without ours")
        oracles.holds(marked.get("tags"), {**kept, "tracead.x": "new"}, "tags with ours")
        for one in (without, marked):
            others = {key: value for key, value in one.items() if key != "tags"}
            oracles.holds(others, {key: value for key, value in before.items() if key != "tags"}, "all but tags")


def _v1(data: bytes) -> None:
    batch = _read(zipkin.decode_v1_spans, data)
    if batch is not None:
        _passes_through(batch)


def _protobuf(data: bytes) -> None:
    batch = _read(zipkin.decode_protobuf, data)
    if batch is not None:
        _passes_through(batch)


def _protobuf_seeds() -> list[bytes]:
    return [zipkin.encode_protobuf(zipkin.decode_spans(one, Envelopes())) for one in samples.zipkin()]


ZIPKIN_JSON: Final = Target(
    name="zipkin_json",
    what="Zipkin v2 JSON; the reader of records against the plain one, what passes through against what came",
    run=_json,
    seeds=lambda: [b"[]", *samples.zipkin(), *samples.golden("zipkin_document.json")],
    mutate=mutation.json_text(_KEYS),
)
ZIPKIN_V1: Final = Target(
    name="zipkin_v1",
    what="Zipkin v1 JSON; the v2 spans that it becomes are taken by our own reader",
    run=_v1,
    seeds=lambda: [b"[]", samples.zipkin_v1()],
    mutate=mutation.json_text(_KEYS),
)
ZIPKIN_PROTOBUF: Final = Target(
    name="zipkin_protobuf",
    what="Zipkin v2 protobuf, there and back",
    run=_protobuf,
    seeds=_protobuf_seeds,
    mutate=mutation.protobuf,
)
