"""The assembler: spans come in any order, whole traces go out; each span exactly once.

Pure: no I/O, no clock (time comes in with each call and never runs backwards), no task. Neighbours in a request that are
of one trace cost one dictionary look-up together, however many traces are open.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, takewhile
from operator import sub
from typing import Any, NamedTuple

from otel_tracead.delivery import Delivery
from otel_tracead.traces.identity import START, all_identified, is_root, start_of, trace_id_of, valid_trace_id
from otel_tracead.traces.late import Decision, DecisionCache
from otel_tracead.traces.release import ReleasePolicy
from otel_tracead.traces.trace import Release, Trace
from otel_tracead.wire.batch import Envelope, SpanBatch
from otel_tracead.wire.runs import Runs


@dataclass(slots=True, eq=False)
class Invalid:
    """Spans without valid ids: they belong to no trace and go on alone.

    Attributes:
        spans: each the encoded `Span`.
        envelopes: of each span.
        holds: (delivery, number of holds) that go with the spans.
    """

    spans: list[bytes] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)
    holds: Sequence[tuple[Delivery, int]] = ()


@dataclass(slots=True, eq=False)
class Late:
    """Spans that came after their traces were released, with what the traces were found to be.

    Attributes:
        spans: each the encoded `Span`.
        envelopes: of each span.
        trace_ids: of each span, 16 bytes.
        decisions: on each span's trace.
        holds: (delivery, number of holds) that go with the spans.
    """

    spans: list[bytes] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)
    trace_ids: list[bytes] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    holds: Sequence[tuple[Delivery, int]] = ()


@dataclass(slots=True, eq=False)
class Added:
    """What follows at once from adding spans.

    Attributes:
        released: traces that a limit has released.
        late: spans of decided traces.
        invalid: spans of no trace.
    """

    released: list[Trace] = field(default_factory=list)
    late: Late = field(default_factory=Late)
    invalid: Invalid = field(default_factory=Invalid)


class _Gathering(list[bytes]):
    """What came of one trace so far: its spans, in order of arrival.

    One list and as little else as can be, since this is what there are a hundred thousand of: each further object would
    cost memory, a miss of the processor's cache, and a visit of the garbage collector.

    Attributes:
        deadline: when the trace is released.
        envelope: of the last span.
        turns: the envelopes before, each followed by the number of spans up to its last.
        delivery: the one that the last span came in.
        earlier: the ones before.
    """

    __slots__ = ("deadline", "delivery", "earlier", "envelope", "turns")

    def __init__(self, span: bytes, envelope: Envelope, delivery: Delivery, deadline: float) -> None:
        super().__init__((span,))
        self.deadline = deadline
        self.envelope = envelope
        self.turns: list[Any] | None = None  # two lists would cost more
        self.delivery = delivery
        self.earlier: list[Delivery] | None = None

    def turn(self, envelope: Envelope) -> None:
        """Note that the next span has another envelope."""
        if self.turns is None:
            self.turns = []
        self.turns.append(self.envelope)
        self.turns.append(len(self))
        self.envelope = envelope

    def take(self, span: bytes, envelope: Envelope, delivery: Delivery) -> int:
        """Add a span; gives the number of new holds."""
        if self.envelope is not envelope:
            self.turn(envelope)
        self.append(span)
        if self.delivery is delivery:
            return 0
        self.held_by(delivery)
        return 1

    def held_by(self, delivery: Delivery) -> None:
        """Note that a further delivery brought spans."""
        if self.earlier is None:
            self.earlier = []
        self.earlier.append(self.delivery)
        self.delivery = delivery

    @property
    def envelopes(self) -> Runs[Envelope]:
        """The envelope of each span."""
        if self.turns is None:
            return Runs([self.envelope], [len(self)])
        turns = [*self.turns, self.envelope, len(self)]
        ends = turns[1::2]
        return Runs(turns[::2], list(map(sub, ends, [0, *ends])))

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """Everything that brought spans, in order of arrival."""
        return (*(self.earlier or ()), self.delivery)

    @property
    def holds(self) -> list[tuple[Delivery, int]]:
        """One hold on each delivery."""
        if self.earlier is None:
            return [(self.delivery, 1)]
        return [(delivery, 1) for delivery in self.deliveries]


class _Request(NamedTuple):
    """What `add` was called with, and what follows from it."""

    added: Added
    delivery: Delivery
    now: float


class Assembler:
    """Gathers spans by trace id and releases traces as its policy says.

    A trace id is *open* (its spans are gathered), *undecided* (released, and no verdict yet: its spans wait for
    `decide`), *decided* (its spans are late) or unknown (its first span opens it).

    A trace is let go instead of released when it is not ours to judge: all of its spans were withdrawn (somebody else
    has them and judges it whole), or all were replayed (it was judged and handed on before; what may still come of it
    is late). A trace that has other spans too is released with all that it has.

    Attributes:
        open_spans: how many spans the open traces have.
        waiting_spans: how many spans of undecided traces wait.
        withdrawn_spans: how many spans of withdrawn traces were let go so far.
        replayed_spans: how many replayed spans were let go so far.
    """

    def __init__(self, policy: ReleasePolicy) -> None:
        self._policy = policy
        # Ordered by arrival, which is the order of the deadlines since the wait is the same for all. An OrderedDict
        # finds its oldest at once, where a dict first walks over all that were deleted.
        # By how its usual spans start, so that whoever is found there has ids that are valid.
        self._open: OrderedDict[bytes, _Gathering] = OrderedDict()
        self._rooted: OrderedDict[bytes, float] = OrderedDict()
        self._undecided: dict[bytes, _Gathering | None] = {}
        self._decided = DecisionCache(policy.decision_cache)
        self.open_spans = 0
        self.waiting_spans = 0
        self.withdrawn_spans = 0
        self.replayed_spans = 0
        self._let_go: list[Delivery] = []

    @property
    def open_traces(self) -> int:
        """How many traces are gathered."""
        return len(self._open)

    def add(self, batch: SpanBatch, delivery: Delivery, now: float) -> Added:
        """Take the spans of *batch* at *now*.

        Each part of the request that goes its own way takes a hold of its own on *delivery*: each trace in it, its
        late spans and its invalid ones. The hold that the caller has stays the caller's, to settle after this call.
        """
        added = Added()
        request = _Request(added, delivery, now)
        traces, most = self._open, self._policy.max_spans_per_trace
        quick = all_identified(chain.from_iterable([spans for _, spans in batch.groups]))
        parts = looked_at = 0
        for envelope, spans in batch.groups:
            here: bytes | None = None
            size = len(spans)
            for span in spans:
                start = span[START]
                if start != here:
                    trace = traces.get(start)
                    # What was withdrawn comes again, all of it: what there is of the trace makes room.
                    if (
                        trace is None
                        or not quick
                        or len(trace) + size > most
                        or (trace.delivery is not delivery and trace.delivery.withdrawn)
                    ):
                        parts += self._look_closer(span, envelope, request)
                        looked_at += 1
                        here = None
                        continue
                    here, found = start, trace
                    if trace.envelope is not envelope:
                        trace.turn(envelope)
                    if trace.delivery is not delivery:
                        trace.held_by(delivery)
                        parts += 1
                found.append(span)
            self._watch(spans, now)
        self.open_spans += len(batch) - looked_at
        if added.late.spans:
            added.late.holds = ((delivery, 1),)
            parts += 1
        if added.invalid.spans:
            added.invalid.holds = ((delivery, 1),)
            parts += 1
        delivery.hold(parts)
        self._settle_let_go()
        return added

    def decide(self, decisions: Iterable[tuple[bytes, Decision]]) -> Late:
        """Remember what released traces were found to be, and give the spans that waited to hear it."""
        late = Late()
        holds: list[tuple[Delivery, int]] = []
        for trace_id, decision in decisions:
            waiting = self._undecided.pop(trace_id, None)
            self._decided.put(trace_id, decision)
            if waiting is not None:
                count = len(waiting)
                self.waiting_spans -= count
                late.spans += waiting
                late.envelopes += waiting.envelopes
                late.trace_ids += [trace_id] * count
                late.decisions += [decision] * count
                holds += waiting.holds
        late.holds = holds
        return late

    def due(self, now: float) -> list[Trace]:
        """Release the traces whose time has come at *now*."""
        rooted = list(takewhile(lambda start: self._rooted[start] <= now, self._rooted))
        released = [trace for start in rooted for trace in self._release(start, Release.ROOT, now)]
        waited = list(takewhile(lambda start: self._open[start].deadline <= now, self._open))
        released += [trace for start in waited for trace in self._release(start, Release.WAIT, now)]
        self._settle_let_go()
        return released

    def drain(self, now: float) -> list[Trace]:
        """Release every open trace, the oldest first."""
        released = [trace for start in list(self._open) for trace in self._release(start, Release.SHUTDOWN, now)]
        self._settle_let_go()
        return released

    def waiting(self, trace_id: bytes) -> int:
        """Count the spans that came since a trace was released and wait for what is decided on it."""
        return len(self._undecided.get(trace_id) or ())

    def follow(self, policy: ReleasePolicy) -> None:
        """Go by another policy from now on; traces that are open wait as long as it says, from their first span."""
        longer = policy.wait_duration - self._policy.wait_duration
        for trace in self._open.values():
            trace.deadline += longer
        if policy.wait_after_root > 0:
            longer = policy.wait_after_root - self._policy.wait_after_root
            for start in self._rooted:
                self._rooted[start] += longer
        else:
            self._rooted.clear()
        self._decided.resize(policy.decision_cache)
        self._policy = policy

    def next_deadline(self) -> float | None:
        """Say when `due` has something to release, unless something is added before; None if nothing is open."""
        deadlines = []
        if self._open:
            deadlines.append(next(iter(self._open.values())).deadline)
        if self._rooted:
            deadlines.append(next(iter(self._rooted.values())))
        return min(deadlines, default=None)

    def _look_closer(self, span: bytes, envelope: Envelope, request: _Request) -> int:
        """Take a span of any layout; gives the number of new holds."""
        delivery = request.delivery
        trace_id = valid_trace_id(span)
        start = start_of(trace_id)
        trace = self._open.get(start)
        if (
            trace is None
            or len(trace) >= self._policy.max_spans_per_trace
            or (trace.delivery is not delivery and trace.delivery.withdrawn)
        ):
            parts = self._route(trace_id, span, envelope, request)
        else:
            parts = trace.take(span, envelope, delivery)
            self.open_spans += 1
        if self._policy.wait_after_root > 0:
            self._watch_one(start, span, request.now)
        return parts

    def _route(self, trace_id: bytes, span: bytes, envelope: Envelope, request: _Request) -> int:
        """Find the place of a span that no open trace has room for; gives the number of new holds."""
        added, delivery, now = request
        start = start_of(trace_id)
        if start in self._open:
            added.released += self._release(start, Release.LIMIT, now)
        if delivery.replayed and not self._opens(trace_id):
            self.replayed_spans += 1
            return 0
        if not trace_id:
            added.invalid.spans.append(span)
            added.invalid.envelopes.append(envelope)
            return 0
        if trace_id in self._undecided:
            return self._wait(trace_id, span, envelope, request)
        decision = self._decided.get(trace_id)
        if decision is not None:
            added.late.spans.append(span)
            added.late.envelopes.append(envelope)
            added.late.trace_ids.append(trace_id)
            added.late.decisions.append(decision)
            return 0
        while len(self._open) >= self._policy.num_traces:
            added.released += self._release(next(iter(self._open)), Release.LIMIT, now)
        self._open[start] = _Gathering(span, envelope, delivery, now + self._policy.wait_duration)
        self.open_spans += 1
        return 1

    def _wait(self, trace_id: bytes, span: bytes, envelope: Envelope, request: _Request) -> int:
        """Keep a span of an undecided trace until `decide`; gives the number of new holds."""
        self.waiting_spans += 1
        waiting = self._undecided[trace_id]
        if waiting is None:
            self._undecided[trace_id] = _Gathering(span, envelope, request.delivery, request.now)
            return 1
        return waiting.take(span, envelope, request.delivery)

    def _watch(self, spans: Sequence[bytes], now: float) -> None:
        """Look for roots among spans of the usual layout that were taken; all others `_look_closer` has looked at."""
        if self._policy.wait_after_root > 0:
            for span in spans:
                self._watch_one(span[START], span, now)

    def _watch_one(self, start: bytes, span: bytes, now: float) -> None:
        if start in self._open and start not in self._rooted and is_root(span):
            self._rooted[start] = now + self._policy.wait_after_root

    def _opens(self, trace_id: bytes) -> bool:
        """Say whether a span of *trace_id* would open a trace: it has an id, and nothing is known of it."""
        known = trace_id in self._undecided or self._decided.get(trace_id) is not None
        return bool(trace_id) and not known

    def _release(self, start: bytes, release: Release, now: float) -> tuple[Trace, ...]:
        """Release an open trace; gives nothing where it is let go instead."""
        trace = self._open.pop(start)
        trace_id = trace_id_of(start)
        self._rooted.pop(start, None)
        spans = len(trace)
        self.open_spans -= spans
        if trace.delivery.withdrawn and all(one.withdrawn for one in trace.deliveries):
            self.withdrawn_spans += spans
        elif trace.delivery.replayed and all(one.replayed for one in trace.deliveries):
            self.replayed_spans += spans
            self._decided.put(trace_id, Decision.UNSCORED)
        else:
            self._undecided[trace_id] = None
            if trace.earlier is not None:
                for later in (*trace.earlier[1:], trace.delivery):
                    later.gathered_with(trace.earlier[0])
            return (Trace(trace_id, trace, trace.envelopes, release, trace.holds, now),)
        self._let_go += trace.deliveries
        return ()

    def _settle_let_go(self) -> None:
        """Give back the holds of traces that were let go, once nobody counts on them any more."""
        let_go, self._let_go = self._let_go, []
        for delivery in let_go:
            delivery.settle()
