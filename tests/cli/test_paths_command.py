from dataclasses import replace
from xml.etree import ElementTree as ET

import orjson
import pytest
from tiny_model import write_artifact

from otel_tracead.artifact.call_paths import CallPaths
from otel_tracead.cli import invoke


def ran(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = invoke(["paths", *map(str, arguments)])
    output = capsys.readouterr()
    return code, output.out, output.err


def test_json_of_all_operations(tiny_artifact, capsys):
    code, out, err = ran(capsys, "--model", tiny_artifact, "--format", "json")
    assert (code, err) == (0, "")
    found = orjson.loads(out)
    assert found["traces"] > 500
    traces = [one["traces"] for one in found["operations"]]
    assert traces == sorted(traces, reverse=True)
    (home,) = (one for one in found["operations"] if one["root"] == "frontend-proxy server GET /")
    labels = {node["id"]: node["label"] for node in home["nodes"]}
    (at_once,) = (group for group in home["groups"] if group["concurrent"])
    assert sorted(labels[member].rpartition("/")[2] for member in at_once["members"]) == [
        "GetCart → cart",
        "GetSupportedCurrencies → currency",
        "ListProducts → product-catalog",
    ]


@pytest.mark.parametrize(
    ("form", "begins"), [("dot", "digraph paths {"), ("mermaid", "flowchart LR"), ("json", "{"), ("svg", "<svg ")]
)
def test_every_format_goes_to_a_file_as_to_standard_output(form, begins, tiny_artifact, tmp_path, capsys):
    shared = ("--model", tiny_artifact, "--format", form, "--operation", "api/CART")
    code, out, err = ran(capsys, *shared)
    assert (code, err) == (0, "")
    assert out.startswith(begins)
    assert "POST /api/cart" in out
    assert "GET /api/currency" not in out
    assert ran(capsys, *shared, "--output", tmp_path / "paths") == (0, "", "")
    assert (tmp_path / "paths").read_text(encoding="utf-8") == out
    if form == "svg":
        ET.fromstring(out)


def test_dot_is_the_default(tiny_artifact, capsys):
    assert ran(capsys, "--model", tiny_artifact) == ran(capsys, "--model", tiny_artifact, "--format", "dot")


def test_an_operation_that_is_not_there(tiny_artifact, capsys):
    code, out, err = ran(capsys, "--model", tiny_artifact, "--operation", "nowhere")
    assert (code, out) == (1, "")
    assert "--operation 'nowhere'" in err
    assert "frontend-proxy server GET /," in err


def test_a_model_without_paths_says_to_train_again(tiny_model, tmp_path, capsys):
    without = replace(tiny_model, calibration=replace(tiny_model.calibration, paths=CallPaths()))
    write_artifact(tmp_path / "old", without)
    code, out, err = ran(capsys, "--model", tmp_path / "old")
    assert (code, out) == (1, "")
    assert "train it again" in err
    assert str(tmp_path / "old") in err


def test_no_model(tmp_path, capsys):
    code, _, err = ran(capsys, "--model", tmp_path / "none")
    assert code == 1
    assert "otel-tracead train" in err


def test_wrong_usage(capsys):
    assert ran(capsys, "--format", "dot")[0] == 2
    assert ran(capsys, "--model", "x", "--format", "png")[0] == 2
