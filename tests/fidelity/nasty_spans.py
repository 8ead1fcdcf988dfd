"""Builds the OTLP spans of the table `spans.csv`: what the protocol allows and few senders send."""

from collections.abc import Mapping

from google.protobuf.message import Message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

START = 1_700_000_000_123_456_789
LATEST = (1 << 64) - 1
MOST = (1 << 32) - 1
MARK = "row"
UNKNOWN = b"\xc2\x3e\x05later" + b"\xc8\x3e\x07"  # fields 1000 and 1001, which no protocol has yet

_KINDS = {
    "unspecified": 0,
    "internal": 1,
    "server": 2,
    "client": 3,
    "producer": 4,
    "consumer": 5,
    "unknown": 99,
    "negative": -1,
}
_STATUS: Mapping[str, tuple[int, str]] = {
    "empty": (0, ""),
    "ok": (1, ""),
    "ok message": (1, "all is well"),
    "error": (2, ""),
    "error message": (2, "höchst “seltsam” |{}"),
    "unset message": (0, "nothing"),
    "unknown code": (7, ""),
}
_TIMES = {
    "usual": (START, START + 1_234_567),
    "zero": (0, 0),
    "end first": (START, START - 5_000_000),
    "instant": (START, START),
    "no start": (0, START),
    "latest": (LATEST - 10_000, LATEST),
}
_FLAGS = {"none": 0, "sampled": 0x001, "remote": 0x301, "unknown bits": 0xFFFF_F4F0}
_STATES = {"none": "", "one": "vendor=opaque", "odd": 'a=b,c=d | {"x": 1}'}
_DROPPED = {"none": (0, 0, 0), "some": (1, 2, 3), "most": (MOST, MOST, MOST)}
_NAMES = {"usual": "GET /api", "empty": "", "unicode": 'naïve ☃ "quoted" \\ \x01'}

Row = Mapping[str, str]


def every_type() -> list[KeyValue]:
    """An attribute of every type."""
    return [
        KeyValue(key="text", value=AnyValue(string_value="of the span")),
        KeyValue(key="empty.text", value=AnyValue(string_value="")),
        KeyValue(key="yes", value=AnyValue(bool_value=True)),
        KeyValue(key="no", value=AnyValue(bool_value=False)),
        KeyValue(key="integer", value=AnyValue(int_value=-(1 << 63))),
        KeyValue(key="double", value=AnyValue(double_value=0.1)),
        KeyValue(key="infinite", value=AnyValue(double_value=float("-inf"))),
        KeyValue(key="bytes", value=AnyValue(bytes_value=b"\x00\xff")),
    ]


def nested() -> list[KeyValue]:
    """Lists and maps in one another, empty ones too."""
    inner = AnyValue()
    inner.kvlist_value.values.extend(every_type())
    empty_list, empty_map, listed = AnyValue(), AnyValue(), AnyValue()
    empty_list.array_value.SetInParent()
    empty_map.kvlist_value.SetInParent()
    listed.array_value.values.extend([inner, empty_list, empty_map, AnyValue(), AnyValue(int_value=1)])
    return [KeyValue(key=key, value=value) for key, value in (("list", listed), ("map", inner), ("none", empty_list))]


_ATTRIBUTES: Mapping[str, list[KeyValue]] = {
    "none": [],
    "types": every_type(),
    "nested": nested(),
    "empty key": [KeyValue(key="", value=AnyValue(string_value="of no key"))],
    "twice": [KeyValue(key="again", value=AnyValue(string_value=text)) for text in ("first", "last")],
    "spoofed": [
        KeyValue(key="tracead.anomaly.detected", value=AnyValue(bool_value=True)),
        KeyValue(key="x.tracead.y", value=AnyValue(string_value="tracead.")),
        KeyValue(key="tracead.unheard.of", value=AnyValue(string_value="x")),
    ],
    "no value": [KeyValue(key="bare"), KeyValue(key="void", value=AnyValue())],
}


def single(row: Row, number: int) -> ExportTraceServiceRequest:
    """Build the span of *row* alone under its resource and scope; *number* makes its ids, the scope tells it apart.

    The scope's schema URL or, where there is none, the number in the ids says which row a span is of.
    """
    request = ExportTraceServiceRequest()
    outer = request.resource_spans.add()
    _resource(outer, row["resource"])
    inner = outer.scope_spans.add()
    _scope(inner, row["scope"])
    span = inner.spans.add()
    _span(span, row, number)
    if row["unknown"] == "envelope":
        present = [message for message, name in ((outer, "resource"), (inner, "scope")) if message.HasField(name)]
        _unknown(outer, inner, *(message.resource if message is outer else message.scope for message in present))
    elif row["unknown"] == "span":
        _unknown(span)
    elif row["unknown"] == "inside":
        values = [pair.value for pair in span.attributes if pair.HasField("value")]
        _unknown(
            *span.events, *span.links, *span.attributes, *values, *([span.status] if span.HasField("status") else [])
        )
    return request


def _unknown(*messages: Message) -> None:
    for message in messages:
        message.MergeFromString(UNKNOWN)


def _resource(outer: ResourceSpans, value: str) -> None:
    if value == "none":
        return
    resource = outer.resource
    resource.SetInParent()
    if value == "empty":
        return
    resource.attributes.add(key="service.name").value.string_value = f"Shop {value}"
    if value == "attributes":
        resource.attributes.add(key="resource.text").value.string_value = "of the resource"
        resource.attributes.add(key="text").value.string_value = "of the resource"
        resource.attributes.extend(nested())
    elif value == "entities":
        resource.entity_refs.add(
            schema_url="https://entities/1", type="service", id_keys=["service.name"], description_keys=["a", ""]
        )
        resource.entity_refs.add()
    elif value == "dropped":
        resource.dropped_attributes_count = MOST
    elif value == "schema":
        outer.schema_url = "https://opentelemetry.io/schemas/1.30.0"


def _scope(inner: ScopeSpans, value: str) -> None:
    if value == "none":
        return
    scope = inner.scope
    scope.SetInParent()
    if value == "empty":
        return
    scope.name, scope.version = f"library {value}", "1.2.3-ü"
    if value == "attributes":
        scope.attributes.add(key="scope.text").value.string_value = "of the scope"
        scope.attributes.add(key="scope.number").value.int_value = 7
    elif value == "dropped":
        scope.dropped_attributes_count = 1
    elif value == "schema":
        inner.schema_url = "https://opentelemetry.io/schemas/1.31.0"


def _span(span: Span, row: Row, number: int) -> None:
    unique = number.to_bytes(4, "big")
    span.trace_id, span.span_id = {
        "whole": (b"\xab" * 12 + unique, b"\xcd" * 4 + unique),
        "low half": (bytes(8) + b"\xab" * 4 + unique, b"\xcd" * 4 + unique),
        "wrong length": (b"\xab" + unique, b"\xcd" + unique),
        "zero": (bytes(16), bytes(8)),
    }[row["ids"]]
    span.parent_span_id = {"none": b"", "child": b"\xef" * 4 + unique, "zero": bytes(8)}[row["parent"]]
    span.trace_state, span.flags = _STATES[row["state"]], _FLAGS[row["flags"]]
    span.name, span.kind = _NAMES[row["name"]], _KINDS[row["kind"]]  # type: ignore[assignment]
    span.start_time_unix_nano, span.end_time_unix_nano = _TIMES[row["times"]]
    span.attributes.extend(_ATTRIBUTES[row["attributes"]])
    # So that it is known again where ids are replaced and names lost.
    span.attributes.add(key=MARK).value.string_value = str(number)
    span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count = _DROPPED[row["dropped"]]
    _events(span, row["events"])
    _links(span, row["links"])
    if row["status"] != "none":
        span.status.SetInParent()
        span.status.code, span.status.message = _STATUS[row["status"]]  # type: ignore[assignment]


def _events(span: Span, value: str) -> None:
    if value in ("plain", "full"):
        span.events.add(time_unix_nano=START + 1, name="plain")
    if value == "full":
        event = span.events.add(time_unix_nano=LATEST, name='full: "of" {everything}|', dropped_attributes_count=MOST)
        event.attributes.extend([*every_type(), *nested()])
    if value == "odd":
        span.events.add(time_unix_nano=START, name="")
        span.events.add(name="never")


def _links(span: Span, value: str) -> None:
    if value in ("full", "bare"):
        span.links.add(trace_id=b"\x01" * 16, span_id=b"\x02" * 8)
    if value == "full":
        link = span.links.add(
            trace_id=b"\x03" * 16, span_id=b"\x04" * 8, trace_state="a=b", flags=0x301, dropped_attributes_count=MOST
        )
        link.attributes.extend([*every_type(), *nested()])
    if value == "odd":
        span.links.add(trace_id=b"\x05", span_id=b"\x06", trace_state="a=b|{c")
        span.links.add()
