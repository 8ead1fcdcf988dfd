"""Sequences against a plain oracle, and what must hold whatever comes."""

import random
import time
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sequence_oracle import Row, columns, depth, depth_first, link

from otel_tracead.traces import parents
from otel_tracead.traces.parents import Spans, depths
from otel_tracead.traces.sequences import Order, arrange

US = 1000


def rows(traces: int = 3, clocks: int = 3) -> st.SearchStrategy[list[Row]]:
    row = st.builds(
        lambda trace, span_id, parent_id, start, length, server, clock, label: Row(
            trace, span_id, parent_id, start * US, (start + length) * US, server, clock, label
        ),
        st.integers(0, traces - 1),
        st.integers(1, 8),
        st.integers(0, 9),
        st.integers(0, 20),
        st.integers(-2, 15),
        st.booleans(),
        st.integers(0, clocks - 1),
        st.integers(0, 3),
    )
    twice = st.builds(
        lambda one, again: one + [Row(**_fields(row)) for row in again if row in one],
        st.lists(row, max_size=14),
        st.lists(row, max_size=2),
    )
    return twice.flatmap(
        lambda one: (
            st.lists(st.sampled_from(one), max_size=2).map(lambda again: one + [Row(**_fields(row)) for row in again])
            if one
            else st.just(one)
        )
    ).map(lambda one: sorted(one, key=lambda row: row.trace))


def _fields(row: Row) -> dict[str, int]:
    return {
        name: getattr(row, name)
        for name in ("trace", "span_id", "parent_id", "start", "end", "server", "clock", "label")
    }


def forest() -> st.SearchStrategy[list[Row]]:
    """A tree of one trace with different ids, whose siblings in another process are alone."""

    @st.composite
    def build(draw: st.DrawFn) -> list[Row]:
        out: list[Row] = []
        for number in range(1, draw(st.integers(1, 10)) + 1):
            parent = draw(st.sampled_from(out)) if out else None
            remote = parent is not None and draw(st.booleans()) and all(row.parent_id != parent.span_id for row in out)
            if (
                parent
                and not remote
                and any(row.parent_id == parent.span_id and row.clock != parent.clock for row in out)
            ):
                remote, parent = False, out[0]
                if any(row.parent_id == parent.span_id and row.clock != parent.clock for row in out):
                    continue
            clock = number if remote else parent.clock if parent else 0
            start, length = draw(st.integers(0, 50)), draw(st.integers(0, 30))
            out.append(
                Row(
                    0,
                    number,
                    parent.span_id if parent else 0,
                    start * US,
                    (start + length) * US,
                    remote,
                    clock,
                    draw(st.integers(0, 5)),
                )
            )
        return out

    return build()


def check_against_oracle(given_rows: list[Row], order: Order) -> None:
    traces = 3
    found = arrange(columns(given_rows), traces, order)
    sequence = [given_rows[index] for index in found.order.tolist()]
    for trace in range(traces):
        ours = [row for row in given_rows if row.trace == trace]
        link(ours)
        first, last = found.offsets[trace : trace + 2]
        tops = [row for row in ours if row.parent is None and not row.repeated]
        kept = [row for row in ours if not row.repeated]
        wanted = (
            depth_first(tops)
            if order is Order.TREE
            else sorted(kept, key=lambda row: (row.start, depth(row), row.label, row.span_id))
        )
        assert [row.key for row in sequence[first:last]] == [row.key for row in wanted]
        assert found.roots[trace] == sum(row.parent_id == 0 for row in tops)
        assert found.orphans[trace] == sum(row.parent_id != 0 for row in tops)
        if kept:
            verdict_span = min(kept, key=lambda row: (row not in tops or row.parent_id != 0, row.start))
            assert given_rows[found.root[trace]].start == verdict_span.start
        else:
            assert found.root[trace] == -1
    height = depths(found.parent)
    for index, row in enumerate(given_rows):
        parent = found.parent[index]
        assert (given_rows[parent] if parent >= 0 else None) is row.parent
        assert found.duration[index] == row.duration
        assert found.self_time[index] == row.self_time
        assert height[index] == depth(row)
        assert (given_rows[found.callee[index]] if found.callee[index] >= 0 else None) is row.callee


@settings(max_examples=100)
@given(rows())
def test_tree_order_is_the_oracles(given_rows):
    check_against_oracle(given_rows, Order.TREE)


@settings(max_examples=40)
@given(rows())
def test_order_by_start_is_the_oracles(given_rows):
    check_against_oracle(given_rows, Order.START)


@given(rows())
def test_parents_are_looked_up_in_a_table_as_among_sorted_ids(given_rows):
    with mock.patch.object(parents, "_FEW", 1):
        check_against_oracle(given_rows, Order.TREE)


@given(rows())
def test_what_holds_whatever_comes(given_rows):
    found = arrange(columns(given_rows), 3)
    repeated = [index for index in range(len(given_rows)) if index not in set(found.order.tolist())]
    assert sorted([*found.order.tolist(), *repeated]) == list(range(len(given_rows)))
    assert (found.self_time >= 0).all()
    assert (found.self_time <= found.duration).all()
    height = depths(found.parent)
    place = {span: position for position, span in enumerate(found.order.tolist())}
    size = dict.fromkeys(place, 1)
    for span in reversed(found.order.tolist()):
        parent = int(found.parent[span])
        if parent >= 0:
            assert place[parent] < place[span]
            size[parent] += size[span]
    for span, position in place.items():  # what is below a span stands right behind it
        below = found.order[position + 1 : position + size[span]].tolist()
        assert all(height[one] > height[span] for one in below)
        after = position + size[span]
        if after < len(found.order) and given_rows[found.order[after]].trace == given_rows[span].trace:
            assert height[found.order[after]] <= height[span]


@given(rows(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_means_nothing(given_rows, chance):
    # A label that tells kinds apart, as the default template's does.
    for row in given_rows:
        row.label = row.label * 2 + row.server
    shuffled = sorted(chance.sample(given_rows, len(given_rows)), key=lambda row: row.trace)
    one, other = arrange(columns(given_rows), 3), arrange(columns(shuffled), 3)
    for first, second in zip(one.order.tolist(), other.order.tolist(), strict=True):
        assert given_rows[first].content == shuffled[second].content
        assert one.self_time[first] == other.self_time[second]
    assert [given_rows[index].key for index in one.root if index >= 0] == [
        shuffled[index].key for index in other.root if index >= 0
    ]


@given(forest(), st.integers(0, 10), st.integers(-200, 200))
def test_the_skew_of_one_clock_changes_nothing(tree, clock, skew):
    before = arrange(columns(tree), 1)
    for row in tree:
        if row.clock == clock:
            row.start, row.end = row.start + skew * US, row.end + skew * US
    after = arrange(columns(tree), 1)
    for name in ("order", "self_time", "parent", "callee"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))


@given(st.permutations(range(4)), st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_concurrent_siblings_may_come_in_any_order(permutation, labels):
    """Four calls at once: whichever began first, the labels stand in one order."""

    def labels_of(starts: list[int]) -> list[int]:
        spans = [Row(0, 1, 0, 0, 1000 * US, False, 0, 9)]
        spans += [
            Row(0, 2 + n, 1, start * US, (start + 100) * US, False, 0, labels[n]) for n, start in enumerate(starts)
        ]
        # Each calls another process, which tells those of one label apart.
        spans += [Row(0, 12 + n, 2 + n, 0, 50 * US, True, 1, 10 + n) for n in range(4)]
        found = arrange(columns(spans), 1)
        return [spans[index].label for index in found.order.tolist()]

    assert labels_of([1, 2, 3, 4]) == labels_of([1 + place for place in permutation])


def test_halves_of_a_shared_span_become_parent_and_child():
    root_client = Row(0, 1, 0, 10 * US, 90 * US, False, 0, 1)
    root_server = Row(0, 1, 0, 5 * US, 60 * US, True, 1, 2)  # its clock is behind
    inner = Row(0, 2, 1, 20 * US, 30 * US, False, 1, 3)
    given_rows = [inner, root_server, root_client]
    found = arrange(columns(given_rows), 1)
    assert [given_rows[index] for index in found.order] == [root_client, root_server, inner]
    assert (found.roots.tolist(), found.orphans.tolist(), found.root.tolist()) == ([1], [0], [2])
    assert found.self_time.tolist() == [10 * US, 45 * US, 25 * US]


def test_a_cycle_is_cut_once_and_what_hangs_below_it_stays():
    cycle = [Row(0, n, n % 3 + 1, (10 + n) * US, (20 + n) * US, False, 0, n) for n in (1, 2, 3)]
    below = Row(0, 4, 2, 0, US, False, 0, 4)  # earlier than all of the cycle
    found = arrange(columns([*cycle, below]), 1)
    assert found.parent.tolist() == [-1, 2, 0, 1]
    assert found.orphans.tolist() == [1]


def test_ids_of_different_traces_do_not_meet():
    # As if each trace numbered its spans anew.
    given_rows = [Row(trace, n, n - 1, n * US, 2 * n * US, False, 0, n) for trace in range(200) for n in range(1, 6)]
    found = arrange(columns(given_rows), 200)
    assert found.order.tolist() == list(range(1000))
    assert (found.roots == 1).all()


@pytest.mark.parametrize("shape", ["chain", "cycles", "wheel", "star", "one id"])
def test_odd_shapes_end_quickly(shape):
    n = 5000
    number = np.arange(1, n + 1, dtype=np.uint64)
    parent = {
        "chain": number - 1,
        "cycles": ((number - 1) ^ 1) + 1,
        "wheel": number % n + 1,
        "star": np.minimum(number - 1, 1),
        "one id": np.zeros(n, np.uint64),
    }[shape].astype(np.uint64)
    shuffled = np.array(random.Random(1).sample(range(n), n))
    start = np.arange(n) * 10
    spans = Spans(
        trace=np.zeros(n, np.int64),
        span_id=(number if shape != "one id" else np.ones(n, np.uint64))[shuffled],
        parent_id=parent[shuffled],
        start=start[shuffled],
        end=start[shuffled] + 100_000,
        server=np.zeros(n, np.bool_),
        clock=np.zeros(n, np.int64),
        label=np.ones(n, np.int64),
    )
    began = time.thread_time()
    found = arrange(spans, 1)
    assert time.thread_time() - began < 2.0
    assert sorted(found.order.tolist()) == list(range(n))
    if shape == "cycles":
        assert found.orphans.tolist() == [n // 2]
    if shape in ("chain", "wheel"):
        assert depths(found.parent).max() == n - 1


def test_times_of_ages_do_not_overflow():
    late = 1 << 62
    given_rows = [Row(0, 1, 0, 0, late, False, 0, 1)] + [
        Row(0, n, 1, n, late - n, False, n % 2, 1) for n in range(2, 50)
    ]
    found = arrange(columns(given_rows), 1)
    assert (found.self_time >= 0).all()
    assert (found.self_time <= found.duration).all()


def test_no_spans():
    found = arrange(columns([]), 0)
    assert len(found.order) == 0
    found = arrange(columns([]), 2)
    assert found.offsets.tolist() == [0, 0, 0]
    assert found.root.tolist() == [-1, -1]


def test_many_traces_are_arranged_like_each_alone():
    """So many that places take more than 16 bits and thousands of ids collide in a table of hashes; all at one time."""
    traces = 40_000
    ids = np.random.default_rng(1).permutation(4 * traces).astype(np.uint64) + np.uint64(1)
    root, first, second, third = ids.reshape(4, traces)

    def each(*columns: int) -> np.ndarray:
        return np.tile(np.array(columns, np.int64), traces)

    found = arrange(
        Spans(
            trace=np.repeat(np.arange(traces), 4),
            span_id=np.stack((third, second, first, root), axis=1).ravel(),
            parent_id=np.stack((root, root, root, np.zeros_like(root)), axis=1).ravel(),
            start=each(5_000, 3_000, 1_000, 0),
            end=each(6_000, 4_000, 2_000, 9_000),
            server=np.zeros(4 * traces, np.bool_),
            clock=each(0, 0, 0, 0),
            label=each(1, 2, 3, 4),
        ),
        traces,
    )
    at = np.repeat(4 * np.arange(traces), 4)
    assert (found.order == at + each(3, 2, 1, 0)).all()
    assert (found.parent == np.where(each(0, 0, 0, 1), -1, at + 3)).all()
    assert (found.self_time == each(1_000, 1_000, 1_000, 6_000)).all()
    assert (found.root == 4 * np.arange(traces) + 3).all()


@pytest.mark.parametrize("siblings", [2, 50])
def test_siblings_of_one_moment_stand_by_label_and_the_first_of_another_process_is_the_callee(siblings):
    labels = random.Random(1).sample(range(siblings), siblings)
    root = Row(0, 1, 0, 0, 9 * US, False, 0, 0)
    found = arrange(columns([root, *(Row(0, 2 + at, 1, US, US, True, 1, label) for at, label in enumerate(labels))]), 1)
    assert found.order.tolist() == [0, *(1 + labels.index(label) for label in range(siblings))]
    assert found.callee[0] == 1 + labels.index(0)
