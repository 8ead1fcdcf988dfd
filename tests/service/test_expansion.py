from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_tracead.errors import ConfigError
from otel_tracead.service.expansion import Expanded, environment, expand, original_at, plain
from otel_tracead.service.uris import Sources

VARIABLES = {
    "TEXT": "words",
    "NUMBER": "0123",
    "EMPTY": "",
    "MAP": "{a: 1, b: '${env:TEXT}'}",
    "LIST": "[1, 2]",
    "NAME": "TEXT",
    "AGAIN": "${env:NUMBER}",
    "QUOTED": '"0123"',
    "BROKEN": "[1",
    "DOLLAR": "a$$b",
    "LOOP": "${env:LOOP}",
    "GROW": "${env:GROW}${env:GROW}",
}


def expanded(value: object) -> object:
    return expand({"k": value}, retrieve)["k"]


def retrieve(scheme: str, rest: str) -> str:
    if scheme != "env":
        raise ValueError(f'scheme "{scheme}" is not supported')
    return environment(VARIABLES, lambda _message: None)(rest)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${env:TEXT}", "words"),
        ("${TEXT}", "words"),
        ("${env:NUMBER}", Expanded(83, "0123")),
        ("${env:AGAIN}", Expanded(83, "0123")),
        ("x-${env:NUMBER}", "x-0123"),
        ("${env:EMPTY}", Expanded(None, "")),
        ("${env:EMPTY:-d}", Expanded(None, "")),
        ("${env:UNSET:-d}", "d"),
        ("${UNSET:-5}", Expanded(5, "5")),
        ("${env:UNSET}", Expanded(None, "")),
        ("a${env:UNSET}b", "ab"),
        ("${env:UNSET:-http://x:1/}", "http://x:1/"),
        ("${env:UNSET:-${env:TEXT}}", "words"),
        ("${env:${env:NAME}}", "words"),
        ("$TEXT", "$TEXT"),
        ("$${env:TEXT}", "${env:TEXT}"),
        ("$$${env:TEXT}", "$words"),
        ("$$$${env:TEXT}", "$${env:TEXT}"),
        ("$$", "$"),
        ("cost: 5$", "cost: 5$"),
        ("${env:DOLLAR}", "a$b"),
        ("${env:QUOTED}", '"0123"'),
        ("${env:BROKEN}", "[1"),
        ("${env:LIST}", Expanded([1, 2], "[1, 2]")),
        ("${env:TEXT} and ${env:TEXT}", "words and words"),
        ("${", "${"),
        ("}", "}"),
        ("$${a} }", "${a} }"),
    ],
)
def test_the_grammar_row_by_row(text: str, value: object) -> None:
    assert expanded(text) == value


def test_a_map_from_the_environment_is_expanded_inside() -> None:
    assert plain(expanded("${env:MAP}")) == {"a": 1, "b": "words"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("${env:1X}", 'k: environment variable "1X" has invalid name'),
        ("${http://x}", 'k: scheme "http" is not supported'),
        ("${env:LOOP}", "k: .*too many recursive expansions"),
        ("${env:GROW}", "k: .*too many recursive expansions"),
        ("${}", "has invalid name"),
    ],
)
def test_what_cannot_be_expanded_is_said_with_its_path(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        expanded(text)


def test_every_problem_is_said() -> None:
    with pytest.raises(ConfigError) as caught:
        expand({"a": {"b": ["${env:1}", "${env:2}"]}, "c": "${env:3}"}, retrieve)
    assert [problem.partition(": ")[0] for problem in caught.value.problems] == ["a::b::0", "a::b::1", "c"]


def test_a_value_that_grows_is_bounded() -> None:
    with pytest.raises(ConfigError, match="too long"):
        expand({"k": "${env:A}${env:A}"}, lambda _scheme, _rest: "x" * 600_000)


@settings(max_examples=100, derandomize=True)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text("ab:{ }"),
        lambda inner: st.lists(inner) | st.dictionaries(st.text("ab"), inner),
    )
)
def test_a_tree_without_dollars_stays_as_it_is(tree: object) -> None:
    assert expand({"k": tree}, retrieve) == {"k": tree}


@settings(max_examples=100, derandomize=True)
@given(st.text("ab${}:-", max_size=40))
def test_no_text_crashes_it(text: str) -> None:
    with suppress(ConfigError):
        expanded(text)


@settings(max_examples=100, derandomize=True)
@given(st.text())
def test_doubled_dollars_give_any_text(text: str) -> None:
    assert expanded(text.replace("$", "$$")) == text


def test_the_original_text_is_found_for_a_string_field() -> None:
    tree = {"a": [{"b": Expanded(83, "0123")}]}
    assert original_at(tree, ("a", 0, "b")) == (("a", 0, "b"), "0123")
    assert original_at(tree, ("a", 0, "b", "str")) == (("a", 0, "b"), "0123")
    assert original_at(tree, ("a", 1)) is None
    assert original_at(tree, ("a",)) is None


def test_unset_variables_are_warned_about_and_empty_ones_are_not() -> None:
    warnings: list[str] = []
    read = environment({"EMPTY": ""}, warnings.append)
    assert (read("EMPTY"), read("UNSET"), read("UNSET:-")) == ("", "", "")
    assert warnings == ['environment variable "UNSET" is not set: the value is empty']


def test_files_may_be_referenced(tmp_path) -> None:
    (tmp_path / "token").write_text("s3cret")
    loaded = Sources([f"yaml:a: ${{file:{tmp_path}/token}}"]).load(lambda _message: None)
    assert loaded == {"a": "s3cret"}
