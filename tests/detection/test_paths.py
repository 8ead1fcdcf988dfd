"""Execution paths of traces whose every interval is known."""

import random
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tracead.artifact import call_paths
from otel_tracead.artifact.call_paths import CallPaths
from otel_tracead.detection import path_learning
from otel_tracead.detection.path_learning import call_name
from otel_tracead.detection.paths import Node, Operation, operations
from otel_tracead.traces import dictionary as dictionaries
from otel_tracead.traces.dictionary import Dictionary
from otel_tracead.traces.encoding import Events

MS = 1_000_000


@dataclass
class Span:
    """A span of a made-up trace; start and duration in ms."""

    label: str
    start: float = 0.0
    duration: float = 1.0
    calls: list["Span"] = field(default_factory=list)
    clock: int = 0


def events_of(traces: list[list[Span]], orphans: list[int] | None = None) -> Events:
    """Lay out traces; of each the spans without a caller are given."""
    labels: dict[str, int] = {}
    rows: list[tuple[int, int, float, float, int]] = []  # label, parent, start, duration, clock
    offsets = [0]

    def add(span: Span, parent: int) -> None:
        rows.append((labels.setdefault(span.label, len(labels)), parent, span.start, span.duration, span.clock))
        mine = len(rows) - 1
        for call in span.calls:
            add(call, mine)

    for trace in traces:
        for top in trace:
            add(top, -1)
        offsets.append(len(rows))
    label, parent, start, duration, clock = np.array(rows, float).reshape(-1, 5).T
    count = len(traces)
    whole = np.zeros(count, np.int64)
    return Events(
        offsets=np.array(offsets, np.int64),
        span=np.arange(len(rows)),
        label=label.astype(np.int64),
        self_us=duration * 1e3,
        duration_us=duration * 1e3,
        start=(start * MS).astype(np.int64) + 10**18,
        parent=parent.astype(np.int64),
        service=np.zeros(len(rows), np.int64),
        instance=clock.astype(np.int64),
        callee=np.full(len(rows), -1),
        roots=np.array([len(trace) for trace in traces], np.int64),
        orphans=whole if orphans is None else np.array(orphans, np.int64),
        root=whole,
        labels=list(labels),
        services=["s"],
        instances=["a", "b"],
    )


def dictionary_of(events: Events, min_count: int = 1) -> Dictionary:
    counts = np.bincount(events.label, minlength=len(events.labels)).tolist()
    return dictionaries.learn(dict(zip(events.labels, counts, strict=True)), max_labels=2000, min_count=min_count)


def learned(traces: list[list[Span]], **options: object) -> tuple[CallPaths, list[Operation]]:
    events = events_of(traces, **options)
    dictionary = dictionary_of(events)
    paths = path_learning.learn(events, dictionary)
    assert not any(paths.problems(len(dictionary)).values())
    return paths, operations(paths, dictionary)


def one_operation(traces: list[list[Span]]) -> Operation:
    _, (found,) = learned(traces)
    return found


def called(operation: Operation, label: str) -> Node:
    (node,) = (node for node in operation.nodes if node.label == label)
    return node


def in_words(operation: Operation) -> list[str]:
    """Write each group as `position caller: members [after positions]`."""
    return [
        f"{group.position} {operation.nodes[group.caller].label}: "
        + " ".join(operation.nodes[member].label for member in group.members)
        + (f" after {list(group.after)}" if group.after else "")
        for group in operation.groups
    ]


# A plan is a list of steps, each a list of calls that are made at once; a call is (name, its own plan).
@st.composite
def plans(draw: st.DrawFn, depth: int = 2) -> list[list[tuple[str, list]]]:
    sizes = draw(st.lists(st.integers(1, 4), max_size=3))
    names = iter(draw(st.permutations([f"{depth}{letter}" for letter in "abcdefghijkl"])))
    return [[(next(names), draw(plans(depth=depth - 1)) if depth else []) for _ in range(size)] for size in sizes]


def run(name: str, plan: list, start: float, chance: random.Random) -> Span:
    """Do what a plan says, with other times in each trace."""
    now = start + chance.uniform(0.1, 1)
    calls: list[Span] = []
    for step in plan:
        members = [run(f"{name}/{callee}", below, now + chance.uniform(0, 0.05), chance) for callee, below in step]
        calls += members
        now = max(call.start + call.duration for call in members) + chance.uniform(0.1, 2)
    return Span(name, start, max(now, start + chance.uniform(1, 3)) - start, calls)


def expected(name: str, plan: list) -> list[tuple[str, tuple[str, ...]]]:
    """Give (caller, members) of all groups, in order, caller by caller."""
    own = [(name, tuple(sorted(f"{name}/{callee}" for callee, _ in step))) for step in plan]
    return own + [group for step in plan for callee, below in step for group in expected(f"{name}/{callee}", below)]


@given(plans(), st.integers(0, 1000))
def test_a_plan_of_calls_is_found_again(plan, seed):
    chance = random.Random(seed)
    operation = one_operation([[run("root", plan, 0, chance)] for _ in range(20)])
    label = [node.label for node in operation.nodes]
    found = [(label[g.caller], tuple(sorted(label[m] for m in g.members))) for g in operation.groups]
    assert sorted(found, key=lambda group: group[0]) == sorted(expected("root", plan), key=lambda group: group[0])
    for group in operation.groups:
        assert group.certain
        assert group.after == ((group.position - 1,) if group.position else ())
        assert len(group.pairs) == len(group.members) * (len(group.members) - 1) // 2
        assert group.order == ()
    assert [node.id for node in operation.nodes] == list(range(len(operation.nodes)))
    assert all(node.caller is None or node.caller < node.id for node in operation.nodes)


def test_calls_in_a_row_wait_for_each_other():
    calls = [Span("c", 5), Span("a", 1), Span("b", 3)]
    assert in_words(one_operation([[Span("root", 0, 10, calls)]] * 10)) == [
        "0 root: a",
        "1 root: b after [0]",
        "2 root: c after [1]",
    ]


def test_a_few_exceptions_are_tolerated():
    usual, odd = [Span("a", 1), Span("b", 3)], [Span("a", 3), Span("b", 1)]
    assert in_words(one_operation([[Span("r", 0, 9, usual)]] * 96 + [[Span("r", 0, 9, odd)]] * 4)) == [
        "0 r: a",
        "1 r: b after [0]",
    ]
    at_once = [Span("a", 1, 2), Span("b", 1.5, 2)]
    some = one_operation([[Span("r", 0, 9, usual)]] * 90 + [[Span("r", 0, 9, at_once)]] * 10)
    assert in_words(some) == ["0 r: a b"]
    few = one_operation([[Span("r", 0, 9, usual)]] * 96 + [[Span("r", 0, 9, at_once)]] * 4)
    assert in_words(few) == ["0 r: a", "1 r: b after [0]"]


def test_either_order_but_never_at_once_is_no_concurrency_on_one_clock():
    """A root that stands for several pages calls the same things in other orders."""
    one, other = [Span("a", 1), Span("b", 3)], [Span("b", 1), Span("a", 3)]
    found = one_operation([[Span("r", 0, 9, one)], [Span("r", 0, 9, other)]] * 10)
    assert in_words(found) == ["0 r: a", "1 r: b"]
    apart = [[Span("a", 1), Span("b", 3, clock=1)], [Span("b", 1, clock=1), Span("a", 3)]]
    assert in_words(one_operation([[Span("r", 0, 9, calls)] for calls in apart] * 10)) == ["0 r: a b"]


def test_a_group_keeps_what_is_in_order_within_it():
    calls = [Span("long", 1, 8), Span("a", 1, 2), Span("b", 4, 2), Span("c", 7, 1)]
    found = one_operation([[Span("r", 0, 10, calls)]] * 10)
    (group,) = found.groups
    names = {node.id: node.label for node in found.nodes}
    assert {(names[a], names[b]) for a, b in group.order} == {("a", "b"), ("b", "c")}
    assert {frozenset((names[a], names[b])) for a, b in group.pairs} == {frozenset(("long", one)) for one in "abc"}


def test_calls_of_one_kind_at_once():
    at_once = [Span("a", 1 + 0.1 * number, 5) for number in range(3)]
    node = called(one_operation([[Span("r", 0, 9, at_once)]] * 10), "a")
    assert (node.concurrent, node.mean_count, node.certain) == (True, 3, False)
    in_a_row = [Span("a", 2 * number) for number in range(3)]
    assert not called(one_operation([[Span("r", 0, 9, in_a_row)]] * 10), "a").concurrent


def test_rounds_of_calls():
    calls = [Span(name, place) for place, name in enumerate(["get", "convert", "get", "convert", "quote", "convert"])]
    found = one_operation([[Span("r", 0, 9, [Span(one.label, 2 * one.start) for one in calls])]] * 10)
    assert in_words(found) == ["0 r: get", "1 r: convert after [0]", "2 r: quote after [1]"]
    again = {node.label: node.again_after for node in found.nodes}
    assert again == {"r": None, "get": called(found, "convert").id, "convert": called(found, "quote").id, "quote": None}


def test_how_often_a_call_comes():
    traces = [[Span("r", 0, 9, [Span("a", 1)] * (number % 2))] for number in range(20)]
    node = called(one_operation(traces), "a")
    assert (node.probability, node.mean_count, node.certain) == (0.5, 1, False)


def test_whole_milliseconds_tell_nothing_where_two_calls_begin_in_one():
    calls = [Span("a", 1, 0), Span("b", 1, 0)]
    assert in_words(one_operation([[Span("r", 0, 3, calls)]] * 10)) == ["0 r: a", "1 r: b"]
    later = [Span("a", 1, 0), Span("b", 2, 0)]
    mixed = [[Span("r", 0, 3, calls)]] * 50 + [[Span("r", 0, 3, later)]] * 10
    assert in_words(one_operation(mixed)) == ["0 r: a", "1 r: b after [0]"]


def test_a_failed_call_stands_where_the_good_one_does():
    assert call_name("cart server GetCart grpc:14") == call_name("cart server GetCart") == "cart server GetCart"
    assert call_name("front client GET 503 → cart") == "front client GET → cart"
    assert call_name("503") == "503"
    traces = [
        [Span(f"r {200 + 300 * (number == 7)}", 0, 9, [Span("a ERROR" if number == 3 else "a", 1)])]
        for number in range(20)
    ]
    found = one_operation(traces)
    assert (found.root, found.traces, [node.label for node in found.nodes]) == ("r", 20, ["r", "a"])


def test_rare_calls_are_counted_and_left_out():
    traces = [
        [Span("r", 0, 9, [Span("a", 1), *([Span(f"x{number}", 2)] if number < 2 else [])])] for number in range(500)
    ]
    found = one_operation(traces)
    assert [node.label for node in found.nodes] == ["r", "a"]
    assert found.nodes[0].rarer == 2


def test_labels_that_have_no_entry_of_their_own_are_left_out_with_what_they_call():
    traces = [[Span("r", 0, 9, [Span("a", 1), Span(f"x{n}", 2, 1, [Span("below", 2)])])] for n in range(20)]
    events = events_of(traces)
    dictionary = dictionary_of(events, min_count=5)
    paths = path_learning.learn(events, dictionary)
    (found,) = operations(paths, dictionary)
    assert [node.label for node in found.nodes] == ["r", "a"]
    assert paths.totals.tolist() == [20, 20, 80, 40]


def test_traces_that_lack_spans_are_left_out():
    whole, cut = [Span("r", 0, 9, [Span("a", 1)])], [Span("r", 0, 9), Span("below", 2)]
    paths, (found,) = learned([whole] * 10 + [cut] * 5, orphans=[0] * 10 + [1] * 5)
    assert (found.traces, found.nodes[1].probability) == (10, 1.0)
    assert paths.totals.tolist() == [15, 10, 20, 20]
    # The root's own caller may be outside of what is traced.
    _, (found,) = learned([whole] * 10, orphans=[1] * 10)
    assert found.traces == 10


def test_several_roots_are_several_operations():
    _, found = learned([[Span("r", 0, 9), Span("s", 1, 2, [Span("a", 1)])]] * 10)
    assert [(one.root, one.traces, len(one.nodes)) for one in found] == [("r", 10, 1), ("s", 10, 2)]


def test_a_service_that_calls_itself():
    def chain(depth: int) -> Span:
        return Span("f", depth, 100 - depth, [chain(depth - 1)] if depth else [])

    found = one_operation([[chain(5)]] * 10)
    assert [node.depth for node in found.nodes] == list(range(6))
    paths, (deep,) = learned([[chain(200)]] * 10)
    assert len(deep.nodes) == call_paths.DEEPEST
    assert paths.totals[3] == 10 * call_paths.DEEPEST


def test_many_kinds_of_call_are_bounded():
    traces = [
        [Span("r", 0, 999, [Span(f"c{one:03}", 2 * one) for one in range(100 if n % 2 else 90)])] for n in range(10)
    ]
    found = one_operation(traces)
    assert len(found.nodes) == 1 + call_paths.MOST_CALLS
    assert found.nodes[0].rarer == 100 - call_paths.MOST_CALLS
    assert all(node.probability == 1 for node in found.nodes)
    many = [[Span(f"r{number:04}")] for number in range(call_paths.MOST_OPERATIONS + 20)]
    assert len(learned(many)[1]) == call_paths.MOST_OPERATIONS


def test_the_table_is_bounded(monkeypatch):
    monkeypatch.setattr(path_learning, "MOST_PLACES", 10)
    monkeypatch.setattr(path_learning, "MOST_PAIRS", 3)
    paths, _ = learned([[Span("r", 0, 99, [Span(f"c{one}", one) for one in range(30)])]] * 10)
    assert (len(paths), len(paths.pairs)) == (10, 3)
    assert paths.places[0, 6] == 21


def test_a_caller_with_thousands_of_calls():
    calls = [Span("a", 0.001 * number, 500) for number in range(3000)]
    node = called(one_operation([[Span("r", 0, 999, calls)]] * 6), "a")
    assert (node.concurrent, node.mean_count) == (True, 3000)


def test_nothing_to_learn_from():
    events = events_of([])
    paths = path_learning.learn(events, Dictionary(["!0", "!rare"]))
    assert (len(paths), len(paths.pairs)) == (0, 0)
    assert operations(paths, Dictionary(["!0", "!rare"])) == []


def test_an_operation_alone():
    found = one_operation([[Span("r")]])
    assert (found.root, found.traces, found.groups) == ("r", 1, ())
    assert found.nodes[0].certain


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_traces_and_of_siblings_means_nothing(seed):
    chance = random.Random(seed)
    traces = [
        [
            Span(
                "r",
                0,
                9,
                [Span(name, chance.uniform(0, 6), chance.uniform(0.1, 3)) for name in "abcd" if chance.random() < 0.8],
            )
        ]
        for _ in range(60)
    ]
    again = [[Span("r", 0, 9, chance.sample(trace[0].calls, len(trace[0].calls)))] for trace in traces]
    chance.shuffle(again)
    assert in_words(one_operation(traces)) == in_words(one_operation(again))
