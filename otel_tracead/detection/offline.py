"""The stage without a clock: stored batches in, annotated batches out, every span exactly once.

Between files and the detector, for `otel-tracead score`. Judging and annotating is the service's own (`marking`), so
the verdicts are those of `run`. What has no meaning without a clock is this: `tracead.trace.release` is `wait` where a
trace ended because others had come since its newest span, `limit` where it was too long, and `shutdown` where it ended
with its file, which is how most traces of a file end.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from otel_tracead.detection.annotate import Mode, annotate_late, annotate_unscored
from otel_tracead.detection.marking import ERROR, INVALID_ID, Marked, mark
from otel_tracead.detection.verdicts import Detector
from otel_tracead.traces.late import Decision, DecisionCache
from otel_tracead.traces.offline import Gatherer, LateSpan
from otel_tracead.traces.trace import Trace
from otel_tracead.wire.batch import Envelope, SpanBatch, group

_JUDGED_TOGETHER: Final = 8192
"""Spans: enough to fill the scorer's batches, few enough to stay in the processor's cache."""

_WRITTEN_TOGETHER: Final = 256 * 1024
"""Bytes of spans in a batch: a line of JSON stays below the 1 MiB at which the Collector's readers cut."""

_REMEMBERED: Final = 100_000


@dataclass(slots=True)
class OfflineTally:
    """What came of the spans so far.

    Attributes:
        spans: that went out.
        traces: that were judged, or could not be.
        anomalous: traces that were marked.
        unscored: traces without a verdict, by reason.
        invalid: spans without valid ids.
        late: spans that came when their trace had ended.
        error: why scoring failed, if it did.
    """

    spans: int = 0
    traces: int = 0
    anomalous: int = 0
    unscored: Counter[str] = field(default_factory=Counter)
    invalid: int = 0
    late: int = 0
    error: Exception | None = None

    @property
    def failed(self) -> int:
        """How many traces have no verdict because scoring failed."""
        return self.unscored[ERROR]


class OfflineStage:
    """Annotates files of spans, one after the other; each file stands for itself.

    Args:
        detector: who judges.
        mode: which spans are annotated.
        num_traces: open traces held; see `Gatherer`.

    Attributes:
        tally: what came of all spans so far.
    """

    def __init__(self, detector: Detector, *, mode: Mode = Mode.ANOMALOUS, num_traces: int = 50_000) -> None:
        self.tally = OfflineTally()
        self._detector = detector
        self._mode = mode
        self._num_traces = num_traces

    def annotate(self, batches: Iterable[SpanBatch]) -> Iterator[SpanBatch]:
        """Give the spans of one file, annotated; whatever the detector does, each goes out exactly once."""
        gatherer = Gatherer(self._num_traces)
        decisions = DecisionCache(max(_REMEMBERED, self._num_traces))
        waiting: list[Trace] = []
        spans = 0
        for batch in batches:
            for trace in gatherer.add(batch):
                waiting.append(trace)
                spans += len(trace.spans)
                if spans >= _JUDGED_TOGETHER:
                    yield from self._judged(waiting, decisions)
                    waiting, spans = [], 0
            if gatherer.late:
                yield from self._judged(waiting, decisions)
                waiting, spans = [], 0
                yield self._late(gatherer.late, decisions)
            if gatherer.invalid:
                yield self._invalid(gatherer.invalid)
                gatherer.invalid.clear()
        for trace in gatherer.drain():
            waiting.append(trace)
            spans += len(trace.spans)
            if spans >= _JUDGED_TOGETHER:
                yield from self._judged(waiting, decisions)
                waiting, spans = [], 0
        yield from self._judged(waiting, decisions)

    def _judged(self, traces: Sequence[Trace], decisions: DecisionCache) -> Iterator[SpanBatch]:
        marked, failures = mark(self._detector, traces, self._mode)
        tally = self.tally
        tally.error = tally.error or failures.error
        tally.traces += len(marked)
        for one in marked:
            decisions.put(one.trace.trace_id, one.decision)
            tally.anomalous += one.decision is Decision.ANOMALOUS
            if one.verdict.unscored is not None:
                tally.unscored[one.verdict.unscored] += 1
        yield from self._written(marked)

    def _written(self, marked: Sequence[Marked]) -> Iterator[SpanBatch]:
        spans: list[bytes] = []
        envelopes: list[Envelope] = []
        size = 0
        for one in marked:
            spans += one.spans
            envelopes += one.trace.envelopes
            size += sum(map(len, one.spans))
            if size >= _WRITTEN_TOGETHER:
                yield from self._divided(envelopes, spans, size)
                spans, envelopes, size = [], [], 0
        yield from self._divided(envelopes, spans, size)

    def _divided(self, envelopes: Sequence[Envelope], spans: Sequence[bytes], size: int) -> Iterator[SpanBatch]:
        """Cut spans of *size* bytes into batches; only a long trace needs more than one."""
        parts = max(1, size // _WRITTEN_TOGETHER)
        most = max(1, -(-len(spans) // parts))
        for first in range(0, len(spans), most):
            yield self._counted(envelopes[first : first + most], spans[first : first + most])

    def _late(self, late: Sequence[LateSpan], decisions: DecisionCache) -> SpanBatch:
        known = [decisions.get(one.trace_id) or Decision.UNSCORED for one in late]
        self.tally.late += len(late)
        return self._counted([one.envelope for one in late], annotate_late([one.span for one in late], known).spans)

    def _invalid(self, invalid: Sequence[tuple[Envelope, bytes]]) -> SpanBatch:
        self.tally.invalid += len(invalid)
        spans = annotate_unscored([span for _, span in invalid], INVALID_ID).spans
        return self._counted([envelope for envelope, _ in invalid], spans)

    def _counted(self, envelopes: Sequence[Envelope], spans: Sequence[bytes]) -> SpanBatch:
        self.tally.spans += len(spans)
        return group(envelopes, spans)
