from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from span_builders import ENVELOPES, batch, encoded, trace_id

from otel_tracead.traces.offline import Gatherer, gather
from otel_tracead.traces.trace import Release
from otel_tracead.wire.batch import SpanBatch


def run(gatherer: Gatherer, batches: list[SpanBatch]):
    traces, late = [], []
    for one in batches:
        traces += gatherer.add(one)
        late += gatherer.late
    return traces + list(gatherer.drain()), late


@given(
    st.lists(st.lists(st.integers(0, 9), max_size=8), max_size=12),
    st.integers(1, 6),
    st.integers(1, 5),
)
def test_every_span_is_given_exactly_once(spread, num_traces, longest):
    number = 0
    batches = []
    for ids in spread:
        spans = []
        for one in ids:
            number += 1
            # 0 stands for a span without a trace id; odd ones write their fields in an unusual order
            span = encoded(b"" if one == 0 else one, number)
            spans.append(span[18:] + span[:18] if one % 2 else span)
        batches.append(batch(*spans))
    gatherer = Gatherer(num_traces, longest)
    traces, late = run(gatherer, batches)
    out = [span for trace in traces for span in trace.spans]
    out += [one.span for one in late] + [span for _, span in gatherer.invalid]
    assert Counter(out) == Counter(span for one in batches for _, span in one)
    assert len({trace.trace_id for trace in traces}) == len(traces)
    assert all(len(trace.spans) == len(trace.envelopes) <= longest for trace in traces)


def test_a_trace_ends_when_enough_others_have_come_since_its_newest_span():
    gatherer = Gatherer(num_traces=2)
    assert list(gatherer.add(batch(encoded(1, 1), encoded(2, 2)))) == []
    assert list(gatherer.add(batch(encoded(1, 3)))) == []
    ended = list(gatherer.add(batch(encoded(3, 4))))
    assert [(trace.trace_id, trace.release) for trace in ended] == [(trace_id(2), Release.WAIT)]
    rest = list(gatherer.drain())
    assert [(trace.trace_id, trace.release) for trace in rest] == [
        (trace_id(1), Release.SHUTDOWN),
        (trace_id(3), Release.SHUTDOWN),
    ]


def test_spans_of_an_ended_trace_are_late_and_only_of_the_last_batch():
    gatherer = Gatherer(num_traces=1)
    assert len(list(gatherer.add(batch(encoded(1, 1), encoded(2, 2))))) == 1
    assert list(gatherer.add(batch(encoded(1, 3)))) == []
    assert [(one.trace_id, one.span) for one in gatherer.late] == [(trace_id(1), encoded(1, 3))]
    assert list(gatherer.add(batch(encoded(2, 4)))) == []
    assert gatherer.late == []


def test_a_long_trace_ends_at_its_limit():
    gatherer = Gatherer(max_spans_per_trace=3)
    spans = [encoded(1, number) for number in range(1, 6)]
    (trace,) = gatherer.add(SpanBatch([(ENVELOPES[0], spans)]))
    assert (trace.spans, trace.release) == (spans[:3], Release.LIMIT)
    assert [one.span for one in gatherer.late] == spans[3:]


def test_gather_leaves_out_what_belongs_to_no_trace():
    traces = list(gather([batch(encoded(1, 1), encoded(b"short", 2)), batch(encoded(1, 3))]))
    assert [trace.spans for trace in traces] == [[encoded(1, 1), encoded(1, 3)]]
