"""The way to a model of one's own, as its page has it: every command is run, on other ports and with less traffic."""

import re

import pytest

from tests.source_tree import ROOT
from tools.own_model import PAGE, blocks, on_free_ports, prepare, walk

SMALLER = {
    "--duration 30m": "--duration 6m",
    "--duration 10m": "--duration 4m",
    "train --input": "train --config quick.yaml --input",
}
QUICK = "training: {epochs: 4, folds: 2}"  # not the best model, but one in a minute or two
RESULT = ROOT / "docs/results/own-model.txt"


def test_the_page_has_what_the_walk_replaces():
    text = "".join(block.body for block in blocks(PAGE))
    assert [old for old in (*SMALLER, *on_free_ports()) if old not in text] == []


def test_what_was_timed_is_what_the_page_says_today():
    timed = RESULT.read_text(encoding="utf-8")
    for block in blocks(PAGE):
        if block.language == "bash":
            assert any(line.rstrip(" \\") in timed for line in block.body.splitlines()), block.body
    minutes = re.search(r"^ *(\d+)  in all$", timed, re.MULTILINE)
    assert minutes is not None


@pytest.mark.train
@pytest.mark.peers
@pytest.mark.slow
def test_the_page_can_be_walked(tmp_path):
    pytest.importorskip("torch")
    replaced = {**on_free_ports(), **SMALLER}
    (tmp_path / "quick.yaml").write_text(QUICK)
    steps = walk(PAGE, tmp_path, replaced, prepare(tmp_path, replaced), patience=1500)
    output = {step.section: step.output for step in steps}
    assert (tmp_path / "my-model/report.html").exists()
    assert re.search(r"model (loaded|replaced).*my-model", (tmp_path / "step-0").read_text())
    assert int(output["Put it to work"].split()[-1]) > 0
