import pytest

from otel_tracead.reports.rendering import count, milliseconds, one_in, percent


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.0004, "< 0.1 %"),
        (0.0123, "1.2 %"),
        (0.5, "50 %"),
        (0.996, "99.6 %"),
        (0.9999, "99.9 %"),
    ],
)
def test_percent(share, text):
    assert percent(share) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 ms"), (-1, "0 ms"), (0.085, "85 µs"), (4.123, "4.12 ms"), (310.4, "310 ms"), (2400, "2.40 s")],
)
def test_milliseconds(value, text):
    assert milliseconds(value) == text


def test_numbers():
    assert count(1234567) == "1\u202f234\u202f567"
    assert one_in(2) == "1 in 100"
    assert one_in(4.2) == "1 in 16\u202f000"
    assert one_in(float("inf")) == one_in(9)
