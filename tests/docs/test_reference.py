"""Tables in docs/ that the source knows better: as `python -m tools.reference` would write them."""

import re
from collections import Counter

import pytest

from tools import reference


@pytest.mark.parametrize("path", reference.DOCS, ids=lambda path: path.name)
def test_tables_are_those_of_the_source(path):
    text = path.read_text(encoding="utf-8")
    assert reference.rewritten(text) == text, "run: python -m tools.reference"


def test_every_table_stands_somewhere_once():
    blocks = Counter(
        name
        for path in reference.DOCS
        for name in re.findall(r"<!-- reference: ([^>]+) -->", path.read_text(encoding="utf-8"))
    )
    assert blocks == Counter(reference.names())


def test_every_key_says_what_it_is():
    text = (reference.ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    keys = [line for line in text.splitlines() if re.match(r"\| `[\w:]+` \| ", line)]
    assert len(keys) > 100
    assert [line for line in keys if not line.split("|")[3].strip()] == []


def test_a_changed_default_is_noticed():
    text = (reference.ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    changed = text.replace("| `wait_duration` | `10s` |", "| `wait_duration` | `11s` |")
    assert changed != text
    assert reference.rewritten(changed) == text


def test_a_block_that_nobody_knows_is_an_error():
    with pytest.raises((KeyError, ValueError)):
        reference.rewritten("<!-- reference: receiver carrier_pigeon -->\n<!-- end -->")
