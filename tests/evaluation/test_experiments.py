"""The paper's two injections: what is injected, what counts as found, and that no luck and no stubbornness wins."""

import math

import numpy as np
import pytest
from fake_models import LABELS, Constant, Knowing, OneSided, Random, forecast, traffic
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_tracead.evaluation.experiments import (
    INTERVAL_RULE,
    RANKS,
    By,
    Kind,
    Row,
    measure,
    prolong,
    replace_labels,
    rule_at,
    rule_of,
)
from otel_tracead.traces.windows import Windows

KNOWN = np.arange(1, LABELS + 1)


def one(rows: list[Row], kind: Kind, rule: str) -> Row:
    (found,) = [row for row in rows if (row.kind, row.rule, row.by) == (kind, rule, By.ALL)]
    return found


@pytest.fixture(scope="module")
def measured() -> dict[str, list[Row]]:
    clean = traffic(600)
    return {model.name: measure(model, clean, KNOWN, 1) for model in (Knowing(), Constant(), Random())}


@given(st.integers(0, 1000), st.sampled_from(RANKS))
@settings(derandomize=True, max_examples=20, deadline=None)
def test_a_replaced_label_is_another_known_one_that_was_not_expected(seed: int, k: int) -> None:
    clean = traffic(30, seed)
    top = Random().forecast(clean).top
    assert top is not None
    before = clean.label.copy()
    injected = replace_labels(clean, top, k, KNOWN, np.random.default_rng(seed))
    copies, rows = injected.windows, np.arange(len(injected.source))
    changed = copies.label != clean.label[injected.source]
    assert (changed.sum(axis=1) == 1).all()
    assert changed[rows, injected.position].all()
    assert (injected.position < clean.length[injected.source]).all()
    new = copies.label[rows, injected.position]
    assert np.isin(new, KNOWN).all()
    assert not (new[:, None] == top[injected.source, injected.position - 1, :k]).any()
    assert (clean.label == before).all(), "clean windows stay as they are"


@given(st.integers(0, 1000))
@settings(derandomize=True, max_examples=20, deadline=None)
def test_a_prolonged_event_takes_two_to_five_times_its_own_time_longer(seed: int) -> None:
    clean = traffic(30, seed)
    injected = prolong(clean, np.random.default_rng(seed))
    rows = np.arange(len(injected.source))
    before = clean.time_ms[injected.source]
    assert ((injected.windows.time_ms != before).sum(axis=1) == 1).all()
    factor = injected.windows.time_ms[rows, injected.position] / before[rows, injected.position]
    assert (factor >= 3.0).all()
    assert (factor <= 6.0).all()


def test_where_nothing_can_be_injected_nothing_is_measured() -> None:
    alone = traffic(20)
    single = Windows(alone.label, alone.time_ms, np.ones(20, np.int64), alone.ends, alone.trace)
    assert measure(Knowing(), single, KNOWN, 0) == []
    instant = Windows(alone.label, np.zeros_like(alone.time_ms), alone.length, alone.ends, alone.trace)
    assert {row.kind for row in measure(Knowing(), instant, KNOWN, 0)} == {Kind.STRUCTURE}
    assert {row.rule for row in measure(Knowing(), instant, KNOWN[:2], 0)} == {rule_of(1), rule_of(3)}


def test_a_model_of_one_modality_is_tried_with_its_own_injection() -> None:
    clean = traffic(50)
    assert {row.kind for row in measure(OneSided("a", labels=True), clean, KNOWN, 0)} == {Kind.STRUCTURE}
    assert {row.kind for row in measure(OneSided("b", labels=False), clean, KNOWN, 0)} == {Kind.TIME}


def test_a_model_that_knows_its_traffic_passes(measured) -> None:
    rows = measured["knowing"]
    assert one(rows, Kind.STRUCTURE, rule_of(1)).strict > 0.93
    assert one(rows, Kind.STRUCTURE, rule_of(3)).clean_events < 0.08
    assert one(rows, Kind.TIME, rule_at(0.01)).found > 0.95
    assert one(rows, Kind.TIME, INTERVAL_RULE).clean_events < 0.08


@pytest.mark.parametrize("name", ["constant", "random"])
def test_neither_chance_nor_a_constant_passes(measured, name) -> None:
    rows = measured[name]
    for k in RANKS:
        row = one(rows, Kind.STRUCTURE, rule_of(k))
        assert row.found == 1.0, "by construction, which is why it says nothing"
        assert row.strict < 0.6
        assert row.clean_traces > 0.9
    for share in (0.05, 0.01):
        assert one(rows, Kind.TIME, rule_at(share)).found < 0.15


def test_thresholds_flag_no_larger_share_of_clean_spans_than_they_may(measured) -> None:
    for rows in measured.values():
        for share in (0.05, 0.01, 0.001):
            assert one(rows, Kind.TIME, rule_at(share)).clean_events <= share + 1e-9


def test_every_place_counts_its_own(measured) -> None:
    rows = measured["knowing"]
    for by in (By.LENGTH, By.POSITION):
        for kind, rule in ((Kind.STRUCTURE, rule_of(1)), (Kind.TIME, INTERVAL_RULE)):
            own = [row for row in rows if (row.kind, row.rule, row.by) == (kind, rule, by)]
            assert sum(row.injected for row in own) == one(rows, kind, rule).injected
            found = sum(row.injected * row.strict for row in own)
            assert found == pytest.approx(one(rows, kind, rule).injected * one(rows, kind, rule).strict)
    lengths = [row.at for row in rows if row.by is By.LENGTH and row.rule == rule_of(1)]
    assert lengths == list(range(2, 21))
    assert all(math.isnan(row.clean_traces) == (row.by is By.POSITION) for row in rows)


def test_a_trace_of_several_windows_is_flagged_once() -> None:
    class FirstWindowOdd:
        name = "first window odd"

        def forecast(self, windows: Windows):
            said = Constant().forecast(windows)
            rank = np.zeros_like(said.rank)
            rank[windows.trace == 0, 0] = 9
            return type(said)(said.top, rank, None)

    clean = traffic(4)
    two = Windows(clean.label, clean.time_ms, clean.length, clean.ends, np.array([0, 0, 1, 1]))
    rows = measure(FirstWindowOdd(), two, KNOWN, 0)
    assert one(rows, Kind.STRUCTURE, rule_of(1)).clean_traces == 0.5


def test_what_stands_behind_a_window_is_not_looked_at() -> None:
    class OddBehind:
        name = "odd behind"

        def forecast(self, windows: Windows):
            order = np.tile(np.arange(LABELS + 1), (*windows.label.shape, 1))
            said = forecast(windows, order, np.zeros(windows.label.shape))
            rank = np.where(windows.forecast, 0, 99)
            return type(said)(said.top, rank, np.where(windows.followed, 0.0, 99.0))

    rows = measure(OddBehind(), traffic(50), KNOWN, 0)
    assert all(row.clean_events == 0.0 for row in rows)
