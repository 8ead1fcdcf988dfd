"""Heads are what the detector would read of the span itself; entries are told apart, and no span is lost or moved."""

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from otel_tracead.sdk.heads import Head, Heads, head
from otel_tracead.sdk.local import local_traces
from otel_tracead.traces.identity import is_root
from otel_tracead.traces.trace import Release, Trace
from otel_tracead.wire.batch import Envelope

HERE = Envelope(b"", b"", {})
TRACE = (1).to_bytes(16, "big")
VALUES = {"text": "grüße", "yes": True, "int": -5, "big": 1 << 62, "double": 0.5, "list": ("a", "b"), "bytes": b"\xff"}


def context(span_id: int, *, remote: bool = False, trace_id: int = 1) -> SpanContext:
    return SpanContext(trace_id, span_id, remote, TraceFlags(1))


def span(number: int, parent: SpanContext | None = None, start: int = 0, end: int = 0, **fields) -> ReadableSpan:
    made = {"name": f"n{number}", "context": context(number), "parent": parent, "resource": Resource({})}
    return ReadableSpan(**made | {"start_time": start or number, "end_time": end or number + 1} | fields)


def trace_of(*spans: ReadableSpan) -> Trace:
    return Trace(TRACE, [head(one) for one in spans], [HERE] * len(spans), Release.ROOT, (), 5.0)


def names(traces: list[Trace]) -> list[list[str]]:
    return [[one.readable.name for one in trace.spans] for trace in traces]


def test_a_head_says_what_the_sdks_own_encoding_says() -> None:
    for kind in SpanKind:
        for status in (Status(StatusCode.UNSET), Status(StatusCode.OK), Status(StatusCode.ERROR, "no")):
            one = span(3, context(2), 10**18, 10**18 + 5, kind=kind, status=status, attributes=VALUES)
            whole = encode_spans([one]).resource_spans[0].scope_spans[0].spans[0]
            whole.ClearField("flags")
            whole.status.ClearField("message")
            if not whole.status.code:
                whole.ClearField("status")
            assert ProtoSpan.FromString(head(one)) == whole


def test_a_remote_parent_is_left_out_of_the_head_and_somebody_elses_verdict_too() -> None:
    found = head(span(3, context(2, remote=True), attributes={"tracead.late": True, "a": 1}))
    assert is_root(found)
    assert found.is_root
    assert found.spoofed
    assert [pair.key for pair in ProtoSpan.FromString(found).attributes] == ["a"]
    local = head(span(3, context(2)))
    assert not is_root(local)
    assert not local.is_root
    assert (local.span_id, local.parent_id) == ((3).to_bytes(8, "big"), (2).to_bytes(8, "big"))


def test_resources_are_told_apart_by_what_they_are() -> None:
    heads = Heads()
    one, two = Resource({"service.name": "a", "n": 5, "b": True, "l": ["x"]}), Resource({"service.name": "b"})
    batch, strange = heads.batch([span(1, resource=one), span(2, resource=two), span(3, resource=one)])
    assert strange == []
    assert [(envelope.service, len(spans)) for envelope, spans in batch.groups] == [("a", 2), ("b", 1)]
    assert batch.groups[0][0].attributes == {"service.name": "a", "n": "5", "b": "true", "l": '["x"]'}
    assert heads.batch([span(4, resource=one)])[0].groups[0][0] is batch.groups[0][0]


def test_one_root_or_none_is_the_trace_itself() -> None:
    for trace in (trace_of(span(1), span(2, context(1))), trace_of(span(2, context(1)), span(3, context(1)))):
        assert local_traces(trace) == [trace]


def test_each_entry_with_what_is_below_it() -> None:
    remote = [context(90 + number, remote=True) for number in range(2)]
    second, first = span(1, remote[0], 100, 200), span(2, remote[1], 10, 90)
    below = [span(3, context(1), 110), span(4, context(3), 120), span(5, context(2), 20)]
    orphans = [span(6, context(77), 150), span(7, context(78), 30), span(8, context(79), 5000)]
    parts = local_traces(trace_of(below[1], second, *orphans, below[0], first, below[2]))
    assert names(parts) == [["n7", "n8", "n2", "n5"], ["n4", "n1", "n6", "n3"]]
    assert {part.trace_id for part in parts} == {TRACE}
    ids = [{ProtoSpan.FromString(one).trace_id for one in part.spans} for part in parts]
    assert ids[0] == {TRACE}
    assert len(ids[1]) == 1
    assert ids[1] != ids[0]
    assert all((part.release, part.released_at) == (Release.ROOT, 5.0) for part in parts)


@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=12))
def test_every_span_is_in_one_part_below_its_own_root(parents: list[tuple[int, bool]]) -> None:
    """Parents may be missing, remote, the span itself or in a circle."""
    spans = [
        span(number, context(parent, remote=remote) if parent else None)
        for number, (parent, remote) in enumerate(parents, 1)
    ]
    trace = trace_of(*spans)
    parts = local_traces(trace)
    assert sorted(name for part in names(parts) for name in part) == sorted(one.name for one in spans)
    assert all(len(part.spans) == len(part.envelopes) for part in parts)
    roots = sum(one.is_root for one in trace.spans)
    assert len(parts) == max(roots, 1)
    place = {one.readable.name: number for number, part in enumerate(parts) for one in part.spans}
    for one in spans:
        parent = one.parent
        if parent is not None and not parent.is_remote and f"n{parent.span_id}" in place:
            assert place[one.name] == place[f"n{parent.span_id}"]


def test_a_head_of_another_trace_is_the_same_but_for_that() -> None:
    one = head(span(3, context(2), attributes={"tracead.late": True}))
    other = one.of_trace(bytes(16))
    assert isinstance(other, Head)
    assert (other.readable, other.spoofed, other[18:]) == (one.readable, True, one[18:])
    assert other[2:18] == bytes(16)
