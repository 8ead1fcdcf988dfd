import json
from itertools import islice
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.traffic import Protocol, Traffic, pack
from otel_tracead.wire.batch import Envelope
from otel_tracead.wire.otlp import Envelopes, decode_request


def request(spans: int) -> bytes:
    message = ExportTraceServiceRequest()
    for number in range(spans):
        if number % 3 == 0:
            scope_spans = message.resource_spans.add().scope_spans.add()
            scope_spans.scope.name = f"scope-{number % 2}"
        trace_id = (number // 4 + 1).to_bytes(16, "big")
        span = scope_spans.spans.add(trace_id=trace_id, span_id=(number + 1).to_bytes(8, "big"), name="span")
        span.links.add(trace_id=trace_id)
    return message.SerializeToString()


def spans_of(body: bytes) -> list[tuple[Envelope, bytes]]:
    return list(decode_request(body, Envelopes()))


@pytest.fixture
def traffic() -> Traffic:
    return pack(spans_of(request(25)), 10)


def ids(body: bytes) -> list[tuple[int, int]]:
    message = ExportTraceServiceRequest.FromString(body)
    return sorted(
        (int.from_bytes(span.span_id, "big"), int.from_bytes(span.trace_id, "big"))
        for resource_spans in message.resource_spans
        for scope_spans in resource_spans.scope_spans
        for span in scope_spans.spans
    )


def test_requests_are_full_and_an_incomplete_one_is_left_out(traffic: Traffic) -> None:
    assert [len(ids(body)) for body in traffic.bodies] == [10, 10]
    assert traffic.spans == 20


def test_each_round_has_the_same_spans_under_other_trace_ids(traffic: Traffic) -> None:
    sent = [ids(body) for body, spans in islice(traffic.rounds(0), 4) if spans == 10]
    salt = 1 << 96
    assert sent[0] == [(number + 1, number // 4 + 1) for number in range(10)]
    assert sent[2] == [(span, trace ^ salt) for span, trace in sent[0]]
    assert sent[3] == [(span, trace ^ salt) for span, trace in sent[1]]


def test_zipkin_rounds_are_the_same_spans_under_other_trace_ids() -> None:
    traffic = pack(spans_of(request(25)), 10, Protocol.ZIPKIN)
    sent = [json.loads(body) for body, spans in islice(traffic.rounds(0x12AB), 4) if spans == 10]
    assert len(sent) == 4
    assert {span["traceId"][:8] for body in sent[:2] for span in body} == {"000012ab"}
    assert {span["traceId"][:8] for body in sent[2:] for span in body} == {"000012ac"}
    for before, after in zip(sent[0], sent[2], strict=True):
        assert before["traceId"][8:] == after["traceId"][8:]
        assert {**before, "traceId": ""} == {**after, "traceId": ""}


@pytest.mark.parametrize("protocol", Protocol)
def test_it_is_stored_and_read_again(protocol: Protocol, tmp_path: Path) -> None:
    traffic = pack(spans_of(request(25)), 10, protocol)
    traffic.save(tmp_path / "traffic.npz")
    again = Traffic.load(tmp_path / "traffic.npz")
    assert again.protocol is protocol
    assert again.bodies == traffic.bodies
    assert list(islice(again.rounds(5), 3)) == list(islice(traffic.rounds(5), 3))


def test_too_few_spans_for_a_request_are_an_error() -> None:
    with pytest.raises(ValueError, match="fewer than 10 spans"):
        pack(spans_of(request(9)), 10)
