"""What an injection does to a trace, kind by kind."""

import numpy as np
import pytest
from tiny_model import shop_traces

from otel_tracead.evaluation.injections import KINDS, STRUCTURAL, inject, structures, typical
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


def one_trace(labels: str, parent: list[int], duration_us: list[float], start_us: list[float]) -> Events:
    """A trace whose events are named by single letters."""
    names = sorted(set(labels))
    size = len(labels)
    children = np.bincount([one for one in parent if one >= 0], minlength=size)
    duration = np.array(duration_us)
    return Events(
        offsets=np.array([0, size]),
        span=np.arange(size),
        label=np.array([names.index(label) for label in labels]),
        self_us=np.where(children > 0, duration / 2, duration),
        duration_us=duration,
        start=(1_700_000_000_000_000_000 + 1e3 * np.array(start_us)).astype(np.int64),
        parent=np.array(parent),
        service=np.zeros(size, np.int64),
        instance=np.zeros(size, np.int64),
        callee=np.full(size, -1),
        roots=np.array([1]),
        orphans=np.array([0]),
        root=np.array([0]),
        labels=names,
        services=["s"],
        instances=["i"],
    )


def many(kind: str, events: Events, count: int = 60) -> list[tuple[str, list[int], tuple[int, ...]]]:
    """The labels, parents and blame of each injected trace."""
    found = inject(events, kind, count, np.random.default_rng(4))
    assert found is not None
    out = []
    for trace, blame in enumerate(found.blame):
        rows = rows_of(found.events, trace)
        parent = found.events.parent[rows]
        text = "".join(found.events.labels[one] for one in found.events.label[rows].tolist())
        out.append((text, np.where(parent >= 0, parent - rows.start, -1).tolist(), blame))
    return out


# In order of start: a calls b and c at once, b calls d, c calls e.
INTERLEAVED = one_trace("abcde", [-1, 0, 0, 1, 2], [1000, 800, 800, 400, 400], [0, 10, 20, 30, 40])


def test_a_call_that_is_missing_takes_all_below_with_it_in_any_order_of_events() -> None:
    assert {text for text, _, _ in many("missing", INTERLEAVED)} == {"ace", "abd", "abce", "abcd"}
    for text, parent, (row,) in many("missing", INTERLEAVED):
        gone = "bc" if len(text) == 3 else "de"
        assert parent.count(-1) == 1
        assert text[row] == {"b": "a", "c": "a", "d": "b", "e": "c"}[next(one for one in gone if one not in text)]


def test_an_extra_call_comes_with_all_below_it() -> None:
    lengths = set()
    for text, parent, blame in many("extra", INTERLEAVED):
        lengths.add(len(text))
        assert parent.count(-1) == 1
        assert "abcde".find(text[blame[0]]) > 0, "the root is no call"
    assert lengths == {6, 7}


def test_of_calls_that_look_the_same_any_is_the_extra_one() -> None:
    loop = one_trace("abbb", [-1, 0, 0, 0], [1000, 100, 100, 100], [0, 100, 200, 300])
    under_a = [blame for text, parent, blame in many("extra", loop) if parent == [-1, 0, 0, 0, 0]]
    assert under_a
    assert set(under_a) == {(4, 3, 2, 1)}
    assert all(len(blame) == 1 for _, parent, blame in many("extra", loop) if parent.count(0) == 3)


def test_only_calls_that_waited_for_each_other_are_swapped_and_their_times_with_them() -> None:
    sequential = one_trace("abdc", [-1, 0, 1, 0], [1000, 300, 100, 200], [0, 100, 150, 500])
    assert {(text, tuple(parent), blame) for text, parent, blame in many("swapped", sequential)} == {
        ("acbd", (-1, 0, 0, 2), (1, 2))
    }
    found = inject(sequential, "swapped", 1, np.random.default_rng(0))
    assert found is not None
    assert ((found.events.start - found.events.start[0]) / 1e3).round().tolist() == [0, 100, 400, 450]
    assert inject(INTERLEAVED, "swapped", 5, np.random.default_rng(0)) is None


def test_what_waits_for_a_longer_span_comes_later_and_lasts_longer() -> None:
    sequential = one_trace("abdc", [-1, 0, 1, 0], [1000, 300, 100, 200], [0, 100, 150, 500])
    for seed in range(20):
        found = inject(sequential, "stall", 1, np.random.default_rng(seed))
        assert found is not None
        row = found.blame[0][0]
        more = found.events.self_us - sequential.self_us
        assert np.flatnonzero(more).tolist() == [row]
        assert 2000 <= more[row] <= 5000
        lasts = found.events.duration_us - sequential.duration_us
        later = (found.events.start - sequential.start) / 1e3
        assert np.flatnonzero(lasts).tolist() == {0: [0], 1: [0, 1], 2: [0, 1, 2], 3: [0, 3]}[row]
        assert np.flatnonzero(later).tolist() == {0: [], 1: [3], 2: [3], 3: []}[row]


def test_a_replaced_call_takes_as_long_as_is_usual_of_what_it_is_now() -> None:
    usual = typical(INTERLEAVED).own_us
    found = inject(INTERLEAVED, "replaced", 30, np.random.default_rng(5))
    assert found is not None
    for trace, (row,) in enumerate(found.blame):
        at = int(found.events.offsets[trace]) + row
        assert found.events.label[at] != INTERLEAVED.label[row]
        assert found.events.self_us[at] == usual[found.events.label[at]]


def test_whole_milliseconds_stay_whole_and_times_of_nothing_are_no_anomaly() -> None:
    coarse = one_trace("abc", [-1, 0, 0], [8000, 0, 2000], [0, 1000, 3000])
    for kind in ("stall", "slowdown"):
        found = inject(coarse, kind, 40, np.random.default_rng(6))
        assert found is not None
        assert (found.events.self_us % 1000 == 0).all()
        more = found.events.self_us.reshape(-1, 3) - coarse.self_us
        assert (more.max(axis=1) >= 1000).all(), "a copy without a difference would be no anomaly"
    nothing = one_trace("abc", [-1, 0, 0], [0, 0, 0], [0, 0, 0])
    assert inject(nothing, "stall", 5, np.random.default_rng(0)) is None
    assert inject(nothing, "slowdown", 5, np.random.default_rng(0)) is None
    assert inject(nothing, "replaced", 5, np.random.default_rng(0)) is not None


def test_structures_are_equal_where_only_times_differ(events) -> None:
    for kind in KINDS:
        found = inject(events, kind, 30, np.random.default_rng(7))
        assert found is not None
        before = structures(select(events, found.source))
        same = [one == other for one, other in zip(before, structures(found.events), strict=True)]
        assert not any(same) if kind in STRUCTURAL else all(same), kind
