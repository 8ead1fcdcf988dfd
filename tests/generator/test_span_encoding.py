from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_tracead.generator import SimulatedSpan, requests, simulate, standard_faults
from otel_tracead.generator.encoding import encode_request, encode_span
from otel_tracead.generator.semantics import Kind
from otel_tracead.generator.spans import Event, Host, Link, Origin
from otel_tracead.generator.topology import Service
from tests.generator.conftest import START, scenario

SPAN = SimulatedSpan(
    trace_id=bytes(range(16)),
    span_id=bytes(range(8)),
    parent_span_id=b"",
    origin=Origin(Service(name="shop"), 0, Host("node-0", 0)),
    name="GET /",
    kind=Kind.SERVER,
    start_unix_nano=1,
    end_unix_nano=2,
    ended_s=0.0,
    attributes=(),
)

values = st.one_of(
    st.text(max_size=300),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.lists(st.text(max_size=9), max_size=4).map(tuple),
)
attributes = st.dictionaries(st.text(max_size=9), values, max_size=5).map(lambda found: tuple(found.items()))


def plain(value: object) -> object:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(item.string_value for item in value.array_value.values)
    return getattr(value, kind)


@given(
    found=attributes,
    name=st.text(max_size=200),
    message=st.text(max_size=200),
    state=st.text(max_size=20),
    flags=st.integers(0, 2**32 - 1),
    times=st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)),
    kind=st.sampled_from(Kind),
)
def test_any_span_reads_back_as_it_was(found, name, message, state, flags, times, kind) -> None:
    span = replace(
        SPAN,
        name=name,
        kind=kind,
        attributes=found,
        error=True,
        message=message,
        trace_state=state,
        flags=flags,
        start_unix_nano=times[0],
        end_unix_nano=times[1],
        parent_span_id=bytes(8),
        events=(Event("exception", times[1], found),),
        links=(Link(bytes(16), bytes(8), found),),
    )
    (read,) = ExportTraceServiceRequest.FromString(encode_request([span])).resource_spans[0].scope_spans[0].spans
    assert (read.trace_id, read.span_id, read.parent_span_id) == (span.trace_id, span.span_id, bytes(8))
    assert (read.name, read.kind, read.status.message, read.status.code) == (name, kind, message, 2)
    assert (read.trace_state, read.flags) == (state, flags)
    assert (read.start_time_unix_nano, read.end_time_unix_nano) == times
    for holder in (read, *read.events, *read.links):
        pairs = [(pair.key, plain(pair.value)) for pair in holder.attributes]
        assert pairs == list(found)
        assert [type(value) for _, value in pairs] == [type(value) for _, value in found]


def test_requests_are_canonical_and_hold_every_span_once_under_its_resource() -> None:
    run = simulate(scenario(faults=standard_faults(20.0, 1)))
    expected = {span.span_id: span for span in run.spans}
    seen: set[bytes] = set()
    for _, body in requests(run):
        request = ExportTraceServiceRequest.FromString(body)
        assert request.SerializeToString() == body
        for resource_spans in request.resource_spans:
            resource = {pair.key: pair.value.string_value for pair in resource_spans.resource.attributes}
            for scope_spans in resource_spans.scope_spans:
                assert scope_spans.scope.name
                for span in scope_spans.spans:
                    assert span.span_id not in seen
                    seen.add(span.span_id)
                    origin = expected[span.span_id].origin
                    assert (resource["service.name"], resource["k8s.pod.name"]) == (origin.service.name, origin.pod)
                    assert span.SerializeToString() == encode_span(expected[span.span_id])
    assert seen == set(expected)


def test_requests_come_in_order_of_time_after_their_spans_and_scatter_traces() -> None:
    run = simulate(scenario())
    last = START
    carriers: dict[bytes, int] = {}
    for at, body in requests(run, batch_spans=64, export_interval_s=0.5):
        assert at >= last
        last = at
        (resource_spans,) = ExportTraceServiceRequest.FromString(body).resource_spans
        spans = resource_spans.scope_spans[0].spans
        assert len(spans) <= 64
        assert all(at - 501_000_000 <= span.end_time_unix_nano <= at for span in spans)
        for trace_id in {span.trace_id for span in spans}:
            carriers[trace_id] = carriers.get(trace_id, 0) + 1
    assert sum(count > 1 for count in carriers.values()) > len(carriers) / 2


@pytest.mark.parametrize("wrong", [{"batch_spans": 0}, {"export_interval_s": 0}])
def test_a_batch_without_size_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="batch_spans"):
        requests(simulate(scenario()), **wrong)
