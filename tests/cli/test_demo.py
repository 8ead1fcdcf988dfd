import shutil
from pathlib import Path

import pytest

from otel_tracead.cli import invoke
from otel_tracead.demonstration import outcome, traffic
from otel_tracead.generator import Scenario, standard_faults


@pytest.fixture
def here(tiny_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a model where the bundled one is looked for first."""
    shutil.copytree(tiny_artifact, tmp_path / "model_artifacts" / "shop")
    monkeypatch.chdir(tmp_path)
    faults = standard_faults(27, 1)
    short = Scenario(seed=1, start_unix_nano=1_700_000_000 * 10**9, duration_s=27, daily_swing=0, faults=faults)
    monkeypatch.setattr(traffic, "SCENARIO", short)
    monkeypatch.setattr(traffic, "WAIT_S", 1.5)
    return tmp_path


def test_it_shows_everything_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["demo"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    assert "injected faults found" in output.out
    assert "Slow service" in output.out
    assert "Annotated traces: demo-output/traces.jsonl\nReport: demo-output/report.html" in output.out
    assert max(map(len, output.out.split("spans in and out")[0].splitlines())) <= 100
    assert sorted(path.name for path in (here / "demo-output").iterdir()) == ["report.html", "traces.jsonl"]
    page = (here / "demo-output" / "report.html").read_text(encoding="utf-8")
    assert "27" not in page.split("</h1>")[0].split("<h1>")[1]
    assert page.count('<section class="trace">') > 3
    assert "tiny 1" in page


def test_a_missing_model_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "model_artifacts" / "shop").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert invoke(["demo", "--output", "out"]) == 1
    output = capsys.readouterr()
    assert output.err.startswith("Error: the bundled model cannot be used: ")
    assert "make model" in output.err
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "file").write_text("")
    assert invoke(["demo", "--output", "file/inside"]) == 1
    assert "file/inside" in capsys.readouterr().err


def test_a_lost_span_is_said(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    compare = outcome.compare

    def lose_one(*arguments: object) -> outcome.Outcome:
        found = compare(*arguments)  # type: ignore[arg-type]
        found.spans -= 1
        return found

    monkeypatch.setattr(outcome, "compare", lose_one)
    assert invoke(["demo"]) == 1
    assert "spans went in and" in capsys.readouterr().err
    assert not (here / "demo-output" / "report.html").exists()
