"""Which row is blamed, and what is said to be missing, on traces that a person can read."""

import numpy as np
import pytest

from otel_tracead.artifact.calibration import Calibration
from otel_tracead.artifact.place_norms import PlaceNorms
from otel_tracead.artifact.tails import single
from otel_tracead.detection import grammar, mixture
from otel_tracead.detection.explanation import (
    Transitions,
    blame_steps,
    bound,
    names,
)
from otel_tracead.traces.dictionary import END, RARE, Dictionary

DICTIONARY = Dictionary([END, RARE, *"RABCDEX"])
NORMAL = "R(A B(C D) E)"


def columns(written: str) -> tuple[np.ndarray, np.ndarray]:
    """Read `R(A B(C))`: labels, and what each calls in brackets."""
    label, parent, stack = [], [], [-1]
    for sign in written.replace(" ", ""):
        if sign == "(":
            stack.append(len(label) - 1)
        elif sign == ")":
            stack.pop()
        else:
            label.append(DICTIONARY.index(sign))
            parent.append(stack[-1])
    return np.array(label), np.array(parent)


@pytest.fixture(scope="module")
def model():
    label, parent = columns(NORMAL)
    m = len(label)
    offsets = np.arange(101) * m
    labels = np.tile(label, 100)
    parents = (np.where(parent >= 0, parent + offsets[:-1, None], -1)).ravel()
    rules, _ = grammar.learn(labels, parents, offsets, labels=len(DICTIONARY), budget=0.001)
    one = np.zeros(len(DICTIONARY))
    tail = single(np.zeros(1))
    calibration = Calibration(
        center=one,
        scale=one,
        usual=one,
        typical_us=one,
        time_tails=tail,
        channel_tails=tail,
        trace_tail=tail,
        order=rules.order,
        seen=rules.seen,
        contexts=rules.contexts,
        counts=rules.counts,
        transitions=rules.transitions,
        places=PlaceNorms(),
    )
    return rules, Transitions(calibration, DICTIONARY)


def blamed(model, written: str):
    rules, transitions = model
    label, parent = columns(written)
    calls = grammar.calls(parent, np.array([0, len(label)]))
    new = calls.steps(rules.new_steps(calls, label)[0])
    chosen = list(zip(new.caller.tolist(), new.before.tolist(), new.event.tolist(), strict=True))
    marks = blame_steps(chosen, label, parent, transitions, np.zeros(len(label), np.bool_), rules.usual)
    return [(mark.row, "".join(names(mark.missing, DICTIONARY))) for mark in marks], marks


@pytest.mark.parametrize(
    ("written", "marks"),
    [
        (NORMAL, []),
        ("R(B(C D) E)", [(0, "A")]),  # the first call is missing: the caller is to blame
        ("R(A E)", [(0, "B")]),
        ("R(A B(D) E)", [(2, "C")]),
        ("R(A B(C) E)", [(2, "D")]),  # ended too early
        ("R(A B E)", [(2, "CD")]),
        ("R(A B(C D))", [(0, "E")]),
        ("R(A X B(C D) E)", [(2, "")]),  # an extra call is to blame itself
        ("R(A X(C D) B(C D) E)", [(2, "")]),  # and what it calls follows from it
        ("R(A X E)", [(2, "")]),  # replaced
        ("R(A B(X D) E)", [(3, "")]),
        ("R(A B(D C) E)", [(3, "")]),  # swapped: the one that came too early
        ("R(B(C D) A E)", [(1, "")]),
        ("R(A B(C))", [(2, "D")]),  # aborted: the deepest call that was cut off
        ("R(A B)", [(2, "CD")]),
        ("R(A B(C D) E E)", [(6, "")]),
        ("R(A B(D) E X)", [(2, "C"), (5, "")]),  # two anomalies under two callers
        ("A", [(0, "")]),
        ("R(A B(C D) E) X", [(6, "")]),
    ],
)
def test_blame(model, written, marks):
    assert blamed(model, written)[0] == marks


def test_what_was_expected(model):
    extra = blamed(model, "R(A X B(C D) E)")[1][0].expectation
    assert names(extra.expected, DICTIONARY) == ("B",)
    assert (extra.rank, extra.probability) == (1, 0.0)
    missing = blamed(model, "R(A B(C) E)")[1][0].expectation  # of the end, where D was missing
    assert names(missing.expected, DICTIONARY) == ("D",)
    assert (missing.rank, missing.probability) == (1, 0.0)
    transitions = model[1]
    usual = transitions.expectation(DICTIONARY.index("R"), DICTIONARY.index("A"), DICTIONARY.index("B"))
    assert (usual.rank, usual.probability) == (0, 1.0)
    nowhere = transitions.expectation(DICTIONARY.index("X"), -2, DICTIONARY.index("A"))
    assert (nowhere.rank, nowhere.probability, nowhere.expected) == (len(DICTIONARY), 0.0, ())


def test_a_gap_is_no_longer_than_three_and_holds_no_rare_call(model):
    transitions = model[1]
    r, a, e = (DICTIONARY.index(one) for one in "RAE")
    assert [names(gap, DICTIONARY) for gap in transitions.gaps(r, -2, e)] == [("A", "B")]
    assert [names(gap, DICTIONARY) for gap in transitions.gaps(r, a, e)] == [("B",)]
    assert not list(transitions.gaps(r, -2, DICTIONARY.index("X")))


def test_names_leave_out_what_the_dictionary_does_not_have():
    assert names((0, 2, 99), DICTIONARY) == (END, "R")
    assert names((0, 2), DICTIONARY, 0) == ("R",)


def test_bound_is_where_strength_reaches_what_is_wanted():
    low, high = np.array([0.0, 200.0, 5.0, 9.0, 0.0]), np.array([1000.0, 1000.0, 5.0, 8.0, 100.0])
    assert bound(lambda x: x, low, high, 123.4) == pytest.approx([123.4, 200.0, 5.0, 9.0, 100.0], rel=1e-4)
    assert bound(lambda x: 0 * x, low, high, 1.0) == pytest.approx([1000.0, 1000.0, 5.0, 9.0, 100.0])
    assert bound(np.floor, np.zeros(1), np.array([10.0]), 7.0) == pytest.approx(7.0, rel=1e-4)


def test_median_and_survival_of_a_mixture():
    one = np.array([[0.0, 1.5, np.log(0.3)]], np.float32)
    assert mixture.median(one) == pytest.approx(1.5, abs=1e-5)
    two = np.array([[np.log(0.5), np.log(0.5), -1.0, 3.0, -1.0, -1.0]], np.float32)
    assert mixture.median(two) == pytest.approx(1.0, abs=1e-5)
    random = np.random.default_rng(1)
    sample = random.logistic(np.where(random.random(200_000) < 0.5, -1.0, 3.0), np.exp(-1.0))
    points = np.array([-2.0, 0.0, 2.0, 4.0])
    for x, (found,) in zip(points, mixture.survival(two, points[:, None]), strict=True):
        assert np.log(found) == pytest.approx(np.log((sample >= x).mean()), abs=0.05)
    assert mixture.median(np.array([[0.0, 2.0, 3.0]], np.float32)) == pytest.approx(2.0, abs=1e-4)
    assert mixture.survival(two, np.array([[-1e30], [1e30]])) == pytest.approx(np.array([[1.0], [0.0]]))


def test_what_a_share_exceeds_is_exceeded_by_that_share():
    two = np.array([[np.log(0.7), np.log(0.3), -1.0, 3.0, -1.0, 0.5]] * 2, np.float32)
    for share in (0.3, 0.1, 0.01):
        at = mixture.exceeded_by(two.T, share)
        assert mixture.survival(two, at[None]) == pytest.approx(np.full((1, 2), share), rel=0.02)


def test_a_failure_is_blamed_on_the_last_failed_call_below(model) -> None:
    rules, transitions = model
    label, parent = columns("R(A X(C X(D)) E)")  # both X failed: an unknown label stands for the new status
    failed = label == DICTIONARY.index("X")
    calls = grammar.calls(parent, np.array([0, len(label)]))
    new = calls.steps(rules.new_steps(calls, label)[0])
    chosen = list(zip(new.caller.tolist(), new.before.tolist(), new.event.tolist(), strict=True))
    marks = blame_steps(chosen, label, parent, transitions, failed, rules.usual)
    assert [mark.row for mark in marks] == [4]
