"""Configurations that would take long, take memory, or make objects."""

import time

import pytest

from otel_tracead.errors import ConfigError
from otel_tracead.service.uris import Sources
from otel_tracead.service.yaml_text import load_yaml

MERGES = "a0: &a0 {k: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 4)}]}}\n" for n in range(1, 12))


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['true']",
        "!!python/name:os.system",
        "!!python/module:os",
        "!!python/tuple [a]",
        "!!binary aGk=",
        "!!timestamp 2001-01-01",
        "!!set {a}",
        "!<tag:yaml.org,2002:python/name:os.system> a",
        "!own a",
    ],
)
def test_no_object_is_made(tag: str) -> None:
    for text in (f"a: {tag}", f"- {tag}"):
        with pytest.raises(ConfigError):
            load_yaml(text, "text")
    try:
        as_key = load_yaml(f"? {tag}\n: b", "text")
    except ConfigError:
        return
    assert all(type(key) is str for key in as_key)  # a key is its text, whatever stands before it


@pytest.mark.parametrize(
    "text",
    [
        MERGES,
        "a: &a {<<: *a}",
        "a: &a {b: {<<: *a}}",
        "a: &a [" + ",".join(f"k{n}: 1" for n in range(2000)) + "]\nb: [" + ",".join(["*a"] * 100) + "]",
        "[" * 100_000,
        "- " * 100_000,
        "{a: " * 100_000,
        "a:\n" + "".join(" " * n + "a:\n" for n in range(1, 1000)),
    ],
    ids=["merges", "itself", "around itself", "wide", "lists", "sequences", "maps", "blocks"],
)
def test_bombs_do_not_go_off(text: str) -> None:
    begun = time.process_time()
    with pytest.raises(ConfigError):
        load_yaml(text, "text")
    assert time.process_time() - begun < 2


VARIABLES = {
    "ITSELF": "${env:ITSELF}",
    "TWICE": "${env:TWICE}${env:TWICE}",
    "LONG": "${env:PART}" * 1000,
    "PART": "x" * 10_000,
}


@pytest.mark.parametrize("name", ["ITSELF", "TWICE", "LONG"])
@pytest.mark.parametrize("around", ["", "a"])
def test_references_without_end_are_refused(name: str, around: str) -> None:
    begun = time.process_time()
    with pytest.raises(ConfigError, match=r"too many recursive expansions|too long"):
        Sources(uris=[f"yaml:a: {around}${{env:{name}}}"], variables=VARIABLES).load(lambda _: None)
    assert time.process_time() - begun < 2


@pytest.mark.parametrize("text", ["}", "${", "$${x}", "$", "${x", "$$}"])
def test_brackets_without_a_reference_cost_what_they_are_long(text: str) -> None:
    written = text * (400_000 // len(text))
    begun = time.process_time()
    tree = Sources(uris=[f"yaml:a: '{written}'"], variables={}).load(lambda _: None)
    assert time.process_time() - begun < 2
    assert tree == {"a": written.replace("$$", "$")}
