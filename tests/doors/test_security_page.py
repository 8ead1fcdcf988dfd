"""The page names tests, and they are there; SECURITY.md names no address that nobody reads."""

import re

import pytest

from tests.source_tree import ROOT

PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[a-z0-9_/]+\.py)`", PAGE)))


@pytest.mark.parametrize("name", NAMED)
def test_every_test_that_it_names_is_there(name: str) -> None:
    assert re.search(r"^\s*(async )?def test_", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)


def test_every_row_of_the_threats_is_shown_by_a_test() -> None:
    table = PAGE.partition("| who | tries |")[2].partition("\n\n")[0].splitlines()[2:]
    assert len(table) > 15
    assert [row for row in table if not re.search(r"`tests/[a-z0-9_/]+\.py` ?(,|\|)", row)] == []


def test_the_way_to_report_is_the_forges_own() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "private reporting" in text
    assert re.search(r"[\w.]+@[\w.]+", text) is None
