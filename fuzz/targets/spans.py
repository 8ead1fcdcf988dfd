"""Encoded spans, as everything behind the receivers reads and changes them: heads, own attributes, annotation."""

from collections.abc import Hashable
from typing import Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from fuzz import mutation, samples
from fuzz.target import Target
from fuzz.targets.oracles import holds
from otel_tracead.detection.annotate import annotate_unscored, may_hold_own_keys
from otel_tracead.traces.identity import trace_ids
from otel_tracead.traces.trace import Trace
from otel_tracead.wire.attributes import append_attributes, encode_attribute, strip_attributes
from otel_tracead.wire.batch import Envelope
from otel_tracead.wire.heads import HeadReader
from otel_tracead.wire.joined import join
from otel_tracead.wire.values import text

_WANTED: Final = ("http.method", "b", "long." * 60)
_OWN: Final = "tracead."
_LATEST: Final = 1 << 62
_ENVELOPE: Final = Envelope(b"", b"", {})
_APPENDED: Final = encode_attribute("tracead.x", "y") + encode_attribute("tracead.s", 0.5)


def _spans(data: bytes) -> None:
    encoded = []
    for part in _cut(data):
        try:
            encoded.append((part, Span.FromString(part)))
        except DecodeError:
            continue
    if encoded:
        _heads([part for part, _ in encoded], [span for _, span in encoded])
        for part, span in encoded:
            _own_attributes(part, span)


def _cut(data: bytes) -> list[bytes]:
    """Take the fields of a request's spans apart without reading the rest; what is no list of spans is one."""
    try:
        listed = [one for one in mutation.fields(data, 12) if one.number == 1 and isinstance(one.value, bytes)]
    except ValueError:
        listed = []
    return [one.value for one in listed if isinstance(one.value, bytes)] or [data]


def _heads(encoded: list[bytes], spans: list[Span]) -> None:
    named: list[tuple[Hashable, str, int, int, dict[str, str]]] = []

    def name(group: Hashable, name: str, kind: int, status: int, wanted: dict[str, str]) -> int:
        named.append((group, name, kind, status, wanted))
        return len(named) - 1

    groups = ["ab"[number % 2] for number in range(len(spans))]
    reader = HeadReader(_WANTED, name)
    for _ in range(2):  # at once, and remembered
        found = reader.read([join(encoded)], [groups])
        for at, span in enumerate(spans):
            wanted = {one.key: text(one.value) for one in span.attributes if one.key in _WANTED}
            holds(int(found.span_id[at]), _number(span.span_id), "the span id")
            holds(int(found.parent_id[at]), _number(span.parent_span_id), "the parent id")
            holds(int(found.start[at]), min(span.start_time_unix_nano, _LATEST), "the start")
            holds(int(found.end[at]), min(span.end_time_unix_nano, _LATEST), "the end")
            holds(bool(found.server[at]), span.kind in (2, 5), "the kind")
            naming = named[int(found.code[at])]
            holds(naming[:4], (groups[at], span.name, span.kind, span.status.code), "the naming")
            if span.SerializeToString() == encoded[at]:  # written as every encoder writes: the key first, and once
                holds(naming[4], wanted, "the attributes of the naming")
    for part, span, trace_id in zip(encoded, spans, trace_ids(encoded), strict=True):
        if span.SerializeToString() != part:  # of ids that stand twice the first may count
            continue
        valid = len(span.trace_id) == 16 and any(span.trace_id) and len(span.span_id) == 8 and any(span.span_id)
        holds(trace_id, span.trace_id if valid else b"", "the trace id")


def _number(span_id: bytes) -> int:
    return int.from_bytes(span_id, "big") if len(span_id) == 8 else 0


def _own_attributes(encoded: bytes, span: Span) -> None:
    stripped, removed = strip_attributes(encoded)
    own = [index for index, one in enumerate(span.attributes) if one.key.startswith(_OWN)]
    wanted = Span.FromString(encoded)
    for index in reversed(own):
        del wanted.attributes[index]
    holds(removed, len(own), "own attributes that were removed")
    holds(_printed(stripped), wanted.SerializeToString(deterministic=True), "a span without own attributes")
    holds(strip_attributes(stripped), (stripped, 0), "a span that was stripped twice")
    if own and not may_hold_own_keys(Trace(bytes(16), [encoded], [_ENVELOPE])):
        holds(own, [], "own attributes that nobody looks for")
    marked = append_attributes(stripped, _APPENDED)
    holds(marked[: len(stripped)], stripped, "the bytes before what was appended")
    holds([one.key for one in Span.FromString(marked).attributes][-2:], ["tracead.x", "tracead.s"], "what was appended")
    (again,) = annotate_unscored([marked], "error").spans
    holds(again, append_attributes(stripped, encode_attribute("tracead.unscored", "error")), "a span marked twice")


def _printed(encoded: bytes) -> bytes:
    return Span.FromString(encoded).SerializeToString(deterministic=True)


def _seeds() -> list[bytes]:
    made = [samples.span(number) for number in (1, 2, 3)]
    made[0].status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message="no"))
    made[1].attributes.add(key="tracead.x").value.string_value = "y"
    made[1].attributes.add(key="b").value.int_value = 5
    made[2].events.add(name="e").attributes.add(key="tracead.x")
    return [
        b"".join(mutation.Field(1, 2, span.SerializeToString()).encode() for span in made),
        *(span.SerializeToString() for span in made),
    ]


SPANS: Final = Target(
    name="spans",
    what="encoded spans; heads in columns, own attributes cut out and appended, against protobuf's own parser",
    run=_spans,
    seeds=_seeds,
    mutate=mutation.protobuf,
)
