"""The command `evaluate`: what it says of wrong input, and, with PyTorch, one run from files to a page."""

import csv
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from tiny_model import shop_traces

from otel_tracead.cli import invoke
from otel_tracead.wire.batch import group
from otel_tracead.wire.files import TraceFileWriter


def store(path: Path, duration_s: float) -> Path:
    with TraceFileWriter(path) as writer:
        for trace in shop_traces(duration_s=duration_s):
            writer.write(group(trace.envelopes, trace.spans))
    return path


def test_a_file_that_is_not_there(tmp_path, capsys) -> None:
    assert invoke(["evaluate", "--input", str(tmp_path / "none.jsonl"), "--output", str(tmp_path / "out")]) == 1
    assert "none.jsonl" in capsys.readouterr().err


def test_output_is_required(capsys) -> None:
    assert invoke(["evaluate"]) == 2
    assert "--output" in capsys.readouterr().err


def test_without_the_extra_it_says_what_to_install(tmp_path, capsys, monkeypatch) -> None:
    def version(name: str) -> str:
        if name == "torch":
            raise PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr("importlib.metadata.version", version)
    assert invoke(["evaluate", "--output", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "torch" in error
    assert "otel-tracead[train]" in error


@pytest.mark.train
def test_too_few_traces_are_refused(tmp_path, capsys) -> None:
    pytest.importorskip("torch")
    few = store(tmp_path / "few.pb", 3.0)
    assert invoke(["evaluate", "--input", str(few), "--output", str(tmp_path / "out"), "--fast"]) == 1
    assert "too few" in capsys.readouterr().err


@pytest.mark.train
def test_an_output_that_cannot_be_made_is_found_out_first(tmp_path, capsys) -> None:
    pytest.importorskip("torch")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "tables").write_text("a file")
    assert invoke(["evaluate", "--output", str(tmp_path / "out"), "--fast"]) == 1
    assert "cannot be made" in capsys.readouterr().err


@pytest.mark.train
def test_from_files_to_a_page(tmp_path, capsys, monkeypatch) -> None:
    pytest.importorskip("torch")
    from dataclasses import replace

    from otel_tracead.evaluation import evaluate

    fast = evaluate.FAST
    recipe, choosing = replace(fast.recipe, epochs=20), replace(fast.choosing, epochs=1)
    plan = replace(fast, training=40, test=15, recipe=recipe, choosing=choosing, candidates=fast.candidates[1:2])
    monkeypatch.setattr(evaluate, "FAST", plan)
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # no workers: each would load PyTorch
    out = tmp_path / "out"
    traces = store(tmp_path / "shop.pb", 40.0)
    assert invoke(["evaluate", "--input", str(traces), "--output", str(out), "--fast", "--seeds", "1"]) == 0
    said = capsys.readouterr()
    assert "claims of the paper" in said.out
    assert said.err == "", "nothing but warnings, and progress on a terminal"
    summary = (out / "summary.txt").read_text()
    assert "command: otel-tracead evaluate --input" in summary
    assert "multimodal LSTM" in summary
    assert (out / "report.html").is_file()
    assert (out / "figures/figure-5-structure.svg").is_file()
    with (out / "tables/figure-5-structure.csv").open() as file:
        strict = {(row["model"], row["rule"]): float(row["strict_mean"]) for row in csv.DictReader(file)}
    assert strict["4-gram", "k = 3"] > 0.8, "the injections can be found"
    assert strict["multimodal LSTM", "k = 5"] > 0.6, "chance and a constant reach a tenth"
