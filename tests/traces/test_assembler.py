import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from span_builders import ENVELOPES, batch, encoded, trace_id

from otel_tracead.delivery import Delivery
from otel_tracead.traces.assembler import Assembler
from otel_tracead.traces.identity import earliest_root, is_root, parsed_trace_id
from otel_tracead.traces.late import Decision, DecisionCache
from otel_tracead.traces.release import ReleasePolicy
from otel_tracead.traces.trace import Release
from otel_tracead.wire.batch import SpanBatch


def policy(**changes: float) -> ReleasePolicy:
    return ReleasePolicy(**{"wait_duration": 10.0, "num_traces": 100, "max_spans_per_trace": 100, **changes})


def add(assembler: Assembler, *spans: bytes, now: float = 0.0):
    delivery = Delivery()
    added = assembler.add(batch(*spans), delivery, now)
    delivery.settle()
    return added, delivery


def test_a_trace_waits_from_its_first_span_and_keeps_the_order_of_arrival():
    assembler = Assembler(policy())
    first, second, third = encoded(1, 2, parent=1), encoded(1, 1), encoded(1, 3, parent=1)
    assert add(assembler, first, now=5.0)[0].released == []
    add(assembler, second, third, now=14.0)
    assert assembler.next_deadline() == 15.0
    assert assembler.due(14.999) == []
    (trace,) = assembler.due(15.0)
    assert trace.spans == [first, second, third]
    assert trace.envelopes == [ENVELOPES[0], ENVELOPES[0], ENVELOPES[1]]
    assert (trace.trace_id, trace.release, trace.released_at) == (trace_id(1), Release.WAIT, 15.0)
    assert assembler.next_deadline() is None
    assert (assembler.open_traces, assembler.open_spans) == (0, 0)


def test_traces_are_told_apart_within_a_request():
    assembler = Assembler(policy())
    add(assembler, encoded(1, 1), encoded(2, 1), encoded(1, 2, parent=1))
    assert {trace.trace_id: len(trace.spans) for trace in assembler.due(10.0)} == {trace_id(1): 2, trace_id(2): 1}


def test_the_root_brings_the_release_forward_but_never_back():
    assembler = Assembler(policy(wait_after_root=2.0))
    add(assembler, encoded(1, 2, parent=1), encoded(2, 2, parent=1), now=0.0)
    add(assembler, encoded(1, 1), now=3.0)
    add(assembler, encoded(1, 4), now=4.0)  # a second root does not start the grace anew
    add(assembler, encoded(2, 1), now=9.5)
    assert assembler.next_deadline() == 5.0
    assert [(t.trace_id, t.release) for t in assembler.due(5.0)] == [(trace_id(1), Release.ROOT)]
    assert [(t.trace_id, t.release) for t in assembler.due(10.0)] == [(trace_id(2), Release.WAIT)]
    assert assembler.next_deadline() is None


def test_roots_mean_nothing_without_wait_after_root():
    assembler = Assembler(policy())
    add(assembler, encoded(1, 1))
    assert assembler.due(9.9) == []


def test_one_trace_too_many_releases_the_oldest():
    assembler = Assembler(policy(num_traces=2))
    add(assembler, encoded(1, 1), encoded(2, 1), now=0.0)
    add(assembler, encoded(1, 2), now=1.0)
    added, _ = add(assembler, encoded(3, 1), now=2.0)
    assert [(t.trace_id, t.release, len(t.spans)) for t in added.released] == [(trace_id(1), Release.LIMIT, 2)]
    assert assembler.open_traces == 2


def test_a_request_may_release_its_own_traces():
    assembler = Assembler(policy(num_traces=1))
    added, delivery = add(assembler, encoded(1, 1), encoded(2, 1), encoded(1, 2))
    assert [t.trace_id for t in added.released] == [trace_id(1)]
    assert assembler.open_spans + assembler.waiting_spans + sum(len(t.spans) for t in added.released) == 3
    assert delivery.holds == 3


def test_a_trace_over_its_limit_is_released_and_the_rest_waits_for_the_verdict_and_then_passes():
    assembler = Assembler(policy(max_spans_per_trace=2))
    added, delivery = add(assembler, *(encoded(1, n) for n in range(1, 6)))
    (trace,) = added.released
    assert (trace.release, len(trace.spans)) == (Release.LIMIT, 2)
    assert (assembler.waiting_spans, delivery.holds) == (3, 2)
    late = assembler.decide([(trace_id(1), Decision.ANOMALOUS)])
    passed = [*trace.spans, *late.spans]  # spans of one envelope stand together
    assert sorted(passed) == [encoded(1, n) for n in range(1, 6)]
    assert late.decisions == [Decision.ANOMALOUS] * 3
    assert late.trace_ids == [trace_id(1)] * 3
    assert assembler.waiting_spans == 0
    more, _ = add(assembler, encoded(1, 6))
    assert more.late.decisions == [Decision.ANOMALOUS]
    assert (more.released, assembler.open_traces) == ([], 0)


def test_a_trace_of_exactly_the_limit_is_whole():
    assembler = Assembler(policy(max_spans_per_trace=2))
    assert add(assembler, encoded(1, 1), encoded(1, 2))[0].released == []


def test_spans_of_a_trace_that_is_being_scored_wait_with_all_their_deliveries():
    assembler = Assembler(policy())
    add(assembler, encoded(1, 1))
    assembler.due(10.0)
    _, second = add(assembler, encoded(1, 2), now=11.0)
    _, third = add(assembler, encoded(1, 3), encoded(1, 4), now=12.0)
    assert (second.holds, third.holds) == (1, 1)
    late = assembler.decide([(trace_id(1), Decision.NORMAL)])
    assert dict(late.holds) == {second: 1, third: 1}
    assert late.spans == [encoded(1, n) for n in (2, 3, 4)]
    assert late.envelopes == [ENVELOPES[0], ENVELOPES[0], ENVELOPES[1]]


def test_decisions_are_forgotten_and_then_the_trace_opens_anew():
    assembler = Assembler(policy(decision_cache=1))
    assembler.decide([(trace_id(1), Decision.NORMAL), (trace_id(2), Decision.NORMAL)])
    added, _ = add(assembler, encoded(1, 1), encoded(2, 1))
    assert added.late.trace_ids == [trace_id(2)]
    assert assembler.open_traces == 1


def test_every_part_of_a_request_has_a_hold_of_its_own():
    settled = []
    delivery = Delivery(lambda: settled.append(True))
    assembler = Assembler(policy())
    assembler.decide([(trace_id(9), Decision.UNSCORED)])
    spans = [
        encoded(1, 1),
        encoded(2, 1),
        encoded(1, 2),
        encoded(9, 1),
        encoded(9, 2),
        encoded(b"", 1),
        encoded(b"", 2),
    ]
    added = assembler.add(batch(*spans), delivery, 0.0)
    assert delivery.holds == 1 + 4
    delivery.settle()
    for part in (added.late, added.invalid, *assembler.due(10.0)):
        assert not settled
        for held, count in part.holds:
            held.settle(count)
    assert settled == [True]


def test_an_empty_request_takes_no_hold():
    delivery = Delivery()
    Assembler(policy()).add(SpanBatch([]), delivery, 0.0)
    assert delivery.holds == 1


@pytest.mark.parametrize(
    "span",
    [
        Span(name="no ids"),
        Span(trace_id=b"\1" * 16),
        Span(span_id=b"\1" * 8),
        Span(trace_id=b"\1" * 15, span_id=b"\1" * 8, name="long enough for the usual layout, but is not"),
        Span(trace_id=b"\1" * 17, span_id=b"\1" * 8, name="long enough for the usual layout, but is not"),
        Span(trace_id=b"\1" * 16, span_id=b"\1" * 7, name="long enough for the usual layout, but is not"),
        Span(trace_id=b"\1" * 16, span_id=b"\1" * 9, name="long enough for the usual layout, but is not"),
        Span(trace_id=bytes(16), span_id=b"\1" * 8),
        Span(trace_id=b"\1" * 16, span_id=bytes(8)),
        Span(),
    ],
)
def test_spans_without_valid_ids_belong_to_no_trace(span):
    assembler = Assembler(policy(wait_after_root=1.0))
    added, _ = add(assembler, span.SerializeToString(), encoded(1, 1))
    assert added.invalid.spans == [span.SerializeToString()]
    assert added.invalid.envelopes == [ENVELOPES[0]]
    assert assembler.open_spans == 1


def test_an_open_trace_takes_no_span_whose_own_id_is_not_valid():
    assembler = Assembler(policy())
    add(assembler, encoded(1, 1))
    zeros = Span(trace_id=trace_id(1), span_id=bytes(8), name="of the usual layout").SerializeToString()
    added, _ = add(assembler, encoded(1, 2), zeros, encoded(1, 3), now=1.0)
    assert added.invalid.spans == [zeros]
    (trace,) = assembler.due(10.0)
    assert trace.spans == [encoded(1, 1), encoded(1, 2), encoded(1, 3)]


def test_a_root_among_neighbours_of_an_open_trace_brings_its_release_forward():
    assembler = Assembler(policy(wait_after_root=2.0))
    add(assembler, encoded(1, 2, parent=1))
    add(assembler, encoded(1, 3, parent=1), encoded(1, 1), encoded(1, 4, parent=1), now=1.0)
    assert [len(trace.spans) for trace in assembler.due(3.0)] == [4]


def test_other_layouts_than_the_usual_one_are_read_too():
    usual = encoded(1, 1, parent=5)
    span = Span.FromString(usual)
    reversed_fields = b"".join(
        Span(**{name: getattr(span, name)}).SerializeToString()
        for name in ("name", "parent_span_id", "span_id", "trace_id")
    )
    assert parsed_trace_id(reversed_fields) == trace_id(1)
    assert not is_root(reversed_fields)
    assembler = Assembler(policy())
    add(assembler, usual, reversed_fields)
    (trace,) = assembler.due(10.0)
    assert trace.spans == [usual, reversed_fields]


@pytest.mark.parametrize(
    ("span", "root"),
    [
        (encoded(1, 1), True),
        (encoded(1, 1, parent=2), False),
        (encoded(1, 1, parent=bytes(8)), True),
        (encoded(1, 1, parent=b"\1\2\3"), True),
        (encoded(1, 1, parent=2, trace_state="a=b"), False),
        (encoded(1, 1, trace_state="a=b"), True),
    ],
)
def test_a_root_has_no_parent(span, root):
    assert is_root(span) is root


def test_the_earliest_root_comes_before_an_earlier_span():
    child = encoded(1, 1, parent=9, start_time_unix_nano=1)
    later, earlier = encoded(1, 2, start_time_unix_nano=30), encoded(1, 3, start_time_unix_nano=20)
    assert earliest_root([child, later, earlier]) == 2
    assert earliest_root([encoded(1, 4, parent=9, start_time_unix_nano=2), child]) == 1


def test_drain_releases_everything_the_oldest_first():
    assembler = Assembler(policy(wait_after_root=1.0))
    add(assembler, encoded(2, 1), encoded(1, 1))
    assert [(t.trace_id, t.release) for t in assembler.drain(3.0)] == [
        (trace_id(2), Release.SHUTDOWN),
        (trace_id(1), Release.SHUTDOWN),
    ]
    assert (assembler.open_traces, assembler.open_spans, assembler.next_deadline()) == (0, 0, None)


def test_the_cache_forgets_what_was_not_asked_for():
    cache = DecisionCache(2)
    cache.put(b"a", Decision.NORMAL)
    cache.put(b"b", Decision.ANOMALOUS)
    assert cache.get(b"a") is Decision.NORMAL
    cache.put(b"c", Decision.UNSCORED)
    assert (cache.get(b"a"), cache.get(b"b"), cache.get(b"c"), len(cache)) == (
        Decision.NORMAL,
        None,
        Decision.UNSCORED,
        2,
    )


@pytest.mark.parametrize(
    "wrong", [{"num_traces": 0}, {"max_spans_per_trace": 0}, {"decision_cache": 0}, {"wait_duration": -1.0}]
)
def test_a_policy_that_holds_nothing_is_refused(wrong):
    with pytest.raises(ValueError):
        policy(**wrong)


class Kept(Delivery):
    """A delivery whose source keeps what it sent."""

    __slots__ = ("again", "companions", "gone")

    def __init__(self, *, gone: bool = False, again: bool = False) -> None:
        super().__init__()
        self.gone, self.again = gone, again
        self.companions: list[Delivery] = []

    @property
    def withdrawn(self) -> bool:
        return self.gone

    @property
    def replayed(self) -> bool:
        return self.again

    def gathered_with(self, earlier: Delivery) -> None:
        self.companions.append(earlier)


def bring(assembler: Assembler, delivery: Delivery, *spans: bytes, now: float = 0.0):
    added = assembler.add(batch(*spans), delivery, now)
    delivery.settle()
    return added


def test_a_trace_of_withdrawn_spans_is_let_go():
    assembler = Assembler(policy())
    first, second = Kept(), Kept()
    bring(assembler, first, encoded(1, 1), encoded(2, 1))
    bring(assembler, second, encoded(1, 2, parent=1))
    first.gone = second.gone = True
    assert assembler.due(10.0) == []
    assert (first.holds, second.holds, assembler.withdrawn_spans, assembler.open_spans) == (0, 0, 3, 0)
    # Nothing is remembered of it: were it to come back, it would be judged.
    back = Kept()
    assert bring(assembler, back, encoded(1, 1), now=11.0).late.spans == []
    assert [len(trace.spans) for trace in assembler.due(21.0)] == [1]


def test_a_trace_is_released_if_one_of_its_spans_was_not_withdrawn():
    assembler = Assembler(policy())
    for gone in (True, False), (False, True):
        deliveries = [Kept(), Kept()]
        for number, delivery in enumerate(deliveries):
            bring(assembler, delivery, encoded(1, number + 1))
        for delivery, withdrawn in zip(deliveries, gone, strict=True):
            delivery.gone = withdrawn
        (trace,) = assembler.drain(1.0)
        assert len(trace.spans) == 2
        assert [delivery.holds for delivery in deliveries] == [1, 1]
        assembler.decide([(trace.trace_id, Decision.NORMAL)])
        assembler = Assembler(policy())


def test_withdrawn_spans_that_come_back_make_the_trace_anew():
    assembler = Assembler(policy())
    before, again = Kept(), Kept()
    bring(assembler, before, encoded(1, 1), encoded(1, 2, parent=1))
    before.gone = True
    added = bring(assembler, again, encoded(1, 1), encoded(1, 2, parent=1), encoded(1, 3, parent=1), now=5.0)
    assert (added.released, before.holds, assembler.open_spans, assembler.withdrawn_spans) == ([], 0, 3, 2)
    (trace,) = assembler.due(15.0)
    assert len(trace.spans) == 3


def test_replayed_spans_only_make_other_traces_whole():
    assembler = Assembler(policy())
    again, new = Kept(again=True), Kept()
    bring(assembler, again, encoded(1, 1), encoded(2, 1), encoded(bytes(16), 1))
    bring(assembler, new, encoded(2, 2, parent=1), now=1.0)
    (trace,) = assembler.due(11.0)
    assert (trace.trace_id, len(trace.spans)) == (trace_id(2), 2)
    assert (again.holds, new.holds, assembler.replayed_spans) == (1, 1, 2)
    # What comes later of the one that was judged elsewhere is late, and by a verdict that nobody here knows.
    late = bring(assembler, new_late := Kept(), encoded(1, 2, parent=1), now=12.0).late
    assert (late.decisions, new_late.holds) == ([Decision.UNSCORED], 1)
    # Replayed once more (the partition came back), what is known here is not handed on again.
    assembler.decide([(trace_id(2), Decision.NORMAL)])
    once_more = Kept(again=True)
    added = bring(assembler, once_more, encoded(1, 1), encoded(2, 1), now=13.0)
    assert (added.late.spans, added.invalid.spans, once_more.holds, assembler.replayed_spans) == ([], [], 0, 4)


def test_deliveries_hear_with_which_others_they_share_a_trace():
    assembler = Assembler(policy())
    first, second, third, alone = Kept(), Kept(), Kept(), Kept()
    bring(assembler, first, encoded(1, 1))
    bring(assembler, second, encoded(1, 2), encoded(2, 1))
    bring(assembler, third, encoded(1, 3), encoded(2, 2))
    bring(assembler, alone, encoded(3, 1))
    assembler.drain(1.0)
    assert (first.companions, alone.companions) == ([], [])
    assert (second.companions, third.companions) == ([first], [first, second])


def test_letting_go_within_one_request_settles_it_only_once_it_is_over():
    assembler = Assembler(policy(num_traces=1))
    settled = []
    delivery = Kept(again=True)
    delivery._on_settled = lambda: settled.append(assembler.replayed_spans)
    bring(assembler, delivery, encoded(1, 1), encoded(2, 1), encoded(3, 1))
    assert (settled, delivery.holds) == ([], 1)
    assembler.drain(1.0)
    assert settled == [3]
