import pytest

from otel_tracead.errors import ConfigError
from otel_tracead.service.yaml_text import MOST_BYTES, load_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("true", True),
        ("FALSE", False),
        ("on", "on"),
        ("yes", "yes"),
        ("12", 12),
        ("-12", -12),
        ("1_000", 1000),
        ("0x1F", 31),
        ("0o17", 15),
        ("0b11", 3),
        ("0123", 83),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1:30", "1:30"),
        ("2026-01-02", "2026-01-02"),
        ("200ms", "200ms"),
        ("'12'", "12"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("localhost:4317", "localhost:4317"),
        ("[a, 1]", ["a", 1]),
        ("{8080: x, on: y}", {"8080": "x", "on": "y"}),
        ("a: &x {b: 1}\nc: {<<: *x, d: 2}", {"a": {"b": 1}, "c": {"b": 1, "d": 2}}),
        ("9" * 70, "9" * 70),
    ],
)
def test_scalars_are_those_of_the_collector(text: str, value: object) -> None:
    assert load_yaml(text, "x.yaml") == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\na: 2", r'x.yaml:2:1: mapping key "a" already defined'),
        ("a: [1", r"x.yaml:1:6: .*expected"),
        ("a: !!python/object:os.system x", "could not determine a constructor"),
        ("a: !!timestamp 2026-01-01", "could not determine a constructor"),
        ("[" * 5000, "nested too deeply"),
        ("? [a]\n: 1", "a key must be a string"),
        ("a\n---\nb", "single document"),
        ("a: &x [*x]", "an alias must not contain itself"),
        ("09", "not a valid integer"),
        ("1e999", "the number is too large"),
        ("a: *nobody", "undefined alias"),
        ("a: \x00", "x.yaml: "),
        ("x" * (MOST_BYTES + 1), "larger than"),
    ],
)
def test_broken_yaml_says_where(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_yaml(text, "x.yaml")


def test_an_alias_bomb_does_not_go_off() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        bomb += f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n"
    with pytest.raises(ConfigError, match="too large once its aliases are unfolded"):
        load_yaml(bomb, "x.yaml")
