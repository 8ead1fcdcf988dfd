"""What an address of a backend says, and what a wrong one is told, without a secret."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tracead.trace_stores.address import is_address, parse_address, redacted

SECOND = 10**9
NOW = 1_767_272_400 * SECOND  # 2026-01-01T13:00:00Z
HOUR = 3600 * SECOND


def parsed(query: str, kind: str = "jaeger"):
    return parse_address(f"{kind}+http://host:1234?{query}", NOW)


def test_without_parameters_it_is_the_last_hour_of_all_services() -> None:
    found = parse_address("jaeger+http://localhost:16686", NOW)
    assert (found.kind, found.base, found.user) == ("jaeger", "http://localhost:16686", None)
    assert (found.services, found.start, found.end, found.limit) == ((), NOW - HOUR, NOW, 200)


@pytest.mark.parametrize(
    ("query", "start", "end"),
    [
        ("start=2026-01-01T12:00:00Z&end=2026-01-01T12:30:00Z", NOW - HOUR, NOW - HOUR // 2),
        ("start=2026-01-01T13:00:00%2B01:00", NOW - HOUR, NOW),
        ("start=2026-01-01T13:00:00+01:00", NOW - HOUR, NOW),  # a + that was not written %2B
        ("start=-2h&end=-1h", NOW - 2 * HOUR, NOW - HOUR),
        ("end=-1h", NOW - 2 * HOUR, NOW - HOUR),
        ("lookback=15m", NOW - HOUR // 4, NOW),
        ("lookback=900000&end=-1h", NOW - HOUR - HOUR // 4, NOW - HOUR),
        ("endTs=1767268800000&lookback=1h", NOW - 2 * HOUR, NOW - HOUR),
        (f"start={NOW // 1000 - 5}&end={NOW // 1000}&lookback=custom", NOW - 5000, NOW),
        ("end=1970-01-01T00:00:01Z", 0, SECOND),
    ],
)
def test_ranges(query, start, end) -> None:
    found = parsed(query)
    assert (found.start, found.end) == (start, end)


def test_numbers_are_in_the_backends_own_unit() -> None:
    assert parsed(f"start={NOW // 10**6 - 5}&end={NOW // 10**6}", "zipkin").start == NOW - 5_000_000


def test_services_filters_and_limit() -> None:
    found = parsed("service=b&serviceName=a&service=b&limit=7&tags=%7B%22a%22%3A%22b%22%7D&tag=x:1&tag=y:2")
    assert (found.services, found.limit) == (("b", "a"), 7)
    assert found.filters == (("tag", "x:1"), ("tag", "y:2"), ("tags", '{"a":"b"}'))
    zipkin = parsed("serviceName=a&annotationQuery=error+and+http.method%3DGET&minDuration=5&maxDuration=", "zipkin")
    assert zipkin.filters == (("annotationQuery", "error and http.method=GET"), ("minDuration", "5"))


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("jaeger+https://jaeger.example/search?service=a", "https://jaeger.example"),
        ("jaeger+http://host:1/jaeger/ui/api/traces?service=a", "http://host:1/jaeger/ui"),
        ("zipkin+http://host:9411/zipkin/?serviceName=a#x", "http://host:9411/zipkin"),
        ("ZIPKIN+HTTP://[::1]:9411/api/v2/traces", "http://[::1]:9411"),
    ],
)
def test_addresses_copied_from_a_browser(text, base) -> None:
    assert parse_address(text, NOW).base == base


def test_user_and_password_are_decoded_and_never_shown() -> None:
    found = parse_address("zipkin+https://me:p%40ss%2Fword@host/x?service=a", NOW)
    assert (found.user, found.password, found.base) == ("me", "p@ss/word", "https://host/x")
    assert str(found) == "zipkin+https://host/x"
    assert "p@ss" not in repr(found)
    assert redacted("zipkin+https://me:p%40ss@host/x?service=a") == "zipkin+https://[REDACTED]@host/x?service=a"
    assert redacted("zipkin+http://host?tags=a%40b") == "zipkin+http://host?tags=a%40b"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http://host:16686", r"begins with jaeger\+http://, .* or zipkin\+https://"),
        ("jaeger+grpc://host", "begins with"),
        ("jaeger+http://", "no host"),
        ("jaeger+http://host:port", "no host, or a port that is no number"),
        ("jaeger+http://host:99999", "no host, or a port"),
        ("jaeger+http://[::1", "no host"),
        ("jaeger+http://me:pass?word@host", "an @ behind the host; .* written %2F"),
        ("jaeger+http://host?tags=a@b", "an @ behind the host"),
        ("jaeger+http://host?servic=a", "unknown parameter 'servic'; there are: end, endTs, limit, .*operation.*tags"),
        ("zipkin+http://host?tags=a", "unknown parameter 'tags'; there are: annotationQuery"),
        ("jaeger+http://host?start=1&start=2", "start is given twice"),
        ("jaeger+http://host?start=yesterday", r"start: 'yesterday' is neither a time .* before now \(-15m\)"),
        ("jaeger+http://host?end=99999999999999999999", "end: '9+' is no time between 1970 and 2262"),
        ("jaeger+http://host?end=-999999h", "is no time between"),
        ("jaeger+http://host?start=-1h&end=-2h", "start is not before end"),
        ("jaeger+http://host?lookback=soon", "lookback: .*invalid duration"),
        ("jaeger+http://host?lookback=-1h", "lookback: it must be longer"),
        ("jaeger+http://host?limit=0", "limit: '0' is no number from 1 to 10000"),
        ("jaeger+http://host?limit=many", "limit: 'many'"),
    ],
)
def test_what_is_wrong_is_said(text, said) -> None:
    with pytest.raises(ValueError, match=said):
        parse_address(text, NOW)


@given(st.text('S3CRET@:/%?#&="[].', max_size=20), st.text("abc@:/?#&=", max_size=12))
def test_a_password_is_in_no_message(before, after) -> None:
    text = f"jaeger+http://user:hunter2{before}@host{after}"
    assert "hunter2" not in redacted(text)
    try:
        shown = repr(found := parse_address(text, NOW)) + str(found)
    except ValueError as error:
        shown = str(error)
    assert "hunter2" not in shown


def test_paths_are_no_addresses() -> None:
    assert is_address("jaeger+http://host")
    assert is_address("HTTP://host")
    assert not any(map(is_address, ("traces.jsonl", "/a/b:c//d", "C:/x", "./jaeger+http:/host", "**/*.json")))
