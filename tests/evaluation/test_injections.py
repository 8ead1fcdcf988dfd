"""What an injection does to a trace, kind by kind."""

import numpy as np
import pytest
from tiny_model import shop_traces

from otel_tracead.evaluation.injections import KINDS, inject, typical
from otel_tracead.traces.encoding import Encoder, Events, select
from otel_tracead.traces.labels import LabelTemplate


@pytest.fixture(scope="module")
def events() -> Events:
    return Encoder(LabelTemplate()).encode(shop_traces(seed=3, duration_s=30.0))


def rows_of(events: Events, trace: int) -> slice:
    return slice(int(events.offsets[trace]), int(events.offsets[trace + 1]))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_whole_traces_with_one_anomaly(events, kind) -> None:
    found = inject(events, kind, 40, np.random.default_rng(1))
    assert found is not None
    assert found.events.traces == len(found.blame) == 40
    for trace, blame in enumerate(found.blame):
        rows = rows_of(found.events, trace)
        length = rows.stop - rows.start
        parent = found.events.parent[rows] - np.where(found.events.parent[rows] >= 0, rows.start, 0)
        assert all(0 <= row < length for row in blame)
        assert (parent < np.arange(length)).all(), "a caller comes before what it calls"
        assert found.events.span[rows].tolist() == list(range(length))


@pytest.mark.parametrize(
    ("kind", "change"), [("missing", -1), ("aborted", -1), ("extra", 1), ("swapped", 0), ("stall", 0)]
)
def test_the_number_of_events_changes_as_the_kind_says(events, kind, change) -> None:
    longest = int(np.argmax(np.diff(events.offsets)))
    one = select(events, np.array([longest]))
    found = inject(one, kind, 20, np.random.default_rng(2))
    assert found is not None
    lengths = np.diff(found.events.offsets) - len(one)
    assert (np.sign(lengths) == change).all()


def test_a_stall_is_longer_than_a_whole_trace_and_lengthens_its_callers(events) -> None:
    found = inject(events, "stall", 50, np.random.default_rng(3))
    assert found is not None
    whole = typical(events)
    for trace, (row,) in enumerate(found.blame):
        rows = rows_of(found.events, trace)
        first = found.events.labels[int(found.events.label[rows.start])]
        usual = whole.trace_us[list(events.labels).index(first)]
        assert found.events.self_us[rows][row] >= 2 * usual
        assert found.events.duration_us[rows][0] >= 2 * usual


def test_traffic_without_a_place_for_an_anomaly_gets_none(events) -> None:
    single = select(events, np.flatnonzero(np.diff(events.offsets) == 1)[:5])
    assert inject(single, "missing", 5, np.random.default_rng(0)) is None
    assert inject(select(events, np.zeros(0, np.int64)), "replaced", 5, np.random.default_rng(0)) is None
