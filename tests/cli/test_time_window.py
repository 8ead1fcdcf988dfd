from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tracead.cli.time_window import TimeWindow
from otel_tracead.moment import Moment, parse_moment
from otel_tracead.reports.ranking import format_time

SECOND = 10**9


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1970-01-01T00:00:00Z", Moment(0)),
        ("1970-01-01t01:00:01.5+01:00", Moment(1_500_000_000)),
        ("2026-01-01 13:00:00.123456789z", Moment(1_767_272_400_123_456_789)),
        ("-15m", Moment(-900 * SECOND, relative=True)),
        ("-1h30m", Moment(-5400 * SECOND, relative=True)),
        ("-0", Moment(0, relative=True)),
    ],
)
def test_both_spellings(text, moment):
    assert parse_moment(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "15m",
        "-",
        "-15",
        "-15 m",
        "2026-01-01",
        "2026-01-01T13:00:00",
        "2026-13-01T00:00:00Z",
        "-" + "9" * 99,
    ],
)
def test_what_is_neither_says_what_would_be(text):
    with pytest.raises(ValueError, match=r"2026-01-01T13:00:00Z.*-15m"):
        parse_moment(text)


@given(st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1)))  # noqa: DTZ001 (made aware below)
def test_times_are_read_as_they_are_written(moment):
    nanoseconds = round(moment.replace(tzinfo=UTC).timestamp()) * SECOND + moment.microsecond * 1000
    assert parse_moment(format_time(nanoseconds)) == Moment(nanoseconds)


def test_back_from_the_newest_span():
    assert parse_moment("-15m").at(1000 * SECOND) == 100 * SECOND
    assert parse_moment("1970-01-01T00:00:01Z").at(1000 * SECOND) == SECOND


def test_a_window_holds_its_begin_and_not_its_end():
    window = TimeWindow(10, 20)
    assert [moment in window for moment in (9, 10, 19, 20)] == [False, True, True, False]
    assert 5 in TimeWindow()
    assert [TimeWindow().bounded, TimeWindow(since=0).bounded, TimeWindow(until=0).bounded] == [False, True, True]
