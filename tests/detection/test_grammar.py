"""The grammar of calls against sets of tuples."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tracead.detection import grammar
from otel_tracead.detection.grammar import Grammar, calls, learn, steps

LABELS = 5

# A trace is a list of (label, how far back the parent stands; 0 = none).
events = st.lists(st.tuples(st.integers(1, LABELS - 1), st.integers(0, 3)), min_size=1, max_size=7)
traffic = st.lists(events, min_size=1, max_size=8)


def columns(traces: list[list[tuple[int, int]]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    label, parent, offsets = [], [], [0]
    for trace in traces:
        for row, (one, back) in enumerate(trace):
            label.append(one)
            parent.append(offsets[-1] + row - back if 0 < back <= row else -1)
        offsets.append(len(label))
    return np.array(label, np.int64), np.array(parent, np.int64), np.array(offsets, np.int64)


def plain_steps(trace: list[tuple[int, int]], order: dict[int, int]) -> list[tuple]:
    """Every step of a trace as (caller's label, labels before up to the caller's order, label that came)."""
    children: dict[int, list[int]] = {row: [] for row in range(-1, len(trace))}
    for row, (_, back) in enumerate(trace):
        children[row - back if 0 < back <= row else -1].append(row)
    out = []
    for caller, rows in children.items():
        name = trace[caller][0] if caller >= 0 else -3
        calls = [trace[row][0] for row in rows]
        for at in range(len(calls) + 1):
            came = calls[at] if at < len(calls) else 0
            before = calls[:at][::-1][: order[name]]
            out.append((name, tuple(before), came))
    return out


def orders(learned: Grammar) -> dict[int, int]:
    return {-3: int(learned.order[-1])} | {label: int(learned.order[label]) for label in range(LABELS)}


@given(traffic, traffic, st.sampled_from([1, 2, 3, 12]))
def test_new_steps_are_those_in_no_set(training, fresh, order):
    label, parent, offsets = columns(training)
    learned, _ = learn(label, parent, offsets, labels=LABELS, budget=0.01)
    one = dict.fromkeys(range(-3, LABELS), 1)
    fixed = dict.fromkeys(range(-3, LABELS), order)
    seen = {step for trace in training for step in plain_steps(trace, fixed)}
    contexts = [step[:2] for trace in training for step in plain_steps(trace, one)]
    found = steps(parent, offsets)
    hashes, _ = grammar._hash(found, label, order)
    rules = Grammar(
        np.full(LABELS + 1, order), np.unique(hashes), learned.contexts, learned.counts, learned.transitions
    )
    for trace in fresh:
        label, parent, offsets = columns([trace])
        found = calls(parent, offsets)
        new, strength = rules.new_steps(found, label)
        wanted = [step for step in plain_steps(trace, fixed) if step not in seen]
        assert len(np.unique(new)) == len(wanted)
        wanted_strength = sorted(np.log10(2.0 + contexts.count((name, before[:1]))) for name, before, _ in wanted)
        np.testing.assert_allclose(np.sort(strength), wanted_strength)
        again, same = rules.new_steps(found, label)  # from memory, as far as nothing was new
        assert again.tolist() == new.tolist()
        assert same.tolist() == strength.tolist()


@given(traffic)
def test_strength_had_a_trace_been_left_out(training):
    label, parent, offsets = columns(training)
    learned, strength = learn(label, parent, offsets, labels=LABELS, budget=0.01)
    chosen, one = orders(learned), dict.fromkeys(range(-3, LABELS), 1)
    contexts = [step[:2] for trace in training for step in plain_steps(trace, one)]
    for index, trace in enumerate(training):
        others = {step for at, other in enumerate(training) if at != index for step in plain_steps(other, chosen)}
        lone = [step for step in plain_steps(trace, chosen) if step not in others]
        wanted = max((np.log10(1.0 + contexts.count((name, before[:1]))) for name, before, _ in lone), default=0.0)
        assert strength[index] == pytest.approx(wanted)


@given(traffic)
def test_training_traffic_is_not_new_and_transitions_are_counts(training):
    label, parent, offsets = columns(training)
    learned, _ = learn(label, parent, offsets, labels=LABELS, budget=0.01)
    new, _ = learned.new_steps(calls(parent, offsets), label)
    assert not len(new)
    one = dict.fromkeys(range(-3, LABELS), 1)
    everything = [step for trace in training for step in plain_steps(trace, one)]
    counts = {(caller, before, came): count for caller, before, came, count in learned.transitions.tolist()}
    assert counts == {
        (name, before[0] if before else -2, came): everything.count((name, before, came))
        for name, before, came in everything
    }


@given(traffic)
def test_all_steps_are_those_of_each_trace_alone(training):
    _, parent, offsets = columns(training)
    found = steps(parent, offsets)
    for trace, (first, last) in enumerate(pairwise(offsets.tolist())):
        alone = steps(parent[first:last] - np.where(parent[first:last] >= 0, first, 0), np.array([0, last - first]))
        ours = found.trace == trace
        for all_of_them, own in (
            (found.caller, alone.caller),
            (found.before, alone.before),
            (found.event, alone.event),
        ):
            assert np.where(own >= 0, own + first, -1).tolist() == all_of_them[ours].tolist()


def test_it_looks_as_far_back_as_normal_traffic_allows():
    # Under 1: always 2, 3, 2, 4 (what comes after 2 depends on two calls before). Under the trace: noise.
    random = np.random.default_rng(1)
    training = []
    for _ in range(200):
        trace = [(1, 0), (2, 1), (3, 2), (2, 3), (4, 4)]
        training.append(trace + [(int(one), 0) for one in random.integers(1, 5, 6)])
    learned, strength = learn(*columns(training), labels=LABELS, budget=0.01)
    chosen = orders(learned)
    assert chosen[1] > 2
    assert chosen[-3] < 4
    assert (strength > 0).mean() < 0.1
    label, parent, offsets = columns([[(1, 0), (2, 1), (3, 2), (2, 3), (3, 4), (2, 5), (4, 6)]])
    new, _ = learned.new_steps(calls(parent, offsets), label)
    assert 4 in new.tolist()  # each pair is known, the longer run is not


def test_nothing_was_learned():
    nothing = np.zeros(0, np.int64)
    hashes = np.zeros(0, np.uint64)
    rules = Grammar(np.ones(LABELS + 1, np.int64), hashes, hashes, nothing, np.zeros((0, 4), np.int64))
    label, parent, offsets = columns([[(1, 0), (2, 1)]])
    found = calls(parent, offsets)
    new, strength = rules.new_steps(found, label)
    assert len(new) == len(found)
    np.testing.assert_allclose(strength, np.log10(2.0))
    new, strength = rules.new_steps(calls(nothing, np.zeros(1, np.int64)), nothing)
    assert len(new) == len(strength) == 0
