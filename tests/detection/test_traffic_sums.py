from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ranked_shop import shop_events, sums_of

from otel_tracead.detection import traffic_sums
from otel_tracead.detection.traffic_sums import NOTHING, Split, TrafficSums
from otel_tracead.generator import Fault
from otel_tracead.traces.encoding import select


def named(sums: TrafficSums) -> dict[str, dict[tuple[object, ...], tuple[int, float]]]:
    """Give all sums by name, so that the order in which names came does not count."""
    names, processes = [*sums.names, None], [*sums.processes, None]
    where = (lambda one: one) if sums.split is Split.TIME else processes.__getitem__
    return {
        kind: {
            (names[a], names[b], names[c], where(own), where(other)): (one.count, round(one.total, 6))
            for (a, b, c, own, other), one in table.items()
        }
        for kind, table in (("times", sums.times), ("steps", sums.steps), ("failures", sums.failures))
    }


@settings(max_examples=8)
@given(st.sampled_from(Split), st.integers(0, 99), st.integers(1, 400))
def test_neither_the_order_of_traces_nor_how_they_are_cut_matters(split, number, together):
    events = shop_events(3, 8.0)
    order = np.random.default_rng(number).permutation(events.traces)
    assert named(sums_of(select(events, order), split, together)) == named(sums_of(events, split))


def test_every_span_is_in_a_sum_and_every_caller_has_an_end():
    events = shop_events(3, 8.0)
    sums = sums_of(events, Split.INSTANCE)
    assert (sums.traces, sums.spans, sums.left_out) == (events.traces, len(events), 0)
    assert (sums.first, sums.last) == (events.start.min(), events.start.max())
    assert sum(one.count for one in sums.times.values()) == len(events)
    assert sum(one.total for one in sums.times.values()) == pytest.approx(np.log10(1 + events.self_us).sum())
    assert sum(one.count for one in sums.failures.values()) == len(events)
    ends = sum(one.count for key, one in sums.steps.items() if key[2] == NOTHING)
    assert ends == len(events)


def test_who_was_called_is_the_process_of_the_span_below():
    sums = sums_of(shop_events(3, 8.0), Split.INSTANCE)
    calls = {key[:2]: key[3:] for key in named(sums)["times"] if key[0].startswith("frontend client") and key[4]}
    own, called = calls["frontend client oteldemo.CartService/GetCart → cart", None]
    assert own[0] == "frontend"
    assert called[0] == "cart"


def test_a_trace_with_orphans_tells_nothing_of_calls():
    events = shop_events(3, 8.0)
    lost = replace(events, orphans=np.ones_like(events.orphans))
    sums = sums_of(lost, Split.TIME)
    assert not sums.steps
    assert sum(one.count for one in sums.times.values()) == len(events)


def test_a_failure_is_counted_where_it_began():
    fault = Fault(kind="error", service="product-catalog", start_s=0, duration_s=8)
    failures = named(sums_of(shop_events(3, 8.0, (fault,)), Split.INSTANCE))["failures"]
    failed = {key[0]: failed for key, (_, failed) in failures.items() if failed}
    assert failed
    assert all(name.startswith("product-catalog server") for name in failed)


def test_blocks_of_time_are_joined_when_there_are_too_many(monkeypatch):
    events = shop_events(1, 120.0)
    whole = sums_of(events, Split.TIME)
    assert len(whole._blocks) > 1  # a minute each
    monkeypatch.setattr(traffic_sums, "_MOST_BLOCKS", 1)
    few = sums_of(events, Split.TIME)
    assert len(few._blocks) == 1
    assert sum(one.count for one in few.times.values()) == len(events)
    assert len(few.times) < len(whole.times)


@pytest.mark.parametrize("bound", ["_MOST_SUMS", "_MOST_NAMES"])
def test_what_finds_no_room_is_left_out_and_counted(bound, monkeypatch):
    monkeypatch.setattr(traffic_sums, bound, 20)
    events = shop_events(3, 8.0)
    sums = sums_of(events, Split.INSTANCE)
    assert len(sums.times if bound == "_MOST_SUMS" else sums.names) == 20
    assert sums.left_out > 0
    assert sum(one.count for one in sums.times.values()) + sums.left_out == len(events)


def test_nothing_added_is_nothing():
    sums = TrafficSums(Split.TIME)
    sums.add(select(shop_events(3, 8.0), np.zeros(0, np.int64)))
    assert (sums.traces, sums.first, sums.times) == (0, None, {})
