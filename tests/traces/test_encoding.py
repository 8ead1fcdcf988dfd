"""Traces become arrays, the same whatever the encoder saw before; arrays are joined and chosen from."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from span_builders import encoded, span_id, trace_id

from otel_tracead.traces import encoding
from otel_tracead.traces.encoding import Encoder, Events, concatenate, select
from otel_tracead.traces.labels import CALLEE, LabelTemplate
from otel_tracead.traces.sequences import Order
from otel_tracead.traces.trace import Trace
from otel_tracead.wire.batch import Envelope

SERVICES = [
    Envelope(b"", b"", {"service.name": name, "service.instance.id": instance})
    for name, instance in (("front", "front-1"), ("cart", "cart-1"), ("cart", "cart-2"), ("pay", "1"))
]
NAMES = ("GET /a", "GET /b/123", "work", "POST")

span = st.tuples(
    st.integers(0, 8),
    st.sampled_from(NAMES),
    st.integers(0, 5),
    st.integers(0, 30),
    st.integers(0, 20),
    st.integers(0, 3),
)
forests = st.lists(st.lists(span, min_size=1, max_size=6), min_size=1, max_size=5)


def made(forest: list[list[tuple[int, str, int, int, int, int]]], first: int = 0) -> list[Trace]:
    traces = []
    for number, rows in enumerate(forest, first):
        spans = [
            encoded(
                number,
                row + 1,
                parent or b"",
                name=name,
                kind=kind,
                start_time_unix_nano=10**9 + start * 1000,
                end_time_unix_nano=10**9 + (start + length) * 1000,
            )
            for row, (parent, name, kind, start, length, _) in enumerate(rows)
        ]
        traces.append(Trace(trace_id(number), spans, [SERVICES[row[-1]] for row in rows]))
    return traces


def plain(events: Events) -> list[list[tuple]]:
    """Everything that is known of the events, in words."""
    out = []
    for trace in range(events.traces):
        first, last = events.offsets[trace : trace + 2].tolist()
        rows = [
            (
                int(events.span[row]),
                events.labels[events.label[row]],
                events.self_us[row],
                events.duration_us[row],
                int(events.start[row]),
                int(events.parent[row]) - first if events.parent[row] >= 0 else None,
                events.services[events.service[row]],
                events.instances[events.instance[row]],
                events.services[events.callee[row]] if events.callee[row] >= 0 else None,
            )
            for row in range(first, last)
        ]
        out.append([rows, int(events.roots[trace]), int(events.orphans[trace]), int(events.root[trace])])
    return out


def same(one: Events, other: Events) -> None:
    for name in ("offsets", "span", "label", "self_us", "parent", "service", "instance", "callee", "root", "orphans"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (one.labels, one.services, one.instances) == (other.labels, other.services, other.instances)


def test_what_is_known_of_a_trace():
    rows = [(0, "GET /a", 2, 0, 30, 0), (1, "POST", 3, 2, 20, 0), (2, "work", 2, 5, 10, 1), (99, "work", 1, 1, 1, 3)]
    events = Encoder(LabelTemplate()).encode(made([rows]))
    assert plain(events) == [
        [
            [
                (0, "front server GET /a", 10.0, 30.0, 10**9, None, "front", "front-1", None),
                (1, f"front client POST{CALLEE}cart", 10.0, 20.0, 10**9 + 2000, 0, "front", "front-1", "cart"),
                (2, "cart server work", 10.0, 10.0, 10**9 + 5000, 1, "cart", "cart-1", None),
                (3, "pay work", 1.0, 1.0, 10**9 + 1000, None, "pay", "1", None),
            ],
            1,
            1,
            0,
        ]
    ]
    assert events.labels == sorted(events.labels)
    assert len(events) == 4
    assert events.trace.tolist() == [0] * 4
    without = Encoder(LabelTemplate(callee=False)).encode(made([rows]))
    assert "front client POST" in without.labels


@given(forests, forests, st.sampled_from(Order))
def test_what_came_before_changes_nothing(before, forest, order):
    traces = made(forest)
    fresh = Encoder(LabelTemplate(), order).encode(traces)
    used = Encoder(LabelTemplate(), order)
    used.encode(made(before, first=50))
    same(used.encode(traces), fresh)
    same(used.encode(traces), fresh)


@given(forests, st.randoms(use_true_random=False))
def test_neither_the_order_of_traces_nor_of_spans_changes_anything(forest, chance):
    traces = made(forest)
    found = plain(Encoder(LabelTemplate()).encode(traces))
    places = chance.sample(range(len(traces)), len(traces))
    shuffled = []
    for place in places:
        trace = traces[place]
        spans = chance.sample(range(len(trace.spans)), len(trace.spans))
        shuffled.append(Trace(trace.trace_id, [trace.spans[s] for s in spans], [trace.envelopes[s] for s in spans]))
    again = plain(Encoder(LabelTemplate()).encode(shuffled))
    for place, (rows, *counts) in zip(places, again, strict=True):
        wanted, *wanted_counts = found[place]
        assert [row[1:] for row in rows] == [row[1:] for row in wanted]
        assert counts[:2] == wanted_counts[:2]


@given(forests, forests)
def test_joined_events_are_those_of_all_traces(one, other):
    both = made(one) + made(other, first=50)
    encoder = Encoder(LabelTemplate())
    parts = [encoder.encode(made(one)), Encoder(LabelTemplate()).encode(made(other, first=50))]
    assert plain(concatenate(parts)) == plain(encoder.encode(both))


@given(forests, st.data())
def test_chosen_events_are_those_of_the_chosen_traces(forest, data):
    traces = made(forest)
    events = Encoder(LabelTemplate()).encode(traces)
    chosen = data.draw(st.lists(st.sampled_from(range(len(traces))), max_size=6))
    found = select(events, np.array(chosen, np.int64))
    assert plain(found) == [plain(events)[trace] for trace in chosen]
    everything = np.arange(len(traces))
    same(select(events, everything), events)
    parts = [select(events, everything[:1]), select(events, everything[1:])]
    assert plain(concatenate(parts)) == plain(events)


def test_nothing():
    events = Encoder(LabelTemplate()).encode([])
    assert (len(events), events.traces, plain(events)) == (0, 0, [])
    assert plain(concatenate([])) == []
    assert plain(concatenate([events, events])) == []
    assert plain(select(events, np.zeros(0, np.int64))) == []


def test_memory_is_bounded_and_forgetting_changes_nothing(monkeypatch):
    monkeypatch.setattr(encoding, "_MAX_NAMES", 20)
    encoder = Encoder(LabelTemplate())
    chance = random.Random(1)
    for number in range(30):
        names = ["".join(chance.choices("abcdefgh", k=6)) for _ in range(5)]
        trace = made([[(0, name, 2, at, 5, at % 4) for at, name in enumerate(names)]], first=number)
        same(encoder.encode(trace), Encoder(LabelTemplate()).encode(trace))
        assert len(encoder._codes) <= 25


def test_spans_are_named_under_envelopes():
    trace = Trace(trace_id(1), [Span(span_id=span_id(1)).SerializeToString()], ["front"])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="'front'"):
        Encoder(LabelTemplate()).encode([trace])
