from span_builders import ENVELOPES, encoded, trace_id

from otel_tracead.detection.annotate import Mode
from otel_tracead.detection.marking import mark, mark_unscored
from otel_tracead.detection.verdicts import ModelInfo, SpanVerdict, TraceVerdict
from otel_tracead.traces.late import Decision
from otel_tracead.traces.trace import Trace


class Detector:
    """Judges every trace as normal, but fails for the poisonous ones."""

    model = ModelInfo("fake", "1")

    def __init__(self, poison=(), verdict=None):
        self.poison = set(poison)
        self.verdict = verdict or TraceVerdict(verdict_span=0, complete=True)
        self.calls = 0

    def judge(self, traces, *, every_span=False):
        self.calls += 1
        if any(trace.trace_id in self.poison for trace in traces):
            raise ZeroDivisionError("poison")
        return [self.verdict] * len(traces)


def traces(count: int) -> list[Trace]:
    return [
        Trace(trace_id(n), [encoded(n, 2, parent=1, start_time_unix_nano=1), encoded(n, 1)], [ENVELOPES[0]] * 2)
        for n in range(count)
    ]


def test_verdicts_stay_in_order():
    given = traces(5)
    marked, failures = mark(Detector(), given, Mode.ANOMALOUS)
    assert [one.trace for one in marked] == given
    assert {one.decision for one in marked} == {Decision.NORMAL}
    assert (failures.attempts, failures.error) == (0, None)


def test_a_poisonous_trace_is_alone_in_being_unscored():
    given = traces(100)
    detector = Detector(poison={trace_id(3), trace_id(77)})
    marked, failures = mark(detector, given, Mode.ANOMALOUS)
    assert [one.trace for one in marked] == given
    assert [n for n, one in enumerate(marked) if one.verdict.unscored == "error"] == [3, 77]
    assert isinstance(failures.error, ZeroDivisionError)
    assert b"tracead.unscored" in marked[3].spans[1]  # the root, although another span is earlier
    assert b"tracead" not in marked[3].spans[0]


def test_a_dead_detector_is_not_asked_for_every_trace():
    given = traces(500)
    detector = Detector(poison={trace.trace_id for trace in given})
    marked, failures = mark(detector, given, Mode.ANOMALOUS)
    assert [one.verdict.unscored for one in marked] == ["error"] * 500
    assert detector.calls == failures.attempts < 50


def test_too_few_verdicts_are_a_failure():
    class Short(Detector):
        def judge(self, traces, *, every_span=False):
            return super().judge(traces)[1:]

    marked, failures = mark(Short(), traces(2), Mode.ANOMALOUS)
    assert [one.decision for one in marked] == [Decision.UNSCORED] * 2
    assert "0 verdicts on 1 traces" in str(failures.error) or "verdicts on 2 traces" in str(failures.error)


def test_a_verdict_that_cannot_be_written_leaves_the_trace_unscored():
    wrong = TraceVerdict(verdict_span=9, complete=True)
    marked, failures = mark(Detector(verdict=wrong), traces(1), Mode.ANOMALOUS)
    assert marked[0].decision is Decision.UNSCORED
    assert isinstance(failures.error, IndexError)
    odd = TraceVerdict(verdict_span=0, complete=True, anomalous=True, spans={0: SpanVerdict(anomalous=True, score="x")})
    marked, _ = mark(Detector(verdict=odd), traces(1), Mode.ANOMALOUS)
    assert marked[0].decision is Decision.UNSCORED


def test_spans_that_nobody_can_read_go_on_as_they_are():
    trace = Trace(trace_id(1), [b"\x0a\x08tracead.\x80"], [ENVELOPES[0]])
    (marked,), _ = mark(Detector(poison={trace.trace_id}), [trace], Mode.ANOMALOUS)
    assert marked.spans == trace.spans


def test_decisions():
    assert mark_unscored(traces(1), "timeout")[0].decision is Decision.UNSCORED
    anomalous = TraceVerdict(verdict_span=0, complete=True, anomalous=True)
    assert mark(Detector(verdict=anomalous), traces(1), Mode.ROOT)[0][0].decision is Decision.ANOMALOUS
