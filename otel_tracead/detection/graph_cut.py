"""Looks into an ONNX graph, and cuts it in two at one of its tensors, without ONNX's library, which a stage does not have.

Messages are read as far as names go; whatever else is in them (weights, attributes, shapes) stays as it came.
Source: onnx/onnx.proto.
"""

from collections.abc import Collection, Iterable, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

_F: Final = descriptor_pb2.FieldDescriptorProto
_PACKAGE: Final = "otel_tracead.onnx"
_MESSAGES: Final[dict[str, tuple[tuple[int, str, Any, bool], ...]]] = {
    "Model": ((7, "graph", "Graph", False), (25, "functions", _F.TYPE_BYTES, True)),
    "Graph": (
        (1, "node", "Node", True),
        (5, "initializer", "Tensor", True),
        (11, "input", "Value", True),
        (12, "output", "Value", True),
        (15, "sparse_initializer", _F.TYPE_BYTES, True),
    ),
    "Node": (
        (1, "input", _F.TYPE_STRING, True),
        (2, "output", _F.TYPE_STRING, True),
        (4, "op_type", _F.TYPE_STRING, False),
        (7, "domain", _F.TYPE_STRING, False),
    ),
    "Tensor": ((2, "data_type", _F.TYPE_INT32, False), (8, "name", _F.TYPE_STRING, False)),
    "Value": ((1, "name", _F.TYPE_STRING, False), (2, "type", "Type", False)),
    "Type": ((1, "tensor", "TensorType", False),),
    "TensorType": ((1, "elements", _F.TYPE_INT32, False), (2, "shape", "Shape", False)),
    "Shape": ((1, "dim", "Dim", True),),
    "Dim": (),
}
_FLOAT: Final = 1
_STRING: Final = 8
_RANK: Final = 3
# What `otel_tracead.training` writes. Others can hold graphs of their own that run for ever (Loop), or memory that no
# limit of ONNX Runtime counts (everything that has to do with strings and sequences).
OPERATORS: Final = frozenset(
    {
        *("Add", "Cast", "Clip", "Concat", "CumSum", "Div", "Exp", "Gather", "GatherElements", "Greater", "LSTM"),
        *("Less", "Log", "LogSoftmax", "MatMul", "Mul", "Neg", "OneHot", "Range", "ReduceSum", "Relu", "Shape"),
        *("Slice", "Softmax", "Split", "Squeeze", "Sub", "Tanh", "TopK", "Transpose", "Unsqueeze", "Where"),
    }
)


def foreign(model: bytes) -> str:
    """Say what is in a model that no training of ours writes; empty if there is nothing."""
    try:
        read = _model(model)
    except DecodeError:
        return "it is no ONNX model"
    for node in read.graph.node:
        if node.domain or node.op_type not in OPERATORS:
            return f"operator {node.domain}{'.' if node.domain else ''}{node.op_type}"[:100]
    if read.functions or read.graph.sparse_initializer:
        return "functions or sparse tensors"
    if any(tensor.data_type == _STRING for tensor in read.graph.initializer):
        return "tensors of strings"
    return ""


class Halves(NamedTuple):
    """A model in two.

    Attributes:
        first: the bytes of the model that gives the tensor.
        second: the bytes of the one that takes it.
    """

    first: bytes
    second: bytes


def cut(model: bytes, tensor: str, *, of: Collection[str], outputs: Sequence[str]) -> Halves | None:
    """Cut a model at a *tensor*; None where it has no such tensor, or that is made of other inputs.

    Args:
        model: a valid model whose nodes hold no graphs of their own.
        tensor: of floats `[., ., .]`: what the first half gives and the second one takes.
        of: inputs that the first half may need.
        outputs: what the second half gives.
    """
    try:
        graph = _model(model).graph
    except DecodeError:
        return None
    makers = {name: index for index, node in enumerate(graph.node) for name in node.output}
    if tensor not in makers:
        return None
    before = _needed(graph, makers, [tensor])
    behind = _needed(graph, makers, outputs, given=tensor)
    inputs = {one.name for one in graph.input}
    if not before.names & inputs <= set(of):
        return None
    return Halves(_part(model, before, gives=[tensor]), _part(model, behind, gives=outputs, takes=tensor))


class _Needed(NamedTuple):
    """What some tensors are made of.

    Attributes:
        nodes: their places.
        names: of all tensors, inputs and constants among them.
    """

    nodes: set[int]
    names: set[str]


def _needed(graph: Any, makers: dict[str, int], wanted: Iterable[str], given: str = "") -> _Needed:
    nodes: set[int] = set()
    names: set[str] = set()
    left = list(wanted)
    while left:
        name = left.pop()
        if name in names:
            continue
        names.add(name)
        node = makers.get(name)
        if node is not None and name != given:
            nodes.add(node)
            left += graph.node[node].input
    return _Needed(nodes, names)


def _part(model: bytes, needed: _Needed, *, gives: Sequence[str], takes: str = "") -> bytes:
    part = _model(model)
    graph = part.graph
    known = {one.name: one for one in graph.output}
    outputs = [known.get(name) or _floats(name) for name in gives]
    nodes = [node for index, node in enumerate(graph.node) if index in needed.nodes]
    constants = [one for one in graph.initializer if one.name in needed.names]
    inputs = [one for one in graph.input if one.name in needed.names] + ([_floats(takes)] if takes else [])
    for field, kept in (("node", nodes), ("initializer", constants), ("input", inputs), ("output", outputs)):
        copies = [type(one).FromString(one.SerializeToString()) for one in kept]
        graph.ClearField(field)
        getattr(graph, field).extend(copies)
    return bytes(part.SerializeToString())


def _floats(name: str) -> Any:
    value = _classes()["Value"](name=name)
    value.type.tensor.elements = _FLOAT
    for _ in range(_RANK):
        value.type.tensor.shape.dim.add()
    return value


def _model(model: bytes) -> Any:
    return _classes()["Model"].FromString(model)


@cache
def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="otel_tracead/onnx.proto", package=_PACKAGE, syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, field_name, kind, repeated in fields:
            field = message.field.add(name=field_name, number=number)
            field.label = _F.LABEL_REPEATED if repeated else _F.LABEL_OPTIONAL
            if isinstance(kind, str):
                field.type, field.type_name = _F.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                field.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES
    }
