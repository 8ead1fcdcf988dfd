"""The plain rules: what each marks, on traces where one can count by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tiny_model import shop_traces

from benchmarks.targets.rules import AGAINST, WHICH, Ngram, Pairs, Quantiles, limit, strongest
from otel_tracead.evaluation.injections import inject
from otel_tracead.traces.encoding import Encoder, Events
from otel_tracead.traces.labels import LabelTemplate


@pytest.fixture(scope="module")
def events() -> Events:
    return Encoder(LabelTemplate()).encode(shop_traces(seed=4, duration_s=30.0))


def sequences(*texts: str) -> tuple[np.ndarray, np.ndarray]:
    return np.array([ord(one) - ord("a") for text in texts for one in text]), np.cumsum([0, *map(len, texts)])


def test_the_most_frequent_label_after_the_longest_run_is_the_first_choice() -> None:
    ngram = Ngram.learn(*sequences("abcd", "abcd", "abce"), labels=26)
    label, offsets = sequences("abcd", "abce", "abcz")
    first, among_three = (ngram.among(label, offsets, k).reshape(3, -1) for k in (1, 3))
    assert first[:, 3].tolist() == [True, False, False]
    assert among_three[:, 3].tolist() == [True, True, False]
    assert first[0].all(), "the end of a sequence is forecast, too"


def test_a_shorter_run_helps_where_the_longest_was_not_seen() -> None:
    ngram = Ngram.learn(*sequences("xyzab", "xyzab", "uvwab"), labels=26)
    label, offsets = sequences("qqqab")
    assert ngram.among(label, offsets, 1)[4]
    surprise = ngram.surprise(*sequences("xyzab", "qqqab", "qqqaq"))
    assert surprise[4] < surprise[10] < surprise[16]


def test_what_training_showed_is_not_unseen() -> None:
    ngram = Ngram.learn(*sequences("abab", "ba"), labels=26)
    assert not ngram.unseen(*sequences("abab", "ba")).any()
    assert ngram.unseen(*sequences("abb")).any()


def test_pairs_of_training_are_known_and_a_call_that_does_not_belong_is_not(events) -> None:
    pairs = Pairs.learn(events)
    assert not pairs.traces(events).any()
    for kind in ("replaced", "extra"):
        found = inject(events, kind, 60, np.random.default_rng(1))
        assert found is not None
        assert pairs.traces(found.events).mean() > 0.7


@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("against", AGAINST)
def test_the_longest_is_the_strongest(events, which, against) -> None:
    rule = Quantiles.learn(events, which, against)
    clean = strongest(events, rule.events(events))
    stalled = inject(events, "stall", 60, np.random.default_rng(1))
    assert stalled is not None
    marked = strongest(stalled.events, rule.events(stalled.events)) > limit(clean, 0.02)
    assert marked.mean() > (0.6 if which == "own" else 0.3)


def test_a_label_without_a_past_says_nothing(events) -> None:
    rule = Quantiles.learn(events, "own", "median")
    rule.bounds[-1] = rule.bounds[-2]
    values = rule.events(events)
    assert (values[events.label == len(events.labels) - 1] == 0).all()


@settings(max_examples=60, derandomize=True)
@given(arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 10)), st.floats(0, 1))
def test_no_more_than_the_share_lies_above_the_limit(values, share) -> None:
    assert (values > limit(values, share)).mean() <= share
