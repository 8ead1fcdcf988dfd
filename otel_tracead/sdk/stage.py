"""The stage in an application: one thread gathers, has judged and hands on; the application's own threads only append.

Fails open: whatever goes wrong in scoring, the spans go on without a verdict. What a full memory, a closed stage or the
exporter does not take is counted and lost, as with the SDK's own processors: an application never waits for its traces.
"""

import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Final

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_tracead import metrics
from otel_tracead.component import Kind, Settings
from otel_tracead.daemon import DaemonThread
from otel_tracead.delivery import Delivery
from otel_tracead.detection.annotate import annotate_late, annotate_unscored
from otel_tracead.detection.marking import ERROR, INVALID_ID, TIMEOUT, Failures, Marked, mark, mark_unscored
from otel_tracead.detection.verdicts import Detector
from otel_tracead.log_limit import LogLimiter
from otel_tracead.processors.tracead.config import TraceadConfig
from otel_tracead.processors.tracead.recording import Recorder
from otel_tracead.processors.tracead.scoring import Rules, Tally, counted
from otel_tracead.sdk.annotated import annotated
from otel_tracead.sdk.heads import Heads
from otel_tracead.sdk.local import local_traces
from otel_tracead.telemetry import Telemetry
from otel_tracead.traces.assembler import Added, Assembler, Invalid, Late
from otel_tracead.traces.late import Decision
from otel_tracead.traces.trace import Trace

NAME: Final = "tracead"
"""What the stage's metrics are labelled with."""

_TICK: Final = 0.5  # seconds between two looks at what came: many spans at a time cost less each
_WAITING: Final = 20_000  # spans that nobody has looked at: some 50 MB; only an exporter that hangs lets them grow
_TOGETHER: Final = 16_384  # spans that are judged together, unless one trace alone has more
_EXPORTED: Final = 512  # spans a call of the exporter, as the SDK's batch processor has it
_PATIENCE: Final = 30.0  # seconds after which traces go on without a verdict


class Stage:
    """Scores the spans that it is given and exports them.

    Args:
        exporter: who gets the spans; called from one thread.
        config: of the processor `tracead`.
        load: makes the detector.
        patience: seconds that scoring may take.

    Attributes:
        telemetry: what was counted, under the metrics of the processor and the label `tracead`.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        config: TraceadConfig,
        load: Callable[[], Detector],
        patience: float = _PATIENCE,
    ) -> None:
        self._exporter = exporter
        self._config = config
        self._rules = Rules.of(config)
        self._load = load
        self._patience = patience
        self._log = LogLimiter(_Logger())
        self._closed = False
        self._begin(load())
        if hasattr(os, "register_at_fork"):
            again = weakref.WeakMethod(self._begin_again)
            os.register_at_fork(after_in_child=lambda: method() if (method := again()) is not None else None)

    def add(self, span: ReadableSpan) -> bool:
        """Take *span*, or say no; never waits."""
        if self._closed or len(self._incoming) >= _WAITING:
            self._dropped.add()
            self._log.warning(
                "spans are dropped: " + ("shut down" if self._closed else "the exporter does not keep up")
            )
            return False
        self._incoming.append(span)
        if self._idle:
            self._wake.set()
        return True

    def flush(self, timeout: float) -> bool:
        """Judge and export what was taken, open traces too; says whether that was done within *timeout* seconds."""
        return not self._closed and self._ask(self._flushed, timeout)

    def shutdown(self, timeout: float | None = None) -> None:
        """Do as `flush`, within `shutdown_timeout` or the shorter *timeout* seconds, then shut the exporter down."""
        if self._closed:
            return
        self._closed = True
        timeout = min(self._config.shutdown_timeout, self._config.shutdown_timeout if timeout is None else timeout)
        self._patience = min(self._patience, timeout / 2)
        if not self._ask(self._ended, timeout):
            self._log.warning("not all spans could be exported before the shutdown", seconds=timeout)
        self._exporter.shutdown()

    def _begin(self, detector: Detector | None) -> None:
        self.telemetry = Telemetry()
        self._idle = self._over = False
        self._detector = detector
        self._incoming: deque[ReadableSpan] = deque()
        self._orders: deque[tuple[Callable[[], bool], Future[bool]]] = deque()
        self._wake = threading.Event()
        self._ordered = threading.Event()
        self._heads = Heads()
        self._assembler = Assembler(self._config.release_policy)
        self._scoring = DaemonThread(f"{NAME} scores")
        self._hanging: Future[tuple[list[Marked], Failures]] | None = None
        self._dropped = self.telemetry.counter(metrics.SPANS_DROPPED, NAME)
        self._outgoing = self.telemetry.counter(metrics.PROCESSOR_OUTGOING, NAME)
        self.telemetry.observe(metrics.TRACES_OPEN, lambda: self._assembler.open_traces, NAME)
        self.telemetry.observe(metrics.SPANS_OPEN, lambda: self._assembler.open_spans, NAME)
        self._recorder = None
        if self._config.record is not None:
            settings = Settings(id=NAME, kind=Kind.PROCESSOR, telemetry=self.telemetry, logger=_Logger())
            # Each process has files of its own: several may have begun in the same second.
            self._recorder = Recorder(Path(self._config.record) / str(os.getpid()), settings)
        threading.Thread(target=self._run, name=NAME, daemon=True).start()

    def _begin_again(self) -> None:
        """Begin anew in a forked child: the threads are gone, and what the parent holds the parent exports.

        The child loads a model of its own: nobody promises that ONNX Runtime's survives a fork.
        """
        if not self._closed:
            self._of_the_parent = self._detector  # never freed here: that may wait for threads that are not there
            self._begin(None)

    def _ask(self, order: Callable[[], bool], timeout: float) -> bool:
        done: Future[bool] = Future()
        self._orders.append((order, done))
        self._ordered.set()
        self._wake.set()
        try:
            return done.result(timeout)
        except FutureTimeoutError:
            return False

    def _run(self) -> None:
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))  # as the SDK's own processors do
        while not self._over:
            try:
                self._rest()
                self._step()
                while self._orders:
                    self._obey(*self._orders.popleft())
            except Exception as error:  # noqa: BLE001 (a thread that dies would keep every span that comes)
                self._log.warning("unexpected error, spans may be lost", error=repr(error))

    def _obey(self, order: Callable[[], bool], done: "Future[bool]") -> None:
        try:
            done.set_result(order())
        except Exception:
            done.set_result(False)
            raise

    def _rest(self) -> None:
        """Wait for a tick, or as long as there is nothing to do."""
        self._ordered.wait(_TICK)
        self._ordered.clear()
        if not self._assembler.open_traces:
            self._idle = True
            if not (self._incoming or self._orders):  # looked at after saying so: whoever appends now wakes us
                self._wake.wait()
            self._idle = False
            self._wake.clear()

    def _step(self) -> None:
        spans = [self._incoming.popleft() for _ in range(len(self._incoming))]
        now = time.monotonic()
        added = Added()
        if spans:
            self.telemetry.counter(metrics.PROCESSOR_INCOMING, NAME).add(len(spans))
            batch, strange = self._heads.batch(spans)
            if strange:
                self._failed("spans that cannot be read go on unscored")
                self._export(strange)
            added = self._assembler.add(batch, Delivery(), now)
        self._pass_late(added.late)
        self._pass_invalid(added.invalid)
        self._judge([*added.released, *self._assembler.due(now)])

    def _flushed(self) -> bool:
        self._step()
        self._judge(self._assembler.drain(time.monotonic()))
        return self._exporter.force_flush() is not False

    def _ended(self) -> bool:
        try:
            return self._flushed()
        finally:
            self._over = True
            self._scoring.close()
            if self._recorder is not None:
                self._recorder.close()

    def _judge(self, released: Iterable[Trace]) -> None:
        waiting: list[Trace] = []
        spans = 0
        for trace in released:
            self.telemetry.counter(metrics.TRACES_RELEASED, NAME, trace.release.value).add()
            if waiting and spans + len(trace.spans) > _TOGETHER:
                self._judged(waiting)
                waiting, spans = [], 0
            waiting.append(trace)
            spans += len(trace.spans)
        if waiting:
            self._judged(waiting)

    def _judged(self, traces: Sequence[Trace]) -> None:
        local = [part for trace in traces for part in local_traces(trace)]
        if self._recorder is not None:
            for trace in local:
                self._recorder.offer(trace)
        marked = self._marked(local)
        self._add_up(counted(marked))
        spoofed = sum(head.spoofed for trace in local for head in trace.spans)  # type: ignore[attr-defined]
        self.telemetry.counter(metrics.SPANS_SPOOFED, NAME).add(spoofed)
        decisions: dict[bytes, Decision] = {}
        for one in marked:
            before = decisions.get(one.trace.trace_id, Decision.NORMAL)
            decisions[one.trace.trace_id] = max(before, one.decision, key=_GRAVITY.index)
        kept = [one for one in marked if self._rules.keep(one.trace.trace_id, decisions[one.trace.trace_id])]
        self._count_left_out(marked, kept)
        self._export(list(chain.from_iterable(annotated(one.trace.spans, one.spans) for one in kept)))
        self._pass_late(self._assembler.decide(decisions.items()))

    def _marked(self, traces: Sequence[Trace]) -> list[Marked]:
        """Have *traces* judged in the scoring thread, with patience."""
        if self._hanging is not None and not self._hanging.done():
            self._failed("scoring still hangs, traces go on unscored")
            return mark_unscored(traces, TIMEOUT)
        started = time.perf_counter()
        self._hanging = self._scoring.submit(lambda: self._scored(traces))
        while not wait((self._hanging,), _TICK).done:
            if time.perf_counter() - started > self._patience:  # which a shutdown makes shorter
                self._failed("scoring hangs, traces go on unscored")
                return mark_unscored(traces, TIMEOUT)
        try:
            marked, failures = self._hanging.result()
        except Exception as error:  # noqa: BLE001 (fail open: any)
            self._failed("traces could not be scored and go on unscored", error=repr(error))
            return mark_unscored(traces, ERROR)
        self.telemetry.histogram(metrics.SCORING_DURATION, NAME).observe(time.perf_counter() - started)
        if failures.error is not None:
            self._failed("traces could not be scored and go on unscored", error=repr(failures.error))
        return marked

    def _scored(self, traces: Sequence[Trace]) -> tuple[list[Marked], Failures]:
        if self._detector is None:
            self._detector = self._load()
        return mark(self._detector, traces, self._rules.mode)

    def _pass_late(self, late: Late) -> None:
        if not late.spans:
            return
        self.telemetry.counter(metrics.SPANS_LATE, NAME).add(len(late.spans))
        spans = list(annotated(late.spans, annotate_late(late.spans, late.decisions).spans))
        keeps = [self._rules.keep(*of_span) for of_span in zip(late.trace_ids, late.decisions, strict=True)]
        self.telemetry.counter(metrics.SPANS_SAMPLED_OUT, NAME).add(keeps.count(False))
        self._export([span for span, keep in zip(spans, keeps, strict=True) if keep])

    def _pass_invalid(self, invalid: Invalid) -> None:
        if invalid.spans:
            self.telemetry.counter(metrics.SPANS_INVALID_ID, NAME).add(len(invalid.spans))
            self._export(list(annotated(invalid.spans, annotate_unscored(invalid.spans, INVALID_ID).spans)))

    def _count_left_out(self, marked: Sequence[Marked], kept: Sequence[Marked]) -> None:
        if len(kept) < len(marked):
            spans = sum(len(one.spans) for one in marked) - sum(len(one.spans) for one in kept)
            self.telemetry.counter(metrics.TRACES_SAMPLED_OUT, NAME).add(len(marked) - len(kept))
            self.telemetry.counter(metrics.SPANS_SAMPLED_OUT, NAME).add(spans)

    def _export(self, spans: Sequence[ReadableSpan]) -> None:
        left = iter(spans)
        while batch := list(islice(left, _EXPORTED)):
            reason = "FAILURE"
            with suppress(Exception):
                try:
                    if self._exporter.export(batch) is not SpanExportResult.FAILURE:
                        self._outgoing.add(len(batch))
                        continue
                except Exception as error:
                    reason = repr(error)
                    raise
            self._dropped.add(len(batch))
            self._log.warning("the exporter did not take spans", spans=len(batch), reason=reason)

    def _failed(self, event: str, **fields: str) -> None:
        self.telemetry.counter(metrics.SCORING_FAILURES, NAME).add()
        self._log.warning(event, **fields)

    def _add_up(self, tally: Tally) -> None:
        for (metric, labels), amount in tally.items():
            if amount:
                self.telemetry.counter(metric, NAME, *labels).add(amount)


_GRAVITY: Final = (Decision.NORMAL, Decision.UNSCORED, Decision.ANOMALOUS)


class _Logger:
    """The application's logging, for code that logs an event and its fields."""

    _logger = logging.getLogger("otel_tracead.sdk")

    def warning(self, event: str, **fields: object) -> None:
        words = (f"{key}={value}" for key, value in fields.items())
        self._logger.warning("%s", " ".join((event, *words)))
