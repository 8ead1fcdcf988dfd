"""Whatever happens in whatever order, crashes too: every acknowledged span is handed on, once, with one verdict.

The real processor with its journal, its fan-out and two exporters, on a clock that jumps and a disk in memory.
"""

from collections import Counter, defaultdict, deque
from contextlib import ExitStack
from types import SimpleNamespace
from typing import NamedTuple
from unittest.mock import patch

import structlog
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from span_builders import batch, encoded
from virtual_time import HELD, HeldJobs, VirtualLoop

from otel_tracead.component import Kind, Settings
from otel_tracead.delivery import Consignment, Delivery
from otel_tracead.detection.verdicts import AnomalyType, Level, ModelInfo, SpanVerdict, TraceVerdict
from otel_tracead.errors import Backpressure
from otel_tracead.processors.tracead.bounds import Bounds
from otel_tracead.processors.tracead.config import TraceadConfig
from otel_tracead.processors.tracead.processor import TraceadProcessor
from otel_tracead.service.outlet import Outlet
from otel_tracead.storage import StorageUnavailable
from otel_tracead.testing import MemoryStorage


def _drop(*_: object) -> dict[str, object]:
    raise structlog.DropEvent


_INVALID = 9  # in place of a trace number: spans without a trace id
_TRACES = (0, 1, 2, 3)
_NORMAL = 0  # the number of a trace that is normal, and that sampling may leave out
_STORAGE = "file_storage"
_QUIET = structlog.wrap_logger(None, processors=[_drop])


class Detector:
    """Gives each trace that it judges a score of its own, on every span: two verdicts are never the same."""

    model = ModelInfo("numbers", "1")

    def __init__(self, numbers: list[frozenset[bytes]], normal: bytes) -> None:
        self._numbers = numbers
        self._normal = normal

    def judge(self, traces, *, every_span=False):
        return [self._verdict(trace) for trace in traces]

    def _verdict(self, trace):
        self._numbers.append(frozenset(trace.spans))
        score = float(len(self._numbers))
        if trace.trace_id == self._normal:
            return TraceVerdict(verdict_span=0, complete=True, score=score)
        found = SpanVerdict(anomalous=True, score=score, type=AnomalyType.STRUCTURAL, level=Level.LOW)
        every = dict.fromkeys(range(len(trace.spans)), found)
        return TraceVerdict(0, True, anomalous=True, score=score, level=Level.LOW, spans=every)


class Exporter:
    """Takes what it has room for, and sends it when the test says so."""

    def __init__(self, *, full: bool) -> None:
        self.full = full
        self.queue: deque[Consignment] = deque()

    def admit(self, spans: int) -> None:
        if self.full:
            raise Backpressure("sending queue is full", retry_after=0.1)

    async def consume(self, consignment: Consignment) -> None:
        self.admit(len(consignment.batch))
        self.queue.append(consignment)


class Exported(NamedTuple):
    """What an exported span says of itself."""

    identity: bytes
    own: tuple[tuple[str, str], ...]
    keys: tuple[str, ...]

    @classmethod
    def of(cls, span: bytes) -> "Exported":
        found = Span.FromString(span)
        own = [(one.key, str(one.value)) for one in found.attributes if one.key.startswith("tracead.")]
        del found.attributes[:]
        return cls(found.SerializeToString(), tuple(own), tuple(key for key, _ in own))


class Survival(RuleBasedStateMachine):
    """One processor after another on one disk."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = ExitStack()
        self.loop: VirtualLoop | None = None
        clock = SimpleNamespace(monotonic=self.now, perf_counter=self.now)
        for module in ("processor", "journal", "judging", "counts"):
            self.patches.enter_context(patch(f"otel_tracead.processors.tracead.{module}.time", clock))
        self.patches.enter_context(patch("otel_tracead.processors.tracead.judging.ScoringThread", HeldJobs))
        self.numbers: list[frozenset[bytes]] = []
        self.sent = 0
        self.asked: list[tuple[object, list[bytes]]] = []
        self.acknowledged: list[bytes] = []
        self.normal = Span.FromString(encoded(_NORMAL, 1)).trace_id
        self.storage = MemoryStorage()
        self.got: list[defaultdict[bytes, list[Exported]]] = [defaultdict(list), defaultdict(list)]
        self.full_at_start = False
        self.most_pending = 40
        self.exactly_once = True
        self.one_verdict = True
        self.trouble = -100.0  # when the disk last was in some

    @initialize(
        traces=st.sampled_from([2, 50]),
        spans=st.sampled_from([3, 50]),
        after_root=st.sampled_from(["0s", "1s"]),
        share=st.sampled_from([0, 100]),
        mode=st.sampled_from(["all", "anomalous"]),
        together=st.sampled_from([1, 16]),
    )
    def begin(self, traces, spans, after_root, share, mode, together):
        self.together = together
        self.sampled = share < 100
        self.config = TraceadConfig.model_validate(
            {
                "wait_duration": "4s",
                "wait_after_root": after_root,
                "shutdown_timeout": "2s",
                "num_traces": traces,
                "max_spans_per_trace": spans,
                "annotate": mode,
                "sampling": {"normal_percentage": share},
                "storage": _STORAGE,
            }
        )
        self.run()

    def now(self) -> float:
        return 0.0 if self.loop is None else self.loop.time()

    def run(self) -> None:
        """Start a process."""
        HELD.clear()
        self.loop = VirtualLoop(self.now())
        self.exporters = [Exporter(full=self.full_at_start), Exporter(full=False)]
        self.outlet = Outlet(self.exporters, _QUIET)
        detector = Detector(self.numbers, self.normal)
        models = SimpleNamespace(stamp=lambda _c: (), digest=lambda _c: "", load=lambda *_: detector)
        self.failures: list[BaseException] = []
        given = Settings(
            id="tracead",
            kind=Kind.PROCESSOR,
            extensions={_STORAGE: self.storage},
            fail=self.failures.append,
            logger=_QUIET,
        )
        bounds = Bounds(pending_spans=self.most_pending, batch_spans=self.together, replay_seconds=0.5)
        self.processor = TraceadProcessor(self.config, given, self.outlet, models, bounds)
        self.loop.do(self.processor.start())
        self.loop.settle()

    @property
    def store(self):
        return self.storage.store(Kind.PROCESSOR, "tracead")

    @rule(
        spans=st.lists(
            st.tuples(st.sampled_from([*_TRACES, _INVALID]), st.booleans(), st.booleans()), min_size=1, max_size=7
        )
    )
    def send(self, spans):
        """Send a request; some spans are roots, and some come with attributes that look like ours."""
        encodings = []
        for trace, root, spoofed in spans:
            self.sent += 1
            attributes = [{"key": "tracead.spoofed", "value": {"int_value": 1}}] if spoofed else []
            of = b"" if trace == _INVALID else trace
            encodings.append(encoded(of, self.sent, parent=b"" if root else 7, attributes=attributes))
        try:
            self.processor.admit(len(encodings))
        except Backpressure:
            return
        consignment = Consignment(batch(*encodings), [(Delivery(), 1)])
        self.asked.append((self.loop.create_task(self.processor.consume(consignment)), encodings))
        self.loop.settle()
        self.note_acknowledged()

    @rule(first=st.sampled_from(_TRACES), second=st.sampled_from(_TRACES), more=st.integers(1, 5))
    def send_overlapping(self, first, second, more):
        """Send one trace in two requests, the second of which has spans of another one."""
        self.send([(first, True, False)])
        self.send([(first, False, False)] * more + [(second, False, False)])

    def note_acknowledged(self) -> None:
        waiting = []
        for task, spans in self.asked:
            if not task.done():
                waiting.append((task, spans))
            elif task.exception() is None:
                self.acknowledged += [Exported.of(span).identity for span in spans]
            else:
                assert isinstance(task.exception(), Backpressure)
        self.asked = waiting

    @rule(seconds=st.sampled_from([0.3, 1.5, 5.0, 40.0]))
    def wait(self, seconds):
        self.loop.pass_by(seconds)
        self.note_acknowledged()

    @rule()
    def judge(self):
        for held in HELD:
            held.do()
        self.loop.settle()

    @rule(which=st.integers(0, 1), count=st.integers(1, 5))
    def export(self, which, count):
        queue = self.exporters[which].queue
        for _ in range(min(count, len(queue))):
            consignment = queue.popleft()
            for _, span in consignment.batch:
                found = Exported.of(span)
                self.got[which][found.identity].append(found)
            self.loop.call_soon(consignment.settle)
        self.loop.settle()

    @precondition(lambda self: any(exporter.queue for exporter in self.exporters))
    @rule(which=st.integers(0, 1))
    def retry_later(self, which):
        self.exporters[which].queue.rotate(-1)

    @rule(seconds=st.sampled_from([2.0, 5.0]), sent=st.booleans())
    def flow(self, seconds, sent):
        """Let traces be released and judged, and reach the exporters, and perhaps the backends."""
        self.wait(seconds)
        self.judge()
        if sent:
            self.export(0, 1)
            self.export(1, 1)

    @rule()
    def export_all(self):
        self.work()

    @rule(what=st.sampled_from(["first is full", "second is full", "disk waits", "disk fails", "all is well"]))
    def disturb(self, what):
        self.note_trouble()
        self.exporters[0].full = what == "first is full"
        self.exporters[1].full = what == "second is full"
        self.store.failure = StorageUnavailable("disk full") if what == "disk fails" else None
        (self.store.gate.clear if what == "disk waits" else self.store.gate.set)()
        self.loop.settle()
        self.note_acknowledged()

    def note_trouble(self) -> None:
        if self.store.failure is not None or not self.store.gate.is_set():
            self.trouble = self.loop.time()

    def end(self) -> None:
        """Whatever comes next, verdicts that the disk did not take are forgotten: spans were not held up for it."""
        self.note_trouble()
        if self.loop.time() - self.trouble < 3.0:
            self.one_verdict = False

    @rule(more=st.integers(0, 8))
    def crash(self, more):
        self.end()
        self.exactly_once = False
        self.storage = self.storage.crash(more)
        self.asked.clear()
        self.loop.die()
        self.run()

    @rule(drained=st.booleans())
    def stop_and_start(self, drained):
        """Stop cleanly; what the exporters do not send stays where it is."""
        if drained:
            self.heal()
        self.stop(drained)
        self.end()
        assert self.processor.undelivered == 0
        self.storage = self.storage.crash(1 << 30)
        self.asked.clear()  # whoever still waits for the disk hears nothing any more
        self.loop.die()
        if drained:
            assert self.stored() == 0
        elif self.stored():
            self.exactly_once = False  # one exporter may have what the other has not
        self.run()

    def heal(self) -> None:
        self.disturb("all is well")
        for exporter in self.exporters:
            exporter.full = False
        for _ in range(8):
            self.loop.pass_by(5.0)
            self.note_acknowledged()
            self.work()

    def work(self) -> None:
        self.judge()
        for which in (0, 1):
            self.export(which, 1 << 30)

    def stop(self, drained: bool) -> None:
        stopping = self.loop.create_task(self.processor.shutdown())
        for _ in range(60):
            if drained:
                self.work()
            self.loop.pass_by(0.2)
            self.note_acknowledged()
        assert stopping.done()
        stopping.result()
        if drained:
            self.work()
        self.loop.do(self.outlet.drain(1.0))
        self.loop.settle()
        self.note_acknowledged()

    def stored(self) -> int:
        return len(self.store.records["requests"])

    @invariant()
    def one_verdict_for_each_span(self):
        if self.loop is None or not hasattr(self, "config"):
            return
        assert self.failures == []
        assert self.loop.troubles == []
        for got in self.got:
            for identity, copies in got.items():
                assert len(set(copies[0].keys)) == len(copies[0].keys), "an attribute stands twice"
                if not self.one_verdict:
                    continue
                assert len(set(copies)) == 1, "a span was exported with different attributes"
                assert set(copies) == set(self.got[0].get(identity, copies)), "exporters were given different verdicts"

    def teardown(self) -> None:
        try:
            if hasattr(self, "config"):
                self.settle_everything()
        finally:
            if self.loop is not None:
                self.loop.die()
            self.patches.close()

    def settle_everything(self) -> None:
        self.heal()
        self.one_verdict_for_each_span()
        assert self.asked == []
        assert self.stored() == 0, "requests stay in the journal"
        for got in self.got:
            missing = [one for one in self.acknowledged if one not in got]
            if self.sampled:
                missing = [one for one in missing if Span.FromString(one).trace_id != self.normal]
            assert missing == [], "acknowledged spans were not exported"
            if self.exactly_once:
                assert Counter({one: len(copies) for one, copies in got.items()}) <= Counter(dict.fromkeys(got, 1))
        if self.one_verdict:
            self.no_trace_was_judged_in_halves()

    def no_trace_was_judged_in_halves(self) -> None:
        """Of each trace one verdict left the house; whoever has another one was late, and says so."""
        verdicts = defaultdict(set)
        for copies in self.got[0].values():
            own = dict(copies[0].own)
            if "tracead.trace.score" in own:
                verdicts[Span.FromString(copies[0].identity).trace_id].add(own["tracead.trace.score"])
        assert all(len(scores) == 1 for scores in verdicts.values())


TestSurvival = Survival.TestCase
TestSurvival.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
