"""Every span out exactly once, under any order, duplication, timing and limits."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule
from span_builders import ENVELOPES, batch, encoded, trace_id

from otel_tracead.delivery import Delivery
from otel_tracead.traces.assembler import Assembler, Late
from otel_tracead.traces.late import Decision
from otel_tracead.traces.release import ReleasePolicy
from otel_tracead.traces.trace import Trace
from otel_tracead.wire.batch import SpanBatch

_INVALID = 7  # in place of a trace number: spans without a trace id


class AssemblerMachine(RuleBasedStateMachine):
    """Drives an assembler with anything that a processor may do to it, and keeps the books beside it."""

    undecided = Bundle("undecided")

    @initialize(
        wait=st.sampled_from([0.0, 3.0]),
        after_root=st.sampled_from([0.0, 1.0]),
        traces=st.integers(1, 4),
        spans=st.integers(1, 4),
        cache=st.integers(1, 4),
    )
    def begin(self, wait, after_root, traces, spans, cache):
        self.policy = ReleasePolicy(
            wait_duration=wait,
            wait_after_root=after_root,
            num_traces=traces,
            max_spans_per_trace=spans,
            decision_cache=cache,
        )
        self.assembler = Assembler(self.policy)
        self.now = 0.0
        self.sent: Counter[bytes] = Counter()
        self.seen: Counter[bytes] = Counter()
        self.scoring: dict[bytes, Trace] = {}
        self.deliveries: list[tuple[Delivery, list[bytes]]] = []
        self.settled: set[int] = set()

    @rule(spans=st.lists(st.tuples(st.integers(0, _INVALID), st.integers(1, 6), st.integers(0, 6)), max_size=12))
    def add(self, spans):
        encodings = [
            encoded(b"" if trace == _INVALID else trace, number, parent=parent or b"")
            for trace, number, parent in spans
        ]
        self.sent.update(encodings)
        index = len(self.deliveries)
        delivery = Delivery(lambda: self.settled.add(index))
        self.deliveries.append((delivery, encodings))
        added = self.assembler.add(batch(*encodings), delivery, self.now)
        delivery.settle()
        self.take(added.released)
        self.pass_on(added.late)
        assert not any(self.trace_of(span) for span in added.invalid.spans)
        self.out(added.invalid.spans, added.invalid.holds)

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 3.0]))
    def wait(self, seconds):
        self.now += seconds
        deadline = self.assembler.next_deadline()
        released = self.assembler.due(self.now)
        assert bool(released) == (deadline is not None and deadline <= self.now)
        self.take(released)
        after = self.assembler.next_deadline()
        assert after is None or after > self.now

    @rule()
    def drain(self):
        self.take(self.assembler.drain(self.now))
        assert self.assembler.open_spans == self.assembler.open_traces == 0
        assert self.assembler.next_deadline() is None

    @precondition(lambda self: self.scoring)
    @rule(data=st.data(), decision=st.sampled_from(Decision))
    def decide(self, data, decision):
        chosen = data.draw(st.sets(st.sampled_from(sorted(self.scoring)), min_size=1))
        late = self.assembler.decide([(trace, decision) for trace in sorted(chosen)])
        assert set(late.decisions) <= {decision}
        for trace in chosen:
            released = self.scoring.pop(trace)
            self.out(released.spans, released.holds)
        self.pass_on(late)

    def take(self, released):
        for trace in released:
            assert trace.trace_id not in self.scoring
            assert 1 <= len(trace.spans) == len(trace.envelopes) <= self.policy.max_spans_per_trace
            assert {self.trace_of(span) for span in trace.spans} == {trace.trace_id}
            assert trace.released_at == self.now
            self.scoring[trace.trace_id] = trace

    def pass_on(self, late: Late):
        assert len(late.spans) == len(late.envelopes) == len(late.decisions) == len(late.trace_ids)
        assert [self.trace_of(span) for span in late.spans] == late.trace_ids
        assert not set(late.trace_ids) & set(self.scoring)
        self.out(late.spans, late.holds)

    def out(self, spans, holds):
        self.seen.update(spans)
        for delivery, count in holds:
            delivery.settle(count)

    @staticmethod
    def trace_of(span: bytes) -> bytes:
        return next((trace_id(n) for n in range(_INVALID) if trace_id(n) in span), b"")

    @invariant()
    def nothing_is_lost_or_doubled(self):
        if not hasattr(self, "assembler"):
            return
        assert self.seen <= self.sent
        scoring = sum(len(trace.spans) for trace in self.scoring.values())
        inside = self.assembler.open_spans + self.assembler.waiting_spans + scoring
        assert self.sent.total() - self.seen.total() == inside
        assert self.assembler.open_traces <= self.policy.num_traces
        for index, (delivery, spans) in enumerate(self.deliveries):
            assert (index in self.settled) == (delivery.holds == 0)
            if index in self.settled:
                assert Counter(spans) <= self.seen

    def teardown(self):
        if not hasattr(self, "assembler"):
            return
        self.take(self.assembler.drain(self.now))
        late = self.assembler.decide([(trace, Decision.NORMAL) for trace in self.scoring])
        for trace in self.scoring.values():
            self.out(trace.spans, trace.holds)
        self.scoring.clear()
        self.pass_on(late)
        assert self.seen == self.sent
        assert self.settled == set(range(len(self.deliveries)))
        assert self.assembler.open_spans == self.assembler.waiting_spans == 0


AssemblerMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=25, deadline=None, derandomize=True)
TestAssembler = AssemblerMachine.TestCase


class Kept(Delivery):
    """Of a source that keeps what it sent; see `otel_tracead.receivers.kafka`."""

    __slots__ = ("again", "gone")

    def __init__(self, on_settled, *, again: bool) -> None:
        super().__init__(on_settled)
        self.gone, self.again = False, again

    @property
    def withdrawn(self) -> bool:
        return self.gone

    @property
    def replayed(self) -> bool:
        return self.again


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.integers(1, 5), min_size=1, max_size=5), st.booleans()),
        st.tuples(st.just("withdraw"), st.integers(0, 30), st.none()),
        st.tuples(st.just("wait"), st.integers(1, 6), st.none()),
        st.tuples(st.just("decide"), st.none(), st.none()),
    ),
    max_size=30,
)


@given(_STEPS, st.integers(1, 4), st.integers(1, 4))
def test_what_is_let_go_was_withdrawn_or_replayed_whole(steps, num_traces, most):
    """Each span goes out once or is let go once; nothing that is nobody else's is let go; every delivery is settled."""
    assembler = Assembler(ReleasePolicy(wait_duration=5.0, num_traces=num_traces, max_spans_per_trace=most))
    deliveries: list[Kept] = []
    settled: set[int] = set()
    came_in: dict[bytes, Kept] = {}
    out: list[bytes] = []
    scoring: list[Trace] = []
    now = 0.0

    def pass_on(spans, holds) -> None:
        out.extend(spans)
        for delivery, count in holds:
            delivery.settle(count)

    def decide() -> None:
        released, scoring[:] = list(scoring), []
        late = assembler.decide([(trace.trace_id, Decision.NORMAL) for trace in released])
        for trace in released:
            pass_on(trace.spans, trace.holds)
        pass_on(late.spans, late.holds)

    for kind, what, again in steps:
        if kind == "add":
            number = len(deliveries)
            delivery = Kept(lambda number=number: settled.add(number), again=again)
            deliveries.append(delivery)
            spans = [encoded(trace, len(came_in) + index + 1) for index, trace in enumerate(what)]
            came_in.update(dict.fromkeys(spans, delivery))
            added = assembler.add(SpanBatch([(ENVELOPES[0], spans)]), delivery, now)
            delivery.settle()
            scoring += added.released
            pass_on(added.late.spans, added.late.holds)
        elif kind == "withdraw" and deliveries:
            deliveries[what % len(deliveries)].gone = True
        elif kind == "wait":
            now += what
            scoring += assembler.due(now)
        elif kind == "decide":
            decide()
    scoring += assembler.drain(now)
    decide()
    assert len(out) == len(set(out))
    gone = set(came_in) - set(out)
    assert len(gone) == assembler.withdrawn_spans + assembler.replayed_spans
    assert all(came_in[span].gone or came_in[span].again for span in gone)
    assert settled == set(range(len(deliveries)))
    assert assembler.open_spans == assembler.waiting_spans == 0
