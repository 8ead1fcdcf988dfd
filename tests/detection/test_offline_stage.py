from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from span_builders import ENVELOPES, batch, encoded, trace_id

from otel_tracead.detection import offline
from otel_tracead.detection.annotate import Mode
from otel_tracead.detection.offline import OfflineStage
from otel_tracead.detection.verdicts import AnomalyType, Level, ModelInfo, SpanVerdict, TraceVerdict
from otel_tracead.wire.attributes import strip_attributes
from otel_tracead.wire.batch import SpanBatch

ANOMALOUS = TraceVerdict(
    verdict_span=0,
    complete=True,
    anomalous=True,
    score=3.0,
    level=Level.HIGH,
    spans={0: SpanVerdict(anomalous=True, score=3.0, type=AnomalyType.RESPONSE_TIME, level=Level.HIGH)},
)


class Detector:
    """Judges odd traces as anomalous, and fails for the poisonous ones."""

    model = ModelInfo("fake", "1")

    def __init__(self, poison=(), anomalous=(), unknown=()):
        self.poison, self.anomalous, self.unknown = map(set, (poison, anomalous, unknown))

    def judge(self, traces, *, every_span=False):
        if any(trace.trace_id in self.poison for trace in traces):
            raise ZeroDivisionError("poison")
        return [self.verdict(trace.trace_id) for trace in traces]

    def verdict(self, one):
        if one in self.unknown:
            return TraceVerdict(verdict_span=0, complete=True, unscored="unknown_traffic")
        return ANOMALOUS if one in self.anomalous else TraceVerdict(verdict_span=0, complete=True)


def attributes(span: bytes) -> dict[str, object]:
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value"))
        for pair in Span.FromString(span).attributes
        if pair.key.startswith("tracead.")
    }


@given(st.lists(st.lists(st.integers(0, 9), max_size=8), max_size=12), st.integers(1, 6))
def test_every_span_goes_out_exactly_once(spread, num_traces):
    numbers = iter(range(1, 1000))
    batches = [batch(*(encoded(one or b"", next(numbers)) for one in ids)) for ids in spread]
    detector = Detector({trace_id(1)}, {trace_id(2), trace_id(3)}, {trace_id(4)})
    stage = OfflineStage(detector, num_traces=num_traces)
    out = list(stage.annotate(batches))
    assert all(len(one) for one in out)
    assert Counter((envelope, strip_attributes(span)[0]) for one in out for envelope, span in one) == Counter(
        pair for one in batches for pair in one
    )
    assert stage.tally.spans == sum(map(len, batches))
    verdicts = Counter(
        Span.FromString(span).trace_id
        for one in out
        for _, span in one
        if "tracead.trace.anomalous" in attributes(span)
    )
    assert set(verdicts.values()) <= {1}


def test_it_counts_what_came_of_the_spans():
    detector = Detector(poison={trace_id(1)}, anomalous={trace_id(2)}, unknown={trace_id(3)})
    stage = OfflineStage(detector)
    spans = [encoded(n, n + 1) for n in range(1, 5)] + [encoded(b"short", 9)]
    out = {
        Span.FromString(span).trace_id: attributes(span) for one in stage.annotate([batch(*spans)]) for _, span in one
    }
    tally = stage.tally
    assert (tally.spans, tally.traces, tally.anomalous, tally.invalid, tally.late) == (5, 4, 1, 1, 0)
    assert tally.unscored == {"error": 1, "unknown_traffic": 1}
    assert tally.failed == 1
    assert isinstance(tally.error, ZeroDivisionError)
    assert out[trace_id(1)] == {"tracead.unscored": "error"}
    assert out[trace_id(2)]["tracead.anomaly.level"] == "high"
    assert out[trace_id(2)]["tracead.trace.release"] == "shutdown"
    assert out[trace_id(3)] == {"tracead.unscored": "unknown_traffic"}
    assert out[trace_id(4)]["tracead.trace.anomalous"] is False
    assert out[b"short"] == {"tracead.unscored": "invalid_id"}


def test_a_late_span_is_told_what_its_trace_was_found_to_be():
    stage = OfflineStage(Detector(anomalous={trace_id(1)}), num_traces=1)
    out = [
        span
        for one in stage.annotate([batch(encoded(1, 1)), batch(encoded(2, 2)), batch(encoded(1, 3))])
        for _, span in one
    ]
    by_id = {Span.FromString(span).span_id[-1]: attributes(span) for span in out}
    assert by_id[1]["tracead.trace.release"] == "wait"
    assert by_id[3] == {"tracead.late": True, "tracead.late_verdict": "anomalous"}
    assert stage.tally.late == 1


def test_files_stand_each_for_itself():
    stage = OfflineStage(Detector(), num_traces=1)
    first = list(stage.annotate([batch(encoded(1, 1)), batch(encoded(2, 2))]))
    second = list(stage.annotate([batch(encoded(1, 3))]))
    assert (sum(map(len, first)), sum(map(len, second))) == (2, 1)
    assert (stage.tally.traces, stage.tally.late) == (3, 0)


def test_the_mode_is_that_of_run():
    stage = OfflineStage(Detector(), mode=Mode.ALL)
    (out,) = stage.annotate([batch(encoded(1, 1), encoded(1, 2, parent=1))])
    assert [attributes(span)["tracead.anomaly.detected"] for _, span in out] == [False, False]


def test_it_judges_while_it_reads_and_writes_no_giant_batches(monkeypatch):
    monkeypatch.setattr(offline, "_JUDGED_TOGETHER", 10)
    monkeypatch.setattr(offline, "_WRITTEN_TOGETHER", 300)
    read = 0

    def batches():
        nonlocal read
        for number in range(1, 21):
            read += 1
            yield SpanBatch([(ENVELOPES[0], [encoded(number, 100 * number + n) for n in range(10)])])

    stage = OfflineStage(Detector(), num_traces=2)
    out = stage.annotate(batches())
    assert next(out).size() < 600
    assert read < 5
    rest = list(out)
    assert max(one.size() for one in rest) < 600
    assert stage.tally.spans == 200
