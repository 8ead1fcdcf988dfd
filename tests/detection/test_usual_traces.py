"""The memory of usual traces: what is remembered is what came, and what differs in one call is another trace."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from otel_tracead.detection import usual_traces
from otel_tracead.detection.usual_traces import UsualTraces

TRACE = st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 6)), min_size=1, max_size=8).map(
    lambda events: tuple((label, min(caller, row - 1)) for row, (label, caller) in enumerate(events))
)


def keys(traces: list[tuple[tuple[int, int], ...]]) -> np.ndarray:
    lengths = [len(trace) for trace in traces]
    offsets = np.cumsum([0, *lengths])
    label = np.array([label for trace in traces for label, _ in trace], np.int64)
    callers = [
        caller if caller < 0 else first + caller
        for first, trace in zip(offsets[:-1], traces, strict=True)
        for _, caller in trace
    ]
    trace = np.repeat(np.arange(len(traces)), lengths)
    return usual_traces.keys(label, np.array(callers, np.int64), trace, offsets)


@given(st.lists(TRACE, max_size=20))
def test_keys_are_the_same_where_traces_are_wherever_they_stand(traces):
    found = keys(traces).tolist()
    assert found == [int(keys([trace])[0]) for trace in traces]
    assert len(set(found)) == len(set(traces))


def test_what_was_remembered_is_known():
    memory, found = UsualTraces(), keys([((1, -1), (2, 0)), ((1, -1), (2, -1)), ((2, -1), (1, 0)), ((1, -1),)])
    assert not memory.known(found).any()
    memory.remember(found[:2])
    assert memory.known(found).tolist() == [True, True, False, False]


def test_what_is_too_long_or_empty_is_never_known():
    memory = UsualTraces()
    long = keys([((1, -1),) * 1024, ((1, -1),) * 1025])
    empty = usual_traces.keys(np.ones(1, np.int64), np.full(1, -1), np.zeros(1, np.int64), np.array([0, 1, 1]))
    for found in (long, empty):
        memory.remember(found)
    assert memory.known(long).tolist() == [True, False]
    assert not memory.known(empty).any()
    assert len(keys([])) == 0
