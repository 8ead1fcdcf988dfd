"""What our ONNX graphs are made of: constants, nodes, LSTM layers as PyTorch has them, and the bytes of the whole."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

OPSET: Final = 17
_IR: Final = 9

Array = npt.NDArray[np.float32]


class Graph:
    """Nodes and constants of a graph that is being written."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: npt.ArrayLike, kind: type = np.float32) -> str:
        """Add a constant; gives its name."""
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind, order="C"), name))
        return name

    def add(self, kind: str, inputs: list[str], outputs: str | list[str], **attributes: object) -> str:
        """Add a node; gives the name of its first output."""
        names = [outputs] if isinstance(outputs, str) else outputs
        self.nodes.append(helper.make_node(kind, inputs, names, name=names[0], **attributes))
        return names[0]

    def lstm(
        self,
        name: str,
        weights: Mapping[str, Array],
        prefix: str,
        x: str,
        units: int,
        initial: Sequence[str] = (),
    ) -> str:
        """Add one LSTM layer; its gates stand in another order in PyTorch (i, f, g, o) than in ONNX (i, o, f, c).

        Args:
            name: of the layer; its last states are `name_hn` and `name_cn`.
            weights: of the network in PyTorch.
            prefix: of the layer's weights among them.
            x: its input `[time, batch, width]`.
            units: its width.
            initial: names of h and c before the first step `[1, batch, units]`; zeros where there are none.

        Returns:
            The name of the output `[time, batch, units]`. The graph holds a constant `one`, `[1]`.
        """

        def reordered(key: str) -> Array:
            i, f, c, o = np.split(weights[f"{prefix}.{key}"], 4)
            return np.concatenate((i, o, f, c))

        w = self.constant(f"{name}_w", reordered("weight_ih_l0")[None])
        r = self.constant(f"{name}_r", reordered("weight_hh_l0")[None])
        b = self.constant(f"{name}_b", np.concatenate((reordered("bias_ih_l0"), reordered("bias_hh_l0")))[None])
        inputs = [x, w, r, b, "", *initial] if initial else [x, w, r, b]
        self.add("LSTM", inputs, [f"{name}_y", f"{name}_hn", f"{name}_cn"], hidden_size=units)
        return self.add("Squeeze", [f"{name}_y", "one"], f"{name}_out")

    def linear(self, name: str, weights: Mapping[str, Array], prefix: str, x: str) -> str:
        """Add one linear layer of the network in PyTorch, whose weights begin with *prefix*; gives its output's name."""
        product = self.add(
            "MatMul", [x, self.constant(f"{name}_weight", weights[f"{prefix}.weight"].T)], f"{name}_product"
        )
        return self.add("Add", [product, self.constant(f"{name}_bias", weights[f"{prefix}.bias"])], name)


def value(name: str, kind: int, *shape: str | int) -> onnx.ValueInfoProto:
    """Describe an input or an output."""
    return helper.make_tensor_value_info(name, kind, shape)


def encode(graph: onnx.GraphProto) -> bytes:
    """Check a graph and give the bytes of its model."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="otel-tracead")
    model.ir_version = _IR
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
