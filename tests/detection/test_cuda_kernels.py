"""Every operator of our graphs has a kernel of CUDA: one that has none goes to the CPU, and its tensors over the bus."""

from itertools import product
from pathlib import Path

import onnx
import paper_model
import pytest
from tiny_model import SIZES, random_network

from otel_tracead.training.architecture import Architecture
from otel_tracead.training.onnx_nodes import OPSET
from otel_tracead.training.paper.architecture import Join, Layers, Modality, WindowArchitecture
from tests.source_tree import ROOT

LIST = Path(__file__).with_name("cuda_kernels.txt")
NEVER_ENDS = 10**6


def kernels() -> dict[str, list[tuple[int, int, dict[str, set[str]]]]]:
    """Read the list: by operator first and last opset and the types by their names in ONNX."""
    found: dict = {}
    for line in LIST.read_text().splitlines():
        if not line.startswith("#"):
            name, first, last, *types = line.split(" ")
            by_name = {one.partition("=")[0]: set(one.partition("=")[2].split(",")) for one in types}
            found.setdefault(name, []).append((int(first), NEVER_ENDS if last == "-" else int(last), by_name))
    return found


KERNELS = kernels()


def without_kernel(network: bytes) -> list[str]:
    """Name the nodes of *network* that CUDA has no kernel for."""
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(network), strict_mode=True, data_prop=True)
    graph = model.graph
    opset = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    types = {constant.name: constant.data_type for constant in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        types[value.name] = value.type.tensor_type.elem_type
    return [f"{node.op_type} {node.name}" for node in graph.node if not has_kernel(node, types, opset)]


def has_kernel(node: onnx.NodeProto, types: dict[str, int], opset: int) -> bool:
    schema = onnx.defs.get_schema(node.op_type, opset)
    used: dict[str, str] = {}
    for formals, names in ((schema.inputs, node.input), (schema.outputs, node.output)):
        for place, name in enumerate(names):
            formal = formals[min(place, len(formals) - 1)]  # the last may be many
            if name and "(" not in formal.type_str:
                used[formal.type_str] = onnx.TensorProto.DataType.Name(types[name]).lower()
    return any(
        first <= opset <= last and all(used.get(name) in {None, *allowed} for name, allowed in by_name.items())
        for first, last, by_name in KERNELS.get(node.op_type, [])
    )


def test_the_default_network_runs_on_cuda_as_a_whole():
    assert without_kernel(random_network(Architecture(labels=12, **SIZES))) == []


def test_the_bundled_network_runs_on_cuda_as_a_whole():
    folder = ROOT / "model_artifacts" / "shop"
    for network in folder.glob("*.onnx"):
        assert without_kernel(network.read_bytes()) == []


@pytest.mark.parametrize(("layers", "modality", "join"), list(product(Layers, Modality, Join)))
def test_the_papers_networks_run_on_cuda_as_a_whole(layers, modality, join):
    architecture = WindowArchitecture(layers=layers, modality=modality, labels=9, units=4, join=join)
    assert without_kernel(paper_model.random_network(architecture)) == []


@pytest.mark.parametrize(
    ("kind", "type_", "fits"),
    [
        ("Clip", onnx.TensorProto.FLOAT, True),
        ("Clip", onnx.TensorProto.INT32, False),  # for other types only
        ("Round", onnx.TensorProto.FLOAT, True),
        ("Atan", onnx.TensorProto.FLOAT, False),
    ],
)
def test_an_operator_that_cuda_lacks_is_found(kind, type_, fits):
    here, there = (onnx.helper.make_tensor_value_info(name, type_, ["n"]) for name in "ab")
    graph = onnx.helper.make_graph([onnx.helper.make_node(kind, ["a"], ["b"], name="n")], "g", [here], [there])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)])
    assert without_kernel(model.SerializeToString()) == ([] if fits else [f"{kind} n"])
