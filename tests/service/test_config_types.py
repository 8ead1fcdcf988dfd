import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import Duration, Endpoint, FilePath, PositiveDuration, Strings
from otel_tracead.duration import format_duration, parse_duration
from otel_tracead.redaction import Secret


class Example(ComponentConfig):
    wait: Duration = 0.2
    every: PositiveDuration = 1.0
    token: Secret = Secret("")
    headers: dict[str, Secret] = Field(default_factory=dict)
    endpoint: Endpoint = Endpoint("localhost", 4317)
    path: FilePath | None = None
    names: Strings = ()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("200ms", 0.2),
        ("1m30s", 90),
        ("0", 0),
        ("0s", 0),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("1h0m0.25s", 3600.25),
        ("3us", 3e-6),
        ("3µs", 3e-6),
        ("7ns", 7e-9),
        ("-5s", -5),
        ("+5s", 5),
    ],
)
def test_go_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "s", "5 s", "1d", "1s2", "1,5s", "٣s", "--1s", "1e3s", "9999999h", "1s" * 60]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^time: (invalid duration|missing unit in duration)"):
        parse_duration(text)


@settings(max_examples=100, derandomize=True)
@given(st.integers(min_value=0, max_value=10**15))
def test_a_duration_survives_printing(microseconds: int) -> None:
    seconds = microseconds / 1e6
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.2, "200ms"), (90, "1m30s"), (3600, "1h0m0s"), (1.5, "1.5s"), (2e-6, "2µs"), (-1, "-1s"), (5, "5s")],
)
def test_durations_print_as_in_go(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_fields_are_read_and_printed() -> None:
    read = Example.model_validate(
        {
            "wait": "1m30s",
            "token": "hunter2",
            "headers": {"x-key": "k"},
            "endpoint": "[::1]:0",
            "path": "a/b",
            "names": ["x"],
        }
    )
    assert read.wait == 90
    assert read.token.get_secret_value() == "hunter2"
    assert (read.endpoint.host, read.endpoint.port) == ("::1", 0)
    assert read.names == ("x",)
    assert "hunter2" not in repr(read)
    assert read.model_dump(mode="json") == {
        "wait": "1m30s",
        "every": "1s",
        "token": "[REDACTED]",
        "headers": {"x-key": "[REDACTED]"},
        "endpoint": "[::1]:0",
        "path": "a/b",
        "names": ["x"],
    }


def test_secrets_come_out_only_where_asked_for() -> None:
    read = Example(token=Secret("hunter2"))
    assert read.model_dump(mode="json", context={"secrets": True})["token"] == "hunter2"
    assert "hunter2" not in f"{read.token}{read.token!r}{read.model_dump_json()}"
    assert read.token == Secret("hunter2")
    assert len({read.token, Secret("hunter2")}) == 1
    assert not Secret()


@pytest.mark.parametrize("wrong", [5, -1, "5", "-1s", True, [], 0.5])
def test_wrong_durations_are_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        Example.model_validate({"wait": wrong})


def test_a_positive_duration_is_not_zero() -> None:
    with pytest.raises(ValidationError, match="must be greater than zero"):
        Example.model_validate({"every": 0})
    assert Example.model_validate({"wait": 0}).wait == 0


@pytest.mark.parametrize("wrong", ["localhost", "x:99999", "x:-1", "http://x:1", "a b:1", "::1:80", "x:", 4317, "x:٣"])
def test_wrong_endpoints_are_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        Example.model_validate({"endpoint": wrong})


def test_an_endpoint_may_name_every_interface() -> None:
    assert Endpoint.parse(":4317") == Endpoint("", 4317)
    assert str(Endpoint.parse("0.0.0.0:4317")) == "0.0.0.0:4317"


def test_a_secret_is_a_string() -> None:
    with pytest.raises(ValidationError) as caught:
        Example.model_validate({"token": 5})
    assert caught.value.errors()[0]["type"] == "string_type"
