"""The assembler: spans come in any order, whole traces go out; each span exactly once.

Pure: no I/O, no clock (time comes in with each call and never runs backwards), no task. What it costs a span is
one dictionary look-up and two appends, however many traces are open.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import NamedTuple, cast

from otel_tracead.delivery import Delivery
from otel_tracead.traces.identity import is_root, trace_ids
from otel_tracead.traces.late import Decision, DecisionCache
from otel_tracead.traces.release import ReleasePolicy
from otel_tracead.traces.trace import Release, Trace
from otel_tracead.wire.batch import Envelope, SpanBatch


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


class _Gathering(list[bytes | Envelope]):
    """What came of one trace so far: span, envelope, span, envelope, ...

    One list and no more, since this is what there are a hundred thousand of: each further object would cost memory,
    a miss of the processor's cache a span, and a visit of the garbage collector.

    Attributes:
        deadline: when the trace is released.
        delivery: the one that the last span came in.
        earlier: the ones before.
    """

    __slots__ = ("deadline", "delivery", "earlier")

    def __init__(self, span: bytes, envelope: Envelope, delivery: Delivery, deadline: float) -> None:
        super().__init__((span, envelope))
        self.deadline = deadline
        self.delivery = delivery
        self.earlier: list[Delivery] | None = None

    def held_by(self, delivery: Delivery) -> None:
        """Note that a further delivery brought spans."""
        if self.earlier is None:
            self.earlier = []
        self.earlier.append(self.delivery)
        self.delivery = delivery

    @property
    def spans(self) -> list[bytes]:
        """The spans, in order of arrival."""
        return cast("list[bytes]", self[::2])

    @property
    def envelopes(self) -> list[Envelope]:
        """The envelope of each span."""
        return cast("list[Envelope]", self[1::2])

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """Everything that brought spans, in order of arrival."""
        return (*(self.earlier or ()), self.delivery)

    @property
    def holds(self) -> list[tuple[Delivery, int]]:
        """One hold on each delivery."""
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
        traces, most = self._open, 2 * self._policy.max_spans_per_trace
        watch_roots = self._policy.wait_after_root > 0
        parts = gathered = 0
        for envelope, spans in batch.groups:
            for span, trace_id in zip(spans, trace_ids(spans), strict=True):
                trace = traces.get(trace_id)
                # What was withdrawn comes again, all of it: what there is of the trace makes room.
                if trace is None or len(trace) >= most or (trace.delivery is not delivery and trace.delivery.withdrawn):
                    parts += self._route(trace_id, span, envelope, request)
                else:
                    trace.append(span)
                    trace.append(envelope)
                    gathered += 1
                    if trace.delivery is not delivery:
                        trace.held_by(delivery)
                        parts += 1
                if watch_roots:
                    self._watch(trace_id, span, now)
        self.open_spans += gathered
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
                count = len(waiting) // 2
                self.waiting_spans -= count
                late.spans += waiting.spans
                late.envelopes += waiting.envelopes
                late.trace_ids += [trace_id] * count
                late.decisions += [decision] * count
                holds += waiting.holds
        late.holds = holds
        return late

    def due(self, now: float) -> list[Trace]:
        """Release the traces whose time has come at *now*."""
        rooted = list(takewhile(lambda trace_id: self._rooted[trace_id] <= now, self._rooted))
        released = [trace for trace_id in rooted for trace in self._release(trace_id, Release.ROOT, now)]
        waited = list(takewhile(lambda trace_id: self._open[trace_id].deadline <= now, self._open))
        released += [trace for trace_id in waited for trace in self._release(trace_id, Release.WAIT, now)]
        self._settle_let_go()
        return released

    def drain(self, now: float) -> list[Trace]:
        """Release every open trace, the oldest first."""
        released = [trace for trace_id in list(self._open) for trace in self._release(trace_id, Release.SHUTDOWN, now)]
        self._settle_let_go()
        return released

    def follow(self, policy: ReleasePolicy) -> None:
        """Go by another policy from now on; traces that are open wait as long as it says, from their first span."""
        longer = policy.wait_duration - self._policy.wait_duration
        for trace in self._open.values():
            trace.deadline += longer
        if policy.wait_after_root > 0:
            longer = policy.wait_after_root - self._policy.wait_after_root
            for trace_id in self._rooted:
                self._rooted[trace_id] += longer
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

    def _route(self, trace_id: bytes, span: bytes, envelope: Envelope, request: "_Request") -> int:
        """Find the place of a span that no open trace has room for; gives the number of new holds."""
        added, delivery, now = request
        if trace_id in self._open:
            added.released += self._release(trace_id, Release.LIMIT, now)
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
        self._open[trace_id] = _Gathering(span, envelope, delivery, now + self._policy.wait_duration)
        self.open_spans += 1
        return 1

    def _wait(self, trace_id: bytes, span: bytes, envelope: Envelope, request: "_Request") -> int:
        """Keep a span of an undecided trace until `decide`; gives the number of new holds."""
        self.waiting_spans += 1
        waiting = self._undecided[trace_id]
        if waiting is None:
            self._undecided[trace_id] = _Gathering(span, envelope, request.delivery, request.now)
            return 1
        waiting += (span, envelope)
        if waiting.delivery is request.delivery:
            return 0
        waiting.held_by(request.delivery)
        return 1

    def _watch(self, trace_id: bytes, span: bytes, now: float) -> None:
        if trace_id in self._open and trace_id not in self._rooted and is_root(span):
            self._rooted[trace_id] = now + self._policy.wait_after_root

    def _opens(self, trace_id: bytes) -> bool:
        """Say whether a span of *trace_id* would open a trace: it has an id, and nothing is known of it."""
        known = trace_id in self._undecided or self._decided.get(trace_id) is not None
        return bool(trace_id) and not known

    def _release(self, trace_id: bytes, release: Release, now: float) -> tuple[Trace, ...]:
        """Release an open trace; gives nothing where it is let go instead."""
        trace = self._open.pop(trace_id)
        self._rooted.pop(trace_id, None)
        spans = len(trace) // 2
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
            return (Trace(trace_id, trace.spans, trace.envelopes, release, trace.holds, now),)
        self._let_go += trace.deliveries
        return ()

    def _settle_let_go(self) -> None:
        """Give back the holds of traces that were let go, once nobody counts on them any more."""
        let_go, self._let_go = self._let_go, []
        for delivery in let_go:
            delivery.settle()
