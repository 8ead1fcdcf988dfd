"""Hypothesis strategies for OTLP messages, with everything in them that the schema allows."""

from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, EntityRef, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

text = st.text(max_size=8)
keys = st.sampled_from(["http.method", "tracead.x", "tracead", "", "ключ"]) | text
uint32 = st.integers(0, 2**32 - 1)
uint64 = st.integers(0, 2**64 - 1)

UNKNOWN = (
    b"\xc0\x0c\x07",  # field 200: varint
    b"\xc2\x0c\x0ctracead.fake",  # field 200: length-delimited
    b"\xc5\x0c\x01\x02\x03\x04",  # field 200: fixed32
    b"\xc1\x0c\x01\x02\x03\x04\x05\x06\x07\x08",  # field 200: fixed64
    b"\xc3\x0c\x4a\x0b\x0a\x09tracead.x\xc4\x0c",  # field 200: a group with what looks like an attribute
    b"\xc3\x0c\xcb\x0c\x08\x01\xcc\x0c\xc4\x0c",  # a group in a group
)


def any_values(*, nan: bool = False) -> st.SearchStrategy[AnyValue]:
    scalars = st.one_of(
        st.just(AnyValue()),
        st.builds(AnyValue, string_value=text),
        st.builds(AnyValue, bool_value=st.booleans()),
        st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1)),
        st.builds(AnyValue, double_value=st.floats(allow_nan=nan)),
        st.builds(AnyValue, bytes_value=st.binary(max_size=8)),
    )

    def nest(inner: st.SearchStrategy[AnyValue]) -> st.SearchStrategy[AnyValue]:
        def array(values: list[AnyValue]) -> AnyValue:
            value = AnyValue()
            value.array_value.SetInParent()
            value.array_value.values.extend(values)
            return value

        def kvlist(pairs: list[tuple[str, AnyValue]]) -> AnyValue:
            value = AnyValue()
            value.kvlist_value.SetInParent()
            value.kvlist_value.values.extend(KeyValue(key=key, value=item) for key, item in pairs)
            return value

        return st.lists(inner, max_size=3).map(array) | st.lists(st.tuples(keys, inner), max_size=3).map(kvlist)

    return st.recursive(scalars, nest, max_leaves=5)


key_values = st.builds(KeyValue, key=keys, value=any_values()) | st.builds(KeyValue, key=keys)
attributes = st.lists(key_values, max_size=4)
trace_ids = st.binary(min_size=16, max_size=16) | st.sampled_from([b"", bytes(16), b"abc"])
span_ids = st.binary(min_size=8, max_size=8) | st.sampled_from([b"", bytes(8), b"toolongtobeanid"])

events = st.builds(Span.Event, time_unix_nano=uint64, name=text, attributes=attributes, dropped_attributes_count=uint32)
links = st.builds(
    Span.Link,
    trace_id=trace_ids,
    span_id=span_ids,
    trace_state=text,
    attributes=attributes,
    dropped_attributes_count=uint32,
    flags=uint32,
)
spans = st.builds(
    Span,
    trace_id=trace_ids,
    span_id=span_ids,
    trace_state=text,
    parent_span_id=span_ids,
    flags=uint32,
    name=text,
    kind=st.integers(0, 5) | st.just(99),
    start_time_unix_nano=uint64,
    end_time_unix_nano=uint64,
    attributes=attributes,
    dropped_attributes_count=uint32,
    events=st.lists(events, max_size=2),
    dropped_events_count=uint32,
    links=st.lists(links, max_size=2),
    dropped_links_count=uint32,
    status=st.none() | st.builds(Status, message=text, code=st.integers(0, 2)),
)
entities = st.builds(
    EntityRef,
    schema_url=text,
    type=text,
    id_keys=st.lists(text, max_size=2),
    description_keys=st.lists(text, max_size=2),
)
resources = st.builds(
    Resource, attributes=attributes, dropped_attributes_count=uint32, entity_refs=st.lists(entities, max_size=2)
)
scopes = st.builds(
    InstrumentationScope, name=text, version=text, attributes=attributes, dropped_attributes_count=uint32
)
scope_spans = st.builds(
    ScopeSpans, scope=st.none() | scopes, spans=st.lists(spans, min_size=1, max_size=3), schema_url=text
)
resource_spans = st.builds(
    ResourceSpans,
    resource=st.none() | resources,
    scope_spans=st.lists(scope_spans, max_size=3),
    schema_url=text,
)
requests = st.builds(ExportTraceServiceRequest, resource_spans=st.lists(resource_spans, max_size=3))
unknown_fields = st.lists(st.sampled_from(UNKNOWN), max_size=3).map(b"".join)
