"""Execution paths of the simulated shop against its true call graphs: edges, and which siblings are concurrent."""

import random
from collections.abc import Callable, Iterable
from itertools import combinations_with_replacement

import pytest
import tiny_model
from random_shop import random_shop

from otel_tracead.detection import path_learning, paths
from otel_tracead.detection.paths import Operation
from otel_tracead.generator import CallGraph, Label, Scenario, requests, simulate
from otel_tracead.generator.semantics import Kind
from otel_tracead.traces import dictionary as dictionaries
from otel_tracead.traces.encoding import Encoder, Events
from otel_tracead.traces.labels import LabelTemplate
from otel_tracead.traces.offline import gather
from otel_tracead.wire.otlp import Envelopes, decode_request

FLOOR = 0.95
SEEDS = (11, 12)

# Names of operations, callers and callees; a pair of siblings stands in order of its names.
Edges = set[tuple[str, str, str]]
Relations = dict[tuple[str, str, str, str], bool]


def learned(events: Events) -> list[Operation]:
    counts: dict[str, int] = {}
    for one in events.label.tolist():
        counts[events.labels[one]] = counts.get(events.labels[one], 0) + 1
    dictionary = dictionaries.learn(counts, max_labels=2000, min_count=5)
    return paths.operations(path_learning.learn(events, dictionary), dictionary)


@pytest.fixture(scope="module", params=SEEDS)
def found(request: pytest.FixtureRequest) -> list[Operation]:
    traces = tiny_model.shop_traces(seed=request.param, duration_s=120)
    return learned(Encoder(LabelTemplate()).encode(traces))


@pytest.fixture(scope="module")
def truth() -> tuple[CallGraph, ...]:
    return simulate(Scenario(seed=1, start_unix_nano=tiny_model.START, duration_s=1)).truth.call_graphs


def true_name(graph: CallGraph) -> Callable[[Label], str]:
    """Name a label as the default template does; a callee is named only where it has spans."""
    reached: dict[Label, list[str]] = {}
    for caller, callee in graph.edges:
        if callee.kind in (Kind.SERVER, Kind.CONSUMER):
            reached.setdefault(caller, []).append(callee.service)

    def name(label: Label) -> str:
        kind = {Kind.INTERNAL: "", Kind.SERVER: "server ", Kind.CLIENT: "client "}.get(
            Kind(label.kind), f"{Kind(label.kind).name.lower()} "
        )
        return f"{label.service} {kind}{label.name}" + (
            f" → {label.peer}" if label.kind == Kind.CLIENT and label in reached else ""
        )

    return name


def plain(name: str) -> str:
    """A message goes to several services, of which a label names one."""
    return name.partition(" → ")[0] if " producer " in name else name


def found_edges(operations: Iterable[Operation]) -> Edges:
    return {
        (one.root, plain(one.nodes[node.caller].label), plain(node.label))
        for one in operations
        for node in one.nodes
        if node.caller is not None
    }


def true_edges(graphs: Iterable[CallGraph]) -> Edges:
    return {
        (name(graph.root), plain(name(caller)), plain(name(callee)))
        for graph in graphs
        for name in [true_name(graph)]
        for caller, callee in graph.edges
    }


def found_relations(operations: Iterable[Operation]) -> Relations:
    """Say of each two siblings, and of each call that comes several times, whether they are concurrent."""
    relations: Relations = {}
    for one in operations:
        concurrent = {frozenset(pair) for group in one.groups for pair in group.pairs}
        concurrent |= {frozenset([node.id]) for node in one.nodes if node.concurrent}
        for caller, groups in one.callees().items():
            members = [member for group in groups for member in group.members]
            for a, b in combinations_with_replacement(members, 2):
                if a == b and not (one.nodes[a].repeated or one.nodes[a].concurrent):
                    continue
                names = sorted((plain(one.nodes[a].label), plain(one.nodes[b].label)))
                key = (one.root, plain(one.nodes[caller].label), *names)
                relations[key] = relations.get(key, False) or frozenset((a, b)) in concurrent
    return relations


def true_relations(graphs: Iterable[CallGraph]) -> Relations:
    relations: Relations = {}
    for graph in graphs:
        name = true_name(graph)
        for caller in {group.caller for group in graph.groups}:
            groups = [group for group in graph.groups if group.caller == caller]
            calls = [(callee, group) for group in groups for callee in group.callees]
            for place, (a, one) in enumerate(calls):
                for b, other in calls[place:]:
                    same = one is other and one.concurrent
                    if a == b and one is other and one.certain:
                        continue  # comes once
                    key = (name(graph.root), plain(name(caller)), *sorted((plain(name(a)), plain(name(b)))))
                    relations[key] = relations.get(key, False) or same
    return relations


def precision_recall(found: set, true: set) -> tuple[float, float]:
    hits = len(found & true)
    return hits / max(len(found), 1), hits / len(true)


def concurrency(found: Relations, true: Relations) -> tuple[float, float]:
    """Of the pairs that both know: how many of those called concurrent are, and how many of those that are are called so."""
    return precision_recall(
        {pair for pair, concurrent in found.items() if concurrent},
        {pair for pair, concurrent in true.items() if concurrent},
    )


def test_edges_are_the_true_ones(found, truth):
    precision, recall = precision_recall(found_edges(found), true_edges(truth))
    assert (precision >= FLOOR, recall >= FLOOR) == (True, True), (precision, recall)


def test_concurrent_siblings_are_the_true_ones(found, truth):
    true = true_relations(truth)
    assert 5 < sum(true.values()) < len(true) / 2
    precision, recall = concurrency(found_relations(found), true)
    assert (precision >= FLOOR, recall >= FLOOR) == (True, True), (precision, recall)


def test_siblings_that_are_not_concurrent_have_the_true_order(found, truth):
    wrong, right = 0, 0
    for graph in truth:
        name = true_name(graph)
        operation = next(one for one in found if one.root == name(graph.root))
        place = {}
        for group in operation.groups:
            for member in group.members:
                caller = operation.nodes[group.caller].label
                place.setdefault((plain(caller), plain(operation.nodes[member].label)), group.position)
        firsts: dict[tuple[str, str], int] = {}
        for group in graph.groups:
            for callee in group.callees:
                firsts.setdefault((plain(name(group.caller)), plain(name(callee))), group.position)
        for (caller, one), before in firsts.items():
            for (same, other), after in firsts.items():
                if caller == same and before < after:
                    ordered = place[caller, one] < place[caller, other]
                    right, wrong = right + ordered, wrong + (not ordered)
    assert right > 50
    assert wrong <= 0.05 * right


def test_certain_calls_are_the_true_ones(found, truth):
    certain = {
        (one.root, plain(one.nodes[node.caller].label), plain(node.label))
        for one in found
        for node in one.nodes
        if node.caller is not None and node.certain
    }
    true, sometimes = set(), set()
    for graph in truth:
        name = true_name(graph)
        seen: set[tuple[Label, Label]] = set()
        for group in graph.groups:
            for callee in group.callees:
                key = (name(graph.root), plain(name(group.caller)), plain(name(callee)))
                (true if group.certain and (group.caller, callee) not in seen else sometimes).add(key)
                seen.add((group.caller, callee))
    precision, recall = precision_recall(certain, true - sometimes)
    assert (precision >= FLOOR, recall >= FLOOR) == (True, True), (precision, recall)


@pytest.mark.parametrize(
    "answer",
    [
        lambda _random: True,
        lambda _random: False,
        lambda chance: chance.random() < 0.5,
        lambda chance: chance.random() < 0.2,
    ],
    ids=["always", "never", "coin", "rarely"],
)
def test_the_floor_is_above_answers_that_know_nothing(answer, truth):
    true, chance = true_relations(truth), random.Random(1)
    assert min(concurrency({pair: answer(chance) for pair in true}, true)) < FLOOR - 0.4


def test_the_floor_of_edges_is_above_calls_that_know_nothing(truth):
    true = true_edges(truth)
    calls = sorted({(root, one) for root, *pair in true for one in pair})
    anything = {(root, a, b) for root, a in calls for same, b in calls if root == same and a != b}
    assert precision_recall(anything, true)[0] < 0.2
    assert precision_recall(set(random.Random(1).sample(sorted(anything), len(true))), true)[0] < 0.2


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shops_that_nobody_designed(seed):
    scenario = Scenario(
        seed=seed, start_unix_nano=tiny_model.START, duration_s=30, traces_per_second=8, clock_skew_ms=5
    )
    run = simulate(scenario, random_shop(seed))
    envelopes = Envelopes()
    traces = list(gather(decode_request(body, envelopes) for _, body in requests(run)))
    found = learned(Encoder(LabelTemplate()).encode(traces))
    graphs = run.truth.call_graphs
    true = true_relations(graphs)
    assert sum(true.values()) >= 25
    measured = precision_recall(found_edges(found), true_edges(graphs)) + concurrency(found_relations(found), true)
    assert min(measured) >= FLOOR, measured
