"""What the endurance benchmarks count: numbered traffic, the ledger, and what is made of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from benchmarks.endurance.account import Account, account, answers, latencies
from benchmarks.endurance.ledger import Ledger, Size
from benchmarks.endurance.numbered import Round, Way, read, record
from benchmarks.endurance.sink import Sink
from otel_tracead.wire.attributes import append_attributes, encode_attribute
from otel_tracead.wire.batch import Envelope, SpanBatch, group
from otel_tracead.wire.otlp import Envelopes, decode_request, encode_request
from otel_tracead.wire.zipkin import decode_spans

START = 1_700_000_000_000_000_000
WAIT = 2.0
VERDICT = {"tracead.trace.anomalous": False, "tracead.trace.score": 0.5}
MARK = {"tracead.anomaly.detected": True}
LATE = {"tracead.late": True, "tracead.late_verdict": "normal"}


@pytest.fixture(scope="module")
def traffic() -> Round:
    return record(600, 2, per_request=20)


@pytest.fixture
def ledger(traffic: Round, tmp_path: Path) -> Ledger:
    return Ledger.create(tmp_path / "ledger", Size(traffic.shape, 3))


def decoded(traffic: Round, request: int, turn: int, *, giant: bool = False) -> SpanBatch:
    body = traffic.body(request, turn, START, giant=giant)
    decode = decode_spans if traffic.ways[request] == Way.ZIPKIN else decode_request
    return decode(body, Envelopes())


def numbers(batch: SpanBatch) -> tuple[list[int], list[int]]:
    spans, traces, ours = read(b"".join(bytes(span)[:28] for _, span in batch))
    assert ours.all()
    return spans.tolist(), traces.tolist()


def test_every_span_has_its_number_in_every_round_whatever_way_it_comes(traffic: Round) -> None:
    assert set(traffic.ways.tolist()) == {Way.GRPC, Way.HTTP, Way.ZIPKIN}
    for turn in (0, 2):
        for request in range(traffic.shape.requests):
            spans, traces = numbers(decoded(traffic, request, turn))
            own = traffic.spans_of(request)
            first = turn * traffic.shape.spans
            assert sorted(spans) == list(range(first + own.start, first + own.stop))
            assert all(
                trace == turn * traffic.shape.traces + traffic.trace_of[span - first]
                for span, trace in zip(spans, traces, strict=True)
            )


def test_parents_stay_parents_and_time_moves_on_with_the_rounds(traffic: Round) -> None:
    found: list[dict[int, Span]] = []
    for turn in (0, 1):
        spans = [
            Span.FromString(bytes(span))
            for request in range(traffic.shape.requests)
            for _, span in decoded(traffic, request, turn)
        ]
        found.append({int.from_bytes(span.span_id, "big") - 1 - turn * traffic.shape.spans: span for span in spans})
    roots = 0
    for number, span in found[0].items():
        again = found[1][number]
        assert again.start_time_unix_nano - span.start_time_unix_nano == traffic.lasts[0]
        assert again.end_time_unix_nano - span.end_time_unix_nano == traffic.lasts[0]
        assert (again.name, again.kind) == (span.name, span.kind)
        if not span.parent_span_id:
            roots += 1
            continue
        parent = found[0][int.from_bytes(span.parent_span_id, "big") - 1]
        assert parent.trace_id == span.trace_id
        assert again.parent_span_id == found[1][int.from_bytes(span.parent_span_id, "big") - 1].span_id
    assert roots == traffic.shape.traces - 1  # whole traces, and a number to spare for a giant one


def test_a_giant_round_puts_all_that_comes_over_http_into_one_trace(traffic: Round) -> None:
    of = {way: set[int]() for way in Way}
    for request in range(traffic.shape.requests):
        of[Way(int(traffic.ways[request]))].update(numbers(decoded(traffic, request, 1, giant=True))[1])
    assert of[Way.HTTP] == {2 * traffic.shape.traces - 1}
    assert not of[Way.HTTP] & (of[Way.GRPC] | of[Way.ZIPKIN])


def test_a_round_is_read_back_as_it_was_saved(traffic: Round, tmp_path: Path) -> None:
    traffic.save(tmp_path / "round.npz")
    assert Round.load(tmp_path / "round.npz").body(3, 1, START) == traffic.body(3, 1, START)


# --- the account ------------------------------------------------------------------------------------------------------


class Run:
    """What a stage could have done with the first round, at will."""

    def __init__(self, traffic: Round, ledger: Ledger) -> None:
        self.traffic = traffic
        self.ledger = ledger
        self.sink = Sink(ledger)
        self.spans: dict[int, tuple[Envelope, bytes]] = {}
        for request in range(traffic.shape.requests):
            ledger.sent[request] = 10.0
            ledger.answered[request] = 10.5
            for envelope, span in decoded(traffic, request, 0):
                self.spans[int.from_bytes(bytes(span)[20:28], "big") - 1] = envelope, bytes(span)
        self.first = {int(traffic.trace_of[number]): number for number in reversed(range(traffic.shape.spans))}

    def out(self, only: set[int] | None = None, without: int = -1, **more: dict[int, dict[str, object]]) -> None:
        """Let spans come out: each trace's first one with a verdict, others as they are."""
        attributes = dict.fromkeys(self.first.values(), VERDICT) | more.get("attributes", {})
        chosen = [number for number in self.spans if (only is None or number in only) and number != without]
        for start in range(0, len(chosen), 100):
            part = chosen[start : start + 100]
            annotated = []
            for number in part:
                span = self.spans[number][1]
                for key, value in attributes.get(number, {}).items():
                    span = append_attributes(span, encode_attribute(key, value))
                annotated.append(span)
            self.sink.take(encode_request(group([self.spans[one][0] for one in part], annotated)), 20.0)

    def account(self) -> Account:
        return account(self.traffic, self.ledger, WAIT)


@pytest.fixture
def passed(traffic: Round, ledger: Ledger) -> Run:
    return Run(traffic, ledger)


def test_all_is_well(passed: Run, traffic: Round, ledger: Ledger) -> None:
    passed.out()
    assert passed.account() == Account(accepted=traffic.shape.spans, traces=traffic.shape.traces - 1)
    assert ledger.accepted(traffic.span_ends) == ledger.out() == traffic.shape.spans
    begun, taken = latencies(traffic, ledger, WAIT)
    assert len(begun) == traffic.shape.traces - 1
    assert np.unique(begun).tolist() == [10.0]
    assert np.unique(taken).tolist() == [20.0 - 10.0 - WAIT]
    assert np.unique(answers(ledger)).tolist() == [0.5]


def test_one_missing_span_is_seen_and_named(passed: Run) -> None:
    passed.out(without=17)
    assert passed.account().missing == 1
    assert passed.account().first_missing == (17,)


def test_when_a_trace_came_again_is_noted(passed: Run, traffic: Round, ledger: Ledger) -> None:
    passed.out()
    assert not ledger.again.any()
    passed.out(only={17})
    assert np.flatnonzero(ledger.again).tolist() == [traffic.trace_of[17]]
    assert ledger.again[traffic.trace_of[17]] == 20.0


def test_what_was_not_acknowledged_is_not_missing(passed: Run, traffic: Round, ledger: Ledger) -> None:
    own = traffic.spans_of(2)
    ledger.answered[2] = 0.0
    passed.out(only=set(range(traffic.shape.spans)) - set(range(own.start, own.stop)))
    found = passed.account()
    assert found.missing == 0
    assert found.unacknowledged == own.stop - own.start
    assert 0 < found.traces < traffic.shape.traces - 1


def test_a_copy_counts_for_the_stage_unless_an_attempt_got_no_answer(
    passed: Run, traffic: Round, ledger: Ledger
) -> None:
    ledger.unanswered[1] = 1
    passed.out()
    again = {traffic.spans_of(0).start, traffic.spans_of(1).start} | {traffic.spans_of(0).stop - 1}
    passed.out(only=again, attributes={number: {} for number in again})
    assert (passed.account().twice, passed.account().twice_sent) == (2, 1)


def test_a_span_that_nobody_sent_is_foreign(passed: Run, traffic: Round, ledger: Ledger) -> None:
    passed.out()
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    spans.add(trace_id=bytes(16), span_id=bytes(8))
    spans.add(trace_id=b"", span_id=b"")
    unsent = decoded(traffic, 0, 1)
    passed.sink.take(request.SerializeToString(), 21.0)
    passed.sink.take(encode_request(unsent), 21.0)
    assert passed.account().foreign == 2 + len(unsent)


def test_a_trace_without_a_verdict_is_seen(passed: Run) -> None:
    passed.out(attributes={passed.first[3]: {}})
    assert passed.account().unjudged == 1


def test_the_same_verdict_again_is_a_copy_and_another_one_differs(passed: Run) -> None:
    passed.out()
    number = passed.first[5]
    passed.out(only={number})
    assert (passed.account().again, passed.account().differing) == (1, 0)
    passed.out(only={number}, attributes={number: VERDICT | {"tracead.trace.score": 0.75}})
    assert passed.account().differing == 1


def test_a_verdict_on_another_span_differs(passed: Run, traffic: Round) -> None:
    passed.out()
    other = next(n for n, trace in enumerate(traffic.trace_of) if trace == 5 and n != passed.first[5])
    passed.out(only={other}, attributes={other: VERDICT})
    assert passed.account().differing == 1


def test_a_span_marked_in_one_copy_and_not_in_another_differs(passed: Run, traffic: Round) -> None:
    passed.out()
    other = next(n for n, trace in enumerate(traffic.trace_of) if trace == 5 and n != passed.first[5])
    passed.out(only={other}, attributes={other: MARK})
    assert passed.account().differing == 1
    passed.ledger.unanswered[int(np.searchsorted(traffic.span_ends, other, side="right"))] = 1
    assert passed.account().differing == 0  # the sender may have sent two of it


def test_a_trace_with_a_late_span_was_judged_in_part_unless_the_sender_was_late(
    passed: Run, traffic: Round, ledger: Ledger
) -> None:
    trace = 5
    late = next(n for n, own in enumerate(traffic.trace_of) if own == trace and n != passed.first[trace])
    passed.out(attributes={late: LATE})
    assert (passed.account().in_part, passed.account().late) == (1, 0)
    request = int(np.searchsorted(traffic.span_ends, late, side="right"))
    ledger.answered[request] = 10.0 + WAIT + 0.1
    assert (passed.account().in_part, passed.account().late) == (0, 1)
    passed.out(only={late})  # and once more, with its trace
    assert (passed.account().in_part, passed.account().late) == (0, 0)


def test_traces_of_a_giant_round_are_left_out_but_not_their_spans(passed: Run, ledger: Ledger) -> None:
    ledger.giant[0] = 1
    passed.out(without=17)
    assert (passed.account().traces, passed.account().missing) == (0, 1)


def test_another_process_maps_the_same_ledger(passed: Run, traffic: Round, tmp_path: Path) -> None:
    passed.out()
    other = Ledger.open(tmp_path / "ledger")
    assert json.loads((tmp_path / "ledger" / "size.json").read_text())["rounds"] == 3
    assert other.out() == traffic.shape.spans
    assert account(traffic, other, WAIT) == passed.account()
