"""A network that wants all memory does not get it, and what could get it otherwise is not run at all."""

import itertools
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tiny_model import SIZES, random_network

from otel_tracead.detection import onnx_sessions
from otel_tracead.detection.graph_cut import OPERATORS, foreign
from otel_tracead.detection.session import Run, Session
from otel_tracead.errors import ArtifactError
from otel_tracead.training.architecture import Architecture
from tests.source_tree import ROOT

GIB = 1 << 30


def network(*nodes: onnx.NodeProto, numbers: int = 64 * GIB // 4, **more: onnx.TensorProto) -> onnx.ModelProto:
    """Give a model of *nodes* that make `big` of the input `x`: *numbers* of them, where they ask for `many`."""
    constants = {
        "many": helper.make_tensor("many", TensorProto.INT64, [], [numbers]),
        "zero": helper.make_tensor("zero", TensorProto.INT64, [], [0]),
        "one": helper.make_tensor("one", TensorProto.INT64, [], [1]),
        "first": helper.make_tensor("first", TensorProto.INT64, [1], [0]),
        "shape": helper.make_tensor("shape", TensorProto.INT64, [1], [numbers]),
        "row": helper.make_tensor("row", TensorProto.FLOAT, [1, 1024], [1.0] * 1024),
        "off_on": helper.make_tensor("off_on", TensorProto.FLOAT, [2], [0.0, 1.0]),
        **more,
    }
    sum_up = [
        helper.make_node("Cast", ["big"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["numbers"], ["y"], keepdims=0),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", ["n"]), ("y", [])))
    graph = helper.make_graph([*nodes, *sum_up], "bomb", [x], [y], list(constants.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return model


def doubled(name: str, times: int, axis: int = 0, into: str = "big") -> list[onnx.NodeProto]:
    names = [name, *(f"d{number}" for number in range(times - 1)), into]
    return [helper.make_node("Concat", [a, a], [b], axis=axis) for a, b in itertools.pairwise(names)]


BOMBS = {
    "a range": [helper.make_node("Range", ["zero", "many", "one"], ["big"])],
    "one of many": [
        helper.make_node("Cast", ["x"], ["index"], to=TensorProto.INT64),
        helper.make_node("OneHot", ["index", "many", "off_on"], ["big"]),
    ],
    "a constant doubled": doubled("row", 24),
    "the input doubled": doubled("x", 34),
    "a row by a column": [
        *doubled("row", 7, axis=1, into="long"),
        helper.make_node("Transpose", ["long"], ["high"], perm=[1, 0]),
        helper.make_node("MatMul", ["high", "long"], ["big"]),
    ],
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_run_gets_no_more_memory_than_all_networks_have(name: str, tmp_path: Path) -> None:
    """In a process of its own, that could have 8 GiB."""
    model = network(*BOMBS[name])
    assert foreign(model.SerializeToString()) == ""
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    program = f"""
import resource, numpy as np
from pathlib import Path
from otel_tracead.detection.session import Session
from otel_tracead.errors import ArtifactError
try:
    Session(Path({str(tmp_path / "model.onnx")!r}).read_bytes(),
            lambda run: run(["y"], {{"x": np.ones(4, np.float32)}}), provider="cpu")
except ArtifactError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (8 * GIB, 8 * GIB)),
    )
    *said, most = done.stdout.splitlines()
    assert "cannot run it as the manifest says" in said[0]
    assert "arena" in done.stdout
    assert int(most) < 2_300


FOREIGN = {
    "ConstantOfShape": network(helper.make_node("ConstantOfShape", ["shape"], ["big"])),
    "Expand": network(helper.make_node("Expand", ["x", "shape"], ["big"])),
    "Tile": network(helper.make_node("Tile", ["x", "shape"], ["big"])),
    "com.microsoft.Tokenizer": network(helper.make_node("Tokenizer", ["x"], ["big"], domain="com.microsoft")),
    "com.microsoft.Add": network(helper.make_node("Add", ["x", "x"], ["big"], domain="com.microsoft")),
    "Loop": network(helper.make_node("Loop", ["many", "", "x"], ["big"])),
    "strings": network(
        helper.make_node("Gather", ["text", "zero"], ["big"]), text=helper.make_tensor("text", 8, [1], [b"x"])
    ),
}
FOREIGN["functions"] = network(helper.make_node("Add", ["x", "x"], ["big"]))
FOREIGN["functions"].functions.add(name="Add")
FOREIGN["sparse"] = network(helper.make_node("Add", ["x", "x"], ["big"]))
FOREIGN["sparse"].graph.sparse_initializer.add(dims=[64 * GIB])


@pytest.mark.parametrize("name", FOREIGN)
def test_what_no_training_of_ours_writes_is_not_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_sessions, "cpu", lambda *_: pytest.fail("it was run"))
    with pytest.raises(ArtifactError, match=re.escape(name) + ".*`otel-tracead train` writes no such network"):
        Session(FOREIGN[name].SerializeToString(), lambda _run: None, provider="cpu")


def test_a_constant_that_is_not_there_takes_no_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    hollow = onnx.TensorProto(name="hollow", data_type=TensorProto.FLOAT, dims=[64 * GIB])
    model = network(helper.make_node("Add", ["x", "hollow"], ["big"]), hollow=hollow)

    def try_out(run: Run) -> None:
        run(["y"], {"x": np.ones(1, np.float32)})

    with pytest.raises(ArtifactError, match="cannot run it"):
        Session(model.SerializeToString(), try_out, provider="cpu")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10


def test_the_operators_are_those_that_training_writes() -> None:
    sources = (ROOT / "otel_tracead/training").rglob("*.py")
    written = {kind for path in sources for kind in re.findall(r'add\(\s*"([A-Z]\w+)"', path.read_text())}
    assert written == OPERATORS


def test_a_forked_process_takes_memory_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The locks of what all sessions share may be held by a thread that is not there any more."""
    model, shared = random_network(Architecture(labels=4, **SIZES)), "session.use_env_allocators"

    def options() -> Any:
        return onnx_sessions._session(model, 1, ["CPUExecutionProvider"]).get_session_options()

    assert foreign(model) == ""
    assert options().get_session_config_entry(shared) == "1"
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with pytest.raises(RuntimeError):
        options().get_session_config_entry(shared)
