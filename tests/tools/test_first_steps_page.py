"""docs/first-steps.md: what is taken from it to be run, and that what was measured is what it says today."""

import re
from pathlib import Path

import pytest

from tests.source_tree import ROOT
from tools.first_steps import Step, steps

PAGE = (ROOT / "docs" / "first-steps.md").read_text(encoding="utf-8")
RESULT = (ROOT / "docs" / "results" / "first-steps.txt").read_text(encoding="utf-8")


def test_blocks_under_numbered_headings_are_taken_with_their_marks():
    page = """# Title

    not under a heading

## 1. One

    make \\
        demo

<!-- stays until http://a/b localhost:1 -->

    serve

text

<!-- typed -->

    query

## Not numbered

    other
"""
    assert list(steps(page)) == [
        Step("1. One", "make \\\n    demo"),
        Step("1. One", "serve", until=("http://a/b", "localhost:1")),
        Step("1. One", "query", typed=True),
    ]


def test_the_page_ends_in_the_browser():
    found = list(steps(PAGE))
    assert [step.typed for step in found] == [False] * (len(found) - 1) + [True]
    assert sum(bool(step.until) for step in found) == 2


def test_the_result_is_of_these_commands_and_under_ten_minutes():
    for step in steps(PAGE):
        assert " ".join(step.text.replace("\\\n", " ").split()) in RESULT
    (total,) = re.findall(r"^ +([\d.]+)  in all", RESULT, re.MULTILINE)
    assert float(total) < 600


@pytest.mark.parametrize("name", ["zipkin-search.png", "zipkin-trace.png"])
def test_pictures_are_small(name):
    assert 20_000 < (Path(ROOT) / "docs" / "images" / name).stat().st_size < 300_000
