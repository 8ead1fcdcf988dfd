"""The shop at work: requests arrive, wait for a worker, compute, call each other and leave spans."""

from bisect import bisect
from collections.abc import Sequence
from typing import Final

from otel_tracead.generator.chance import Draws
from otel_tracead.generator.engine import Body, Engine, Pool
from otel_tracead.generator.faults import Fault, Mark, Planned, Work
from otel_tracead.generator.placement import place
from otel_tracead.generator.recorder import OpenTrace, Recorder
from otel_tracead.generator.scenario import Scenario
from otel_tracead.generator.schedule import Schedule
from otel_tracead.generator.semantics import EXHAUSTED, OK, REFUSED, UNAVAILABLE, Kind, Outcome, upwards
from otel_tracead.generator.spans import Origin, SimulatedSpan, SimulatedTrace
from otel_tracead.generator.topology import (
    Call,
    Internal,
    Operation,
    Parallel,
    Publish,
    Topology,
)
from otel_tracead.generator.truth import AffectedTrace

_BACK_OFF_S: Final = 0.01
_CONSUMER_LAG_MS: Final = 20.0


class _Frame:
    """A span under way, from which steps are done."""

    __slots__ = ("opened", "origin", "span_id", "suspect")

    def __init__(self, opened: OpenTrace, origin: Origin, span_id: bytes) -> None:
        self.opened = opened
        self.origin = origin
        self.span_id = span_id
        self.suspect: Fault | None = None  # the next span begun from here carries this fault


class World:
    """One pass of a scenario. `advance` moves it by one event; what ended by then is in `ended` and `finished`."""

    def __init__(self, scenario: Scenario, topology: Topology, affected: list[AffectedTrace]) -> None:
        self._scenario = scenario
        self._engine = Engine()
        self._draws = Draws(scenario.seed)
        self._schedule = Schedule(scenario.faults)
        self._recorder = Recorder(scenario.start_unix_nano, scenario.faults, self._draws, affected)
        self.finished: list[SimulatedTrace] = []
        self.advance = self._engine.step
        self._instances = place(topology, self._engine, scenario.scale, scenario.clock_skew_ms)
        self._locks = {name: Pool(self._engine, 1) for name in self._instances}
        self._engine.start(self._arrivals(topology))

    @property
    def ended(self) -> list[SimulatedSpan]:
        """The spans that ended since the list was last cleared, in that order."""
        return self._recorder.ended

    def _arrivals(self, topology: Topology) -> Body[None]:
        """Requests from outside: a Poisson process whose rate follows the day, by thinning."""
        engine, uniform, scenario = self._engine, self._draws.uniform, self._scenario
        roots = [root for root, _ in topology.roots]
        shares: list[float] = []
        for _, weight in topology.roots:
            shares.append(weight + (shares[-1] if shares else 0.0))
        highest = scenario.highest_rate
        while True:
            gap_s = self._draws.gap_s(highest)
            if engine.now + gap_s >= scenario.duration_s:
                return
            yield gap_s
            if uniform() * highest < scenario.rate(engine.now):
                root = roots[bisect(shares, uniform() * shares[-1])]
                opened = self._recorder.begin(root, engine.now)
                engine.start(self._run_of_its_own(opened, root, b""))

    def _run_of_its_own(self, opened: OpenTrace, operation: Operation, parent: bytes) -> Body[None]:
        yield from self._handle(opened, operation, parent)
        opened.running -= 1
        if not opened.running:
            self.finished.append(opened.trace)

    def _handle(self, opened: OpenTrace, operation: Operation, parent: bytes) -> Body[Outcome]:
        """The side of the service that is called; its span begins when the request arrives, before it waits."""
        instances = self._instances[operation.service.name]
        instance = instances[0] if len(instances) == 1 else instances[int(self._draws.uniform() * len(instances))]
        pool = instance.pool
        traced = operation.service.traced
        started_s = self._engine.now
        frame = _Frame(opened, instance.origin, self._draws.span_id() if traced else parent)
        if pool.full:
            outcome = EXHAUSTED
        else:
            if pool.free:
                pool.free -= 1
            else:
                yield pool
            outcome = yield from self._perform(frame, operation)
            pool.release()
        if traced:
            times_s, ids = (started_s, self._engine.now), (frame.span_id, parent)
            self._recorder.served(opened, operation, instance.origin, ids=ids, times_s=times_s, outcome=outcome)
        return outcome

    def _perform(self, frame: _Frame, operation: Operation) -> Body[Outcome]:
        draws, now_s = self._draws, self._engine.now
        work = Work(operation, draws.work_s(operation.median_ms, operation.sigma), [*draws.plan(operation.steps)])
        if operation.failure_rate and draws.uniform() < operation.failure_rate:
            work.outcome = UNAVAILABLE if operation.transient else REFUSED
            work.plan = []
        for fault in self._schedule.change(work, now_s, draws):
            if fault.kind == "lock_contention":
                yield from self._wait_for_lock(operation, work.lock_s)
                self._recorder.mark(frame.opened, fault, frame.span_id, self._engine.now - now_s)
            elif fault.kind == "slow_service":
                self._recorder.mark(frame.opened, fault, frame.span_id, work.extra_s)
        outcome = yield from self._do(frame, work.plan, work.own_s)
        return outcome if outcome.failed else work.outcome

    def _wait_for_lock(self, operation: Operation, hold_s: float) -> Body[None]:
        lock = self._locks[operation.service.name]
        yield lock
        yield hold_s
        lock.release()

    def _do(self, frame: _Frame, plan: Sequence[Planned], own_s: float) -> Body[Outcome]:
        """Do the steps of a plan, with own work before, between and after them; stop at the first failure."""
        piece_s = own_s / (len(plan) + 1)
        for step in plan:
            yield piece_s
            match step:
                case Call():
                    outcome, _ = yield from self._call(frame, step)
                case Parallel():
                    answers = yield [self._call(frame, call) for call in step.calls if isinstance(call, Call)]
                    outcome = next((outcome for outcome, _ in answers if outcome.failed), OK)
                case Internal():
                    outcome = yield from self._inside(frame, step)
                case Publish():
                    outcome = yield from self._publish(frame, step)
                case Mark():
                    outcome = self._meet(frame, step)
            if outcome.failed:
                return upwards(outcome)
        yield piece_s
        return OK

    def _meet(self, frame: _Frame, mark: Mark) -> Outcome:
        """Note that the trace met a fault; where it shows at the next span below, that span's beginning notes it."""
        if mark.here:
            affected = self._recorder.mark(frame.opened, mark.fault, frame.span_id)
            affected.missing += mark.missing
        if mark.below:
            frame.suspect = mark.fault
        return OK

    def _begin(self, frame: _Frame) -> bytes:
        """Return the id of a new span below the frame."""
        span_id = self._draws.span_id()
        if frame.suspect is not None:
            self._recorder.mark(frame.opened, frame.suspect, span_id)
            frame.suspect = None
        return span_id

    def _inside(self, frame: _Frame, step: Internal) -> Body[Outcome]:
        started_s, draws = self._engine.now, self._draws
        inner = _Frame(frame.opened, frame.origin, self._begin(frame))
        outcome = yield from self._do(inner, draws.plan(step.steps), draws.work_s(step.median_ms, 0.3))
        self._recorder.end(
            frame.opened,
            frame.origin,
            name=step.name,
            kind=Kind.INTERNAL,
            ids=(inner.span_id, frame.span_id),
            times_s=(started_s, self._engine.now),
            attributes=(),
            error=outcome,
        )
        return outcome

    def _publish(self, frame: _Frame, step: Publish) -> Body[Outcome]:
        outcome, span_id = yield from self._call(frame, step.send)
        if not outcome.failed:
            for consumer in step.consumers:
                frame.opened.running += 1
                lag_s = self._draws.work_s(_CONSUMER_LAG_MS, 0.6)
                self._engine.start(self._run_of_its_own(frame.opened, consumer, span_id), lag_s)
        return outcome

    def _call(self, frame: _Frame, call: Call) -> Body[tuple[Outcome, bytes]]:
        """The side of the caller, with its retries; return the last outcome and the last span's id."""
        service, draws = frame.origin.service.name, self._draws
        faults = self._schedule.on_the_way(service, call.operation, self._engine.now, draws)
        slow = [fault for fault in faults if fault.kind == "slow_edge"]
        storms = [fault for fault in faults if fault.kind == "retry_storm"]
        delay_s = sum(fault.severity for fault in slow) / 1000 * (0.75 + 0.5 * draws.uniform()) if slow else 0.0
        lost = max((int(fault.severity) - 1 for fault in storms), default=0)
        attempt = 0
        while True:
            span_id = self._begin(frame)
            for fault in slow:
                self._recorder.mark(frame.opened, fault, span_id, delay_s)
            started_s = self._engine.now
            outcome = yield from self._attempt(frame, call.operation, span_id, delay_s, heard=attempt >= lost)
            attempt += 1
            if attempt <= lost:
                for fault in storms:
                    self._recorder.mark(frame.opened, fault, span_id, self._engine.now - started_s)
            if outcome is not UNAVAILABLE or attempt > max(lost, call.retries):
                return outcome if call.critical else OK, span_id
            yield _BACK_OFF_S * 2 ** min(attempt, 6) * (0.5 + draws.uniform())

    def _attempt(
        self, frame: _Frame, operation: Operation, span_id: bytes, delay_s: float, *, heard: bool
    ) -> Body[Outcome]:
        """One try; unless it is `heard`, the answer gets lost on the way back although the work was done."""
        started_s, draws = self._engine.now, self._draws
        yield draws.network_s() + delay_s
        outcome = yield from self._handle(frame.opened, operation, span_id)
        yield draws.network_s()
        if not heard:
            outcome = UNAVAILABLE
        times_s, ids = (started_s, self._engine.now), (span_id, frame.span_id)
        self._recorder.called(frame.opened, operation, frame.origin, ids=ids, times_s=times_s, outcome=outcome)
        return outcome
