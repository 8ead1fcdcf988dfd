"""A store that gives so many traces at once is read whole: every trace exactly once, whatever its density."""

import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tracead.trace_stores.paging import Found, Pages, TooDense, TooMuch, Window

SERVICES = ("a", "b", "c")
MANNERS = ("newest", "as stored", "random", "by root", "rows")


@dataclass(frozen=True)
class Stored:
    """A trace: its spans as (service, moment)."""

    number: int
    spans: tuple[tuple[str, int], ...]

    @property
    def key(self) -> str:
        return f"{self.number:x}"

    @property
    def began(self) -> int:
        return min(moment for _, moment in self.spans)

    @property
    def latest(self) -> int:
        return max(moment for _, moment in self.spans)


class Store:
    """Gives traces with a span of a service in a window, in the manner of one of the backends."""

    def __init__(self, traces: list[Stored], manner: str, largest: int | None = None) -> None:
        self.traces = traces
        self.manner = manner
        self.largest = largest
        self.asked = 0

    def _matches(self, trace: Stored, service: str, window: Window) -> bool:
        if self.manner == "by root":  # Zipkin: the trace's own moment counts, and the service is anywhere in it
            found = window.first <= trace.spans[0][1] <= window.last
            return found and service in ("", *(name for name, _ in trace.spans))
        return any(name == service and window.first <= moment <= window.last for name, moment in trace.spans)

    def __call__(self, service: str, window: Window, limit: int) -> list[Found[int]]:
        self.asked += 1
        matching = [trace for trace in self.traces if self._matches(trace, service, window)]
        if self.manner == "rows":  # Cassandra: so many rows of an index, which has one for each span
            rows = [(moment, trace) for trace in matching for name, moment in trace.spans if name == service]
            rows = [row for row in rows if window.first <= row[0] <= window.last]
            rows.sort(key=lambda row: row[0], reverse=True)
            matching = list({trace.number: trace for _, trace in rows[: 3 * limit]}.values())
        elif self.manner == "random":
            random.Random(self.asked).shuffle(matching)
        elif self.manner in ("newest", "by root"):
            matching.sort(key=lambda trace: trace.spans[0][1], reverse=True)
        found = matching[:limit]
        if self.largest is not None and sum(len(trace.spans) for trace in found) > self.largest:
            raise TooMuch
        return [Found(trace.key, trace.began, trace.latest, trace.number) for trace in found]


def everything(store: Store, window: Window, **options: int) -> list[int]:
    shares: list[float] = []
    found = list(Pages(store, **{"limit": 3} | options).read(SERVICES, window, shares.append))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    return found


# Few different moments, so that many traces share one, and now and then one far away.
moments = st.integers(0, 40) | st.sampled_from([1000, 100_000, 10**15])
stored = st.lists(st.lists(st.tuples(st.sampled_from(SERVICES), moments), min_size=1, max_size=4), max_size=60)


@given(stored, st.sampled_from(MANNERS), st.integers(1, 7), st.integers(0, 20))
def test_every_trace_is_given_exactly_once(spans, manner, limit, remembered) -> None:
    traces = [Stored(number, tuple(one)) for number, one in enumerate(spans)]
    found = everything(Store(traces, manner), Window(0, 10**15), limit=limit, remembered=remembered)
    assert sorted(found) == [trace.number for trace in traces]


@given(stored, st.integers(0, 40), st.integers(1, 40), st.integers(1, 7))
def test_traces_outside_of_the_window_are_not_given(spans, first, width, limit) -> None:
    window = Window(first, first + width)
    traces = [Stored(number, tuple(one)) for number, one in enumerate(spans)]
    wanted = [
        trace.number for trace in traces if any(window.first <= moment <= window.last for _, moment in trace.spans)
    ]
    assert sorted(everything(Store(traces, "newest"), window, limit=limit, remembered=0)) == wanted


@given(stored, st.integers(9, 30))
def test_answers_that_are_too_large_are_asked_for_in_parts(spans, largest) -> None:
    apart = [Stored(number, tuple((name, 10 * number) for name, _ in one)) for number, one in enumerate(spans)]
    found = everything(Store(apart, "newest", largest), Window(0, 10_000), limit=8)
    assert sorted(found) == [trace.number for trace in apart]


def test_only_those_are_remembered_that_can_be_met_again() -> None:
    long = [Stored(number, (("a", number * 100), ("b", number * 100 + 50_000))) for number in range(3)]
    short = [Stored(number, (("a", number * 10), ("b", number * 10 + 1))) for number in range(3, 1500)]
    pages = Pages(Store([*long, *short], "newest"), limit=20, remembered=10)
    held = []
    found = []
    for number in pages.read(SERVICES, Window(0, 60_000), lambda _: None):
        found.append(number)
        held.append(len(pages._seen))
    assert sorted(found) == list(range(1500))
    assert max(held) < 200


def test_short_answers_of_an_index_are_asked_for_again() -> None:
    """Thirty rows are two traces here, and no answer is ever as long as the limit."""
    traces = [Stored(number, tuple(("a", number * 10 + span % 9) for span in range(14))) for number in range(100)]
    store = Store(traces, "rows")
    assert sorted(everything(store, Window(0, 1000), limit=10)) == list(range(100))


def test_moments_that_hold_too_much_are_said() -> None:
    at_once = [Stored(number, (("b", 7),)) for number in range(50)]
    with pytest.raises(TooDense) as error:
        everything(Store(at_once, "newest"), Window(0, 1000), limit=3, most=40)
    assert error.value.service == "b"
    assert error.value.window.first <= 7 <= error.value.window.last
    with pytest.raises(TooDense):
        everything(Store(at_once, "newest", largest=2), Window(0, 1000), limit=3)
    assert len(everything(Store(at_once, "newest"), Window(0, 1000), limit=3, most=51)) == 50


def test_few_questions_are_asked() -> None:
    """A few for each answer that the traces fill, where they are spread evenly; a sparse service costs two."""
    dense = [Stored(number, (("a", number * 17),)) for number in range(6000)]
    sparse = [Stored(6000 + number, (("c", number * 1000),)) for number in range(90)]
    store = Store([*dense, *sparse], "newest")
    assert len(everything(store, Window(0, 102_000), limit=100)) == 6090
    assert store.asked < 5 * 6000 / 100


def test_parts_share_their_borders() -> None:
    assert Window(0, 10).parts(3) == [Window(0, 3), Window(3, 6), Window(6, 10)]
    assert Window(5, 7).parts(16) == [Window(5, 6), Window(6, 7)]
