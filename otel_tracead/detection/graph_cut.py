"""Looks into an ONNX graph, and cuts it in two at one of its tensors, without ONNX's library, which a stage does not have.

Messages are read as far as names go; whatever else is in them (weights, attributes, shapes) stays as it came.
Source: onnx/onnx.proto.
"""

from collections.abc import Collection, Sequence
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
FLOAT: Final = 1
INT32: Final = 6
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
        found = read(model)
    except DecodeError:
        return "it is no ONNX model"
    for node in found.graph.node:
        if node.domain or node.op_type not in OPERATORS:
            return f"operator {node.domain}{'.' if node.domain else ''}{node.op_type}"[:100]
    if found.functions or found.graph.sparse_initializer:
        return "functions or sparse tensors"
    if any(tensor.data_type == _STRING for tensor in found.graph.initializer):
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
        whole = read(model)
    except DecodeError:
        return None
    if not any(tensor in node.output for node in whole.graph.node):
        return None
    given = value(tensor, FLOAT, _RANK)
    outputs_known = {one.name: one for one in whole.graph.output}
    first = part(whole, gives=[given])
    if not {one.name for one in first.graph.input} <= set(of):
        return None
    second = part(whole, gives=[outputs_known[name] for name in outputs], takes=[given])
    return Halves(bytes(first.SerializeToString()), bytes(second.SerializeToString()))


def part(model: Any, *, gives: Sequence[Any], takes: Sequence[Any] = ()) -> Any:
    """Give the part of a model that makes some tensors of others; both are values (see `value`).

    Inputs of the model that the part needs are its inputs, too.
    """
    graph, given = model.graph, {one.name for one in takes}
    makers = {name: index for index, node in enumerate(graph.node) for name in node.output if name not in given}
    nodes: set[int] = set()
    names: set[str] = set()
    left = [one.name for one in gives]
    while left:
        name = left.pop()
        if name in names:
            continue
        names.add(name)
        if name in makers:
            nodes.add(makers[name])
            left += graph.node[makers[name]].input
    kept = type(model).FromString(model.SerializeToString())
    for field, values in (
        ("node", [node for index, node in enumerate(graph.node) if index in nodes]),
        ("initializer", [one for one in graph.initializer if one.name in names]),
        ("input", [*(one for one in graph.input if one.name in names - given), *takes]),
        ("output", gives),
    ):
        kept.graph.ClearField(field)
        getattr(kept.graph, field).extend(values)
    return kept


def value(name: str, elements: int, rank: int) -> Any:
    """Describe a tensor of any shape."""
    described = _classes()["Value"](name=name)
    described.type.tensor.elements = elements
    for _ in range(rank):
        described.type.tensor.shape.dim.add()
    return described


def read(model: bytes) -> Any:
    """Read a model.

    Raises:
        DecodeError: it is none.
    """
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
