"""What there is to carry of an OTLP span, row by row of docs/formats.md, and how to see what became of it.

Nothing here knows the code under test: OTLP is read with opentelemetry-proto, Zipkin's JSON with `json`.
"""

import base64
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from tests.fidelity.nasty_spans import MARK, UNKNOWN

KEPT, AS_TEXT, AS_JSON, MICROSECONDS, REPLACED, LOST = "kept", "as text", "as JSON", "to the µs", "replaced", "lost"
PADDED = "padded"
CHANGED = "changed in a way that no row knows"

ZipkinSpan = Mapping[str, Any]
Pairs = dict[str, AnyValue]


@dataclass(frozen=True)
class Otlp:
    """A span in OTLP with what it stands under."""

    outer: ResourceSpans
    inner: ScopeSpans
    span: Span

    @classmethod
    def of(cls, request: ExportTraceServiceRequest) -> list["Otlp"]:
        """Every span of *request*, each as if alone."""
        return [
            cls(outer, inner, span)
            for outer in request.resource_spans
            for inner in outer.scope_spans
            for span in inner.spans
        ]

    @property
    def row(self) -> int:
        """Which row of the table it is."""
        [mark] = [pair.value.string_value for pair in self.span.attributes if pair.key == MARK]
        return int(mark)


@dataclass(frozen=True)
class Row:
    """Something that a span may hold.

    Attributes:
        name: as the table has it.
        read: gives it, or None where a span does not have it.
        zipkin: says what became of it, being given it and a Zipkin span in v2 JSON.
    """

    name: str
    read: Callable[[Otlp], Any]
    zipkin: Callable[[Any, ZipkinSpan], str]

    def outcome(self, source: Otlp, carried: Otlp | ZipkinSpan) -> str | None:
        """Say what became of it; None where *source* does not have it."""
        value = self.read(source)
        if value is None:
            return None
        if not isinstance(carried, Otlp):
            return self.zipkin(value, carried)
        found = self.read(carried)
        return KEPT if found == value else LOST if found is None else CHANGED


# --- outcomes in Zipkin -----------------------------------------------------------------------------------------------


def _lost(_value: Any, _span: ZipkinSpan) -> str:
    return LOST


def _first(*outcomes: tuple[bool, str]) -> str:
    return next((outcome for holds, outcome in outcomes if holds), CHANGED)


def _equal(read: Callable[[ZipkinSpan], Any], otherwise: str = CHANGED) -> Callable[[Any, ZipkinSpan], str]:
    return lambda value, span: KEPT if read(span) == value else otherwise


def _in_tags(value: Pairs, span: ZipkinSpan) -> str:
    """Attributes as tags: text stays what it is, the rest becomes text as the specification writes it."""
    tags = span.get("tags", {})
    if not value.keys() <= tags.keys():
        return LOST
    texts = all(kind(item) == "string_value" for item in value.values())
    same = all(tags[key] == as_text(plain(item)) for key, item in value.items())
    return _first((same and texts, KEPT), (same, AS_TEXT))


def _in_json(value: list[Pairs], found: list[Mapping[str, Any]]) -> str:
    """Attributes of events or links as JSON in a tag or annotation."""
    expected = [{key: plain(item) for key, item in pairs.items()} for pairs in value]
    exact = all(not lacking(item) for pairs in value for item in pairs.values())
    same = all(pairs.items() <= there.items() for pairs, there in zip(expected, found, strict=True))
    return _first((same and exact, KEPT), (same, AS_JSON))


def kind(value: AnyValue) -> str:
    return str(value.WhichOneof("value"))


def lacking(value: AnyValue) -> bool:
    """Whether JSON has no type for it, or for something in it."""
    match kind(value):
        case "array_value":
            return any(map(lacking, value.array_value.values))
        case "kvlist_value":
            return any(lacking(pair.value) for pair in value.kvlist_value.values)
        case "double_value":
            return not math.isfinite(value.double_value)
        case found:
            return found == "bytes_value"


def plain(value: AnyValue) -> Any:
    """As JSON holds it: bytes in base64, a double that is no number by its name."""
    match kind(value):
        case "None":
            return None
        case "array_value":
            return [plain(item) for item in value.array_value.values]
        case "kvlist_value":
            return {pair.key: plain(pair.value) for pair in value.kvlist_value.values}
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case "double_value" if math.isinf(value.double_value):
            return "Infinity" if value.double_value > 0 else "-Infinity"
        case found:
            return getattr(value, found)


def as_text(value: Any) -> str:
    """As the specification has Zipkin's tags: numbers as they are written, booleans in lower case, the rest as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


# --- reading Zipkin ---------------------------------------------------------------------------------------------------


def _tag(key: str) -> Callable[[ZipkinSpan], str | None]:
    return lambda span: span.get("tags", {}).get(key)


def _ids(span: ZipkinSpan) -> tuple[str, str]:
    return span["traceId"].zfill(32), span["id"]


def _kind(span: ZipkinSpan) -> int | None:
    kinds = {"SERVER": 2, "CLIENT": 3, "PRODUCER": 4, "CONSUMER": 5}
    return kinds.get(span.get("kind", ""), 1 if _tag("span.kind")(span) == "internal" else None)


def _annotations(span: ZipkinSpan) -> list[tuple[int, str, dict[str, Any]]]:
    """(microseconds, name, attributes) of each annotation, in order."""
    found = []
    for annotation in span.get("annotations") or ():
        name, attributes = annotation["value"], {}
        if name.startswith('"'):
            name, end = json.JSONDecoder().raw_decode(annotation["value"])
            assert annotation["value"][end : end + 2] == ": "
            attributes = json.loads(annotation["value"][end + 2 :])
        found.append((annotation["timestamp"], name, attributes))
    return found


def _links(span: ZipkinSpan) -> list[tuple[str, str, str, dict[str, Any], int]]:
    """(trace id, span id, trace state, attributes, dropped) of each link, in order."""
    found: list[tuple[str, str, str, dict[str, Any], int]] = []
    while (text := _tag(f"otlp.link.{len(found)}")(span)) is not None:
        match = re.fullmatch(r"([0-9a-f]*)\|([0-9a-f]*)\|(.*?)\|(\{.*\})\|(\d+)", text)
        assert match
        found.append((match[1], match[2], match[3], json.loads(match[4]), int(match[5])))
    return found


def _dropped_tags(span: ZipkinSpan) -> list[int]:
    keys = ("attributes", "events", "links")
    return [int(_tag(f"otel.dropped_{key}_count")(span) or 0) for key in keys]


def _status_tag(span: ZipkinSpan) -> int:
    return {"OK": 1, "ERROR": 2}.get(_tag("otel.status_code")(span) or "", 0)


def _microseconds(value: list[int], span: ZipkinSpan, *, read: Callable[[ZipkinSpan], list[int]]) -> str:
    return MICROSECONDS if read(span) == [max(1, time // 1000) for time in value] else CHANGED


def _event_times(span: ZipkinSpan) -> list[int]:
    return [time for time, _, _ in _annotations(span) if time != 1]


# --- reading OTLP -----------------------------------------------------------------------------------------------------


def _theirs(attributes: Any) -> Pairs:
    """Attributes that are neither ours nor the mark of the row, by key: of several under one key the last."""
    return {
        pair.key: _known(pair.value) for pair in attributes if not pair.key.startswith("tracead.") and pair.key != MARK
    }


def _known(value: AnyValue) -> AnyValue:
    """The value without fields that do not exist yet: they have a row of their own."""
    copy = AnyValue()
    copy.CopyFrom(value)
    copy.DiscardUnknownFields()
    return copy


def _of_kind(pairs: Pairs, *kinds: str) -> Pairs | None:
    return {key: value for key, value in pairs.items() if key and kind(value) in kinds} or None


_TEXT = ("string_value",)
_TYPED = ("bool_value", "int_value", "double_value", "bytes_value", "array_value", "kvlist_value")


def _attributes(otlp: Otlp, *kinds: str) -> Pairs | None:
    return _of_kind(_theirs(otlp.span.attributes), *kinds)


def _resource(otlp: Otlp, *kinds: str) -> Pairs | None:
    hidden = _theirs(otlp.span.attributes).keys() | {"service.name"}
    pairs = _theirs(otlp.outer.resource.attributes)
    return _of_kind({key: value for key, value in pairs.items() if key not in hidden}, *kinds)


def _hidden(otlp: Otlp) -> Pairs | None:
    there = _theirs(otlp.span.attributes)
    pairs = _theirs(otlp.outer.resource.attributes)
    return {key: value for key, value in pairs.items() if key in there and value != there[key]} or None


def _first_of_two(otlp: Otlp) -> list[str] | None:
    found: dict[str, list[str]] = {}
    for pair in otlp.span.attributes:
        found.setdefault(pair.key, []).append(pair.value.string_value)
    return [values[0] for values in found.values() if len(values) > 1] or None


def _well_formed(otlp: Otlp) -> bool:
    trace_id, span_id = otlp.span.trace_id, otlp.span.span_id
    return (len(trace_id), len(span_id)) == (16, 8) and any(trace_id) and any(span_id)


def _hex_ids(otlp: Otlp, *, well_formed: bool) -> tuple[str, str] | None:
    ids = otlp.span.trace_id.hex(), otlp.span.span_id.hex()
    return ids if _well_formed(otlp) is well_formed else None


def _parent(otlp: Otlp, *, zero: bool) -> str | None:
    parent = otlp.span.parent_span_id
    return parent.hex() if parent and any(parent) is not zero else None


def _kind_number(otlp: Otlp, *, known: bool) -> int | None:
    number = int(otlp.span.kind)
    return number if number and (1 <= number <= 5) is known else None


def _duration(otlp: Otlp) -> list[int] | None:
    start, end = otlp.span.start_time_unix_nano, otlp.span.end_time_unix_nano
    return [end - start] if end > start > 0 else None


def _other_end(otlp: Otlp) -> int | None:
    start, end = otlp.span.start_time_unix_nano, otlp.span.end_time_unix_nano
    return end if end and (start > end or not start) else None


def _status_code(otlp: Otlp, *, known: bool) -> int | None:
    code = int(otlp.span.status.code)
    return code if code and (code in (1, 2)) is known else None


def _status_message(otlp: Otlp, *, error: bool) -> str | None:
    status = otlp.span.status
    return status.message or None if (int(status.code) == 2) is error else None


def _empty(holder: Any, name: str) -> bool | None:
    return True if holder.HasField(name) and not getattr(holder, name).ByteSize() else None


def _of_events(otlp: Otlp) -> list[Pairs]:
    return [_theirs(event.attributes) for event in otlp.span.events]


def _of_links(otlp: Otlp) -> list[Pairs]:
    return [_theirs(link.attributes) for link in otlp.span.links]


def _json_kind(read: Callable[[Otlp], list[Pairs]], otlp: Otlp, *, lacks: bool) -> list[Pairs] | None:
    found = [{key: item for key, item in pairs.items() if lacking(item) is lacks} for pairs in read(otlp)]
    return found if any(found) else None


def _link_ids(otlp: Otlp, *, well_formed: bool) -> list[tuple[str, str]] | None:
    found = [link for link in otlp.span.links if link.trace_id or link.span_id]
    fits = [link for link in found if ((len(link.trace_id), len(link.span_id)) == (16, 8)) is well_formed]
    return [(link.trace_id.hex(), link.span_id.hex()) for link in fits] or None


def _link_states(otlp: Otlp, *, bar: bool) -> list[str] | None:
    return [
        link.trace_state for link in otlp.span.links if link.trace_state and ("|" in link.trace_state) is bar
    ] or None


def _lost_state(_value: Any, span: ZipkinSpan) -> str:
    return CHANGED if any(link[2] for link in _links(span)) else LOST


def _unknown(otlp: Otlp) -> int | None:
    """Count the unknown fields in the span and above it, but for those in attributes that are ours to remove."""
    above, scope, span = ResourceSpans(), ScopeSpans(), Span()
    above.CopyFrom(otlp.outer)
    scope.CopyFrom(otlp.inner)
    span.CopyFrom(otlp.span)
    theirs = [pair for pair in otlp.span.attributes if not pair.key.startswith("tracead.")]
    del above.scope_spans[:], scope.spans[:], span.attributes[:]
    span.attributes.extend(theirs)
    return sum(part.SerializeToString().count(UNKNOWN) for part in (above, scope, span)) or None


_in_annotations = partial(_json_kind, _of_events)
_in_links = partial(_json_kind, _of_links)

ROWS = (
    Row("ids of 16 and 8 bytes", partial(_hex_ids, well_formed=True), _equal(_ids)),
    Row("ids of zeros or of another length", partial(_hex_ids, well_formed=False), _equal(_ids, REPLACED)),
    Row("parent id", partial(_parent, zero=False), _equal(lambda span: span.get("parentId"))),
    Row("parent id of zeros", partial(_parent, zero=True), _equal(lambda span: span.get("parentId"), LOST)),
    Row("trace state", lambda otlp: otlp.span.trace_state or None, _equal(_tag("w3c.tracestate"))),
    Row("flags", lambda otlp: otlp.span.flags or None, _lost),
    Row("name", lambda otlp: otlp.span.name or None, _equal(lambda span: span.get("name"))),
    Row("kind", partial(_kind_number, known=True), _equal(_kind)),
    Row("a kind that is none yet", partial(_kind_number, known=False), _equal(_kind, LOST)),
    Row(
        "start time",
        lambda otlp: [otlp.span.start_time_unix_nano] if otlp.span.start_time_unix_nano else None,
        partial(_microseconds, read=lambda span: [span.get("timestamp")]),
    ),
    Row("duration", _duration, partial(_microseconds, read=lambda span: [span.get("duration")])),
    Row(
        "end time before the start, or without one", _other_end, lambda _, span: CHANGED if "duration" in span else LOST
    ),
    Row("attributes that are text", lambda otlp: _attributes(otlp, *_TEXT), _in_tags),
    Row("attributes of other types", lambda otlp: _attributes(otlp, *_TYPED), _in_tags),
    Row("attributes without a value", lambda otlp: _attributes(otlp, "None"), _in_tags),
    Row(
        "an attribute under an empty key",
        lambda otlp: _theirs(otlp.span.attributes).get(""),
        lambda value, span: _in_tags({"": value}, span),
    ),
    Row(
        "the first of two attributes of one key",
        _first_of_two,
        lambda value, span: CHANGED if value[0] in span["tags"].values() else LOST,
    ),
    Row(
        "dropped attributes, events and links",
        lambda otlp: (
            [
                count
                for count in (
                    [otlp.span.dropped_attributes_count, otlp.span.dropped_events_count, otlp.span.dropped_links_count],
                )
                if any(count)
            ]
            or None
        ),
        lambda value, span: KEPT if _dropped_tags(span) == value[0] else CHANGED,
    ),
    Row(
        "events: names",
        lambda otlp: [event.name for event in otlp.span.events] or None,
        _equal(lambda span: [name for _, name, _ in _annotations(span)]),
    ),
    Row(
        "events: times",
        lambda otlp: [event.time_unix_nano for event in otlp.span.events if event.time_unix_nano] or None,
        partial(_microseconds, read=_event_times),
    ),
    Row(
        "events without a time",
        lambda otlp: sum(not event.time_unix_nano for event in otlp.span.events) or None,
        lambda value, span: REPLACED if sum(time == 1 for time, _, _ in _annotations(span)) == value else CHANGED,
    ),
    Row(
        "events: attributes",
        partial(_in_annotations, lacks=False),
        lambda value, span: _in_json(value, [found for _, _, found in _annotations(span)]),
    ),
    Row(
        "events: bytes, infinity and not-a-number in attributes",
        partial(_in_annotations, lacks=True),
        lambda value, span: _in_json(value, [found for _, _, found in _annotations(span)]),
    ),
    Row(
        "events: dropped attributes",
        lambda otlp: (
            [event.dropped_attributes_count for event in otlp.span.events if event.dropped_attributes_count] or None
        ),
        _equal(
            lambda span: [
                found["otel.dropped_attributes_count"]
                for *_, found in _annotations(span)
                if "otel.dropped_attributes_count" in found
            ]
        ),
    ),
    Row("links: ids", partial(_link_ids, well_formed=True), _equal(lambda span: [link[:2] for link in _links(span)])),
    Row(
        "links: ids of another length",
        partial(_link_ids, well_formed=False),
        lambda value, span: (
            PADDED
            if [link[:2] for link in _links(span) if any(link[:2])]
            == [(one.zfill(32), other.zfill(16)) for one, other in value]
            else CHANGED
        ),
    ),
    Row(
        "links: trace state",
        partial(_link_states, bar=False),
        _equal(lambda span: [link[2] for link in _links(span) if link[2]]),
    ),
    Row("links: trace state with a bar in it", partial(_link_states, bar=True), _lost_state),
    Row("links: flags", lambda otlp: [link.flags for link in otlp.span.links if link.flags] or None, _lost),
    Row(
        "links: attributes",
        partial(_in_links, lacks=False),
        lambda value, span: _in_json(value, [link[3] for link in _links(span)]),
    ),
    Row(
        "links: bytes, infinity and not-a-number in attributes",
        partial(_in_links, lacks=True),
        lambda value, span: _in_json(value, [link[3] for link in _links(span)]),
    ),
    Row(
        "links: dropped attributes",
        lambda otlp: (
            [link.dropped_attributes_count for link in otlp.span.links if link.dropped_attributes_count] or None
        ),
        _equal(lambda span: [link[4] for link in _links(span) if link[4]]),
    ),
    Row("status: OK, ERROR", partial(_status_code, known=True), _equal(_status_tag)),
    Row("status: a code that is none yet", partial(_status_code, known=False), _equal(_status_tag, LOST)),
    Row("status: message of an error", partial(_status_message, error=True), _equal(_tag("error"))),
    Row("status: message without an error", partial(_status_message, error=False), _equal(_tag("error"), LOST)),
    Row("status that is there and empty", lambda otlp: _empty(otlp.span, "status"), _lost),
    Row(
        "service name",
        lambda otlp: _theirs(otlp.outer.resource.attributes).get("service.name"),
        lambda value, span: KEPT if span["localEndpoint"]["serviceName"] == value.string_value else CHANGED,
    ),
    Row("resource: attributes that are text", lambda otlp: _resource(otlp, *_TEXT), _in_tags),
    Row("resource: attributes of other types", lambda otlp: _resource(otlp, *_TYPED), _in_tags),
    Row(
        "resource: attributes under the key of one of the span",
        _hidden,
        lambda value, span: (
            LOST if all(span["tags"][key] != as_text(plain(item)) for key, item in value.items()) else CHANGED
        ),
    ),
    Row("resource: dropped attributes", lambda otlp: otlp.outer.resource.dropped_attributes_count or None, _lost),
    Row(
        "resource: entity references",
        lambda otlp: [entity.SerializeToString() for entity in otlp.outer.resource.entity_refs] or None,
        _lost,
    ),
    Row("resource: schema URL", lambda otlp: otlp.outer.schema_url or None, _lost),
    Row("resource that is there and empty", lambda otlp: _empty(otlp.outer, "resource"), _lost),
    Row(
        "scope: name and version",
        lambda otlp: (otlp.inner.scope.name, otlp.inner.scope.version) if otlp.inner.scope.name else None,
        _equal(lambda span: (_tag("otel.scope.name")(span), _tag("otel.scope.version")(span))),
    ),
    Row(
        "scope: attributes that are text", lambda otlp: _of_kind(_theirs(otlp.inner.scope.attributes), *_TEXT), _in_tags
    ),
    Row(
        "scope: attributes of other types",
        lambda otlp: _of_kind(_theirs(otlp.inner.scope.attributes), *_TYPED),
        _in_tags,
    ),
    Row("scope: dropped attributes", lambda otlp: otlp.inner.scope.dropped_attributes_count or None, _lost),
    Row("scope: schema URL", lambda otlp: otlp.inner.schema_url or None, _lost),
    Row("scope that is there and empty", lambda otlp: _empty(otlp.inner, "scope"), _lost),
    Row("fields that do not exist yet", _unknown, _lost),
)
