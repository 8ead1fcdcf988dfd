"""The paper's networks as ONNX graphs, written node by node; `otel_tracead.detection.window_network` runs them.

Labels go in as ids and become one-hot inside, so the arithmetic is the paper's. What comes out is what a verdict needs.
"""

from collections.abc import Mapping

import numpy as np
from onnx import TensorProto, helper

from otel_tracead.training.onnx_nodes import Array, Graph, encode, value
from otel_tracead.training.paper.architecture import Join, Layers, Modality, WindowArchitecture

TOP = 5


def build(weights: Mapping[str, Array], architecture: WindowArchitecture) -> bytes:
    """Build the graph of a network.

    Args:
        weights: of the network in PyTorch, by the names of its state.
        architecture: its shape.

    Returns:
        The bytes of `model.onnx`. Inputs: `labels` int32 `[batch, time]` and scaled `times` float `[batch, time, 1]`, as
        far as the network reads them. Step t forecasts what stands at t + 1, so outputs have one step less:
        `label_rank`, `label_probability`, `top_labels`, `top_probabilities`, `predicted_time`.
    """
    a, g = architecture, Graph()
    for name, index in (
        ("one", [1]),
        ("zero", [0]),
        ("minus_one", [-1]),
        ("last", [np.iinfo(np.int64).max]),
    ):
        g.constant(name, index, np.int64)
    labels = times = ""
    inputs, outputs = [], []
    if a.reads_labels:
        g.add("Cast", ["labels"], "ids", to=TensorProto.INT64)
        labels = g.add("Slice", ["ids", "zero", "minus_one", "one"], "ids_in")
        inputs.append(value("labels", TensorProto.INT32, "batch", "time"))
    if a.reads_times:
        times = g.add("Slice", ["times", "zero", "minus_one", "one"], "times_in")
        inputs.append(value("times", TensorProto.FLOAT, "batch", "time", 1))
    hidden = _lstm_layers if a.layers is Layers.LSTM else _dense_layers
    for_label, for_time = hidden(g, weights, a, labels, times)
    if a.reads_labels:
        _label_outputs(g, g.linear("logits", weights, "label_head", for_label), a)
        top = min(TOP, a.labels)
        outputs += [
            value("label_rank", TensorProto.INT64, "batch", "steps"),
            value("label_probability", TensorProto.FLOAT, "batch", "steps"),
            value("top_labels", TensorProto.INT64, "batch", "steps", top),
            value("top_probabilities", TensorProto.FLOAT, "batch", "steps", top),
        ]
    if a.reads_times:
        g.add("Squeeze", [g.linear("time_column", weights, "time_head", for_time), "minus_one"], "predicted_time")
        outputs.append(value("predicted_time", TensorProto.FLOAT, "batch", "steps"))
    return encode(
        helper.make_graph(g.nodes, f"paper_{a.layers.value}_{a.modality.value}", inputs, outputs, g.constants)
    )


def _lstm_layers(
    g: Graph, weights: Mapping[str, Array], a: WindowArchitecture, labels: str, times: str
) -> tuple[str, str]:
    """Add the LSTM layers, time first as ONNX Runtime wants it; gives what the two heads read."""
    parts = {}
    if a.reads_labels:
        g.constant("off_on", [0.0, 1.0])
        g.constant("depth", a.labels, np.int64)
        g.add("Transpose", [labels], "ids_by_step", perm=[1, 0])
        parts["label"] = g.add("OneHot", ["ids_by_step", "depth", "off_on"], "one_hot", axis=-1)
    if a.reads_times:
        parts["time"] = g.add("Transpose", [times], "times_by_step", perm=[1, 0, 2])
    if a.modality is Modality.BOTH and a.join is not Join.FIRST:
        parts = {name: g.lstm(name, weights, f"{name}_lstm", part, a.units) for name, part in parts.items()}
        if a.join is Join.HEADS:
            parts = {
                name: g.lstm(f"{name}_second", weights, f"{name}_second_lstm", part, a.units)
                for name, part in parts.items()
            }
    joined = g.add("Concat", list(parts.values()), "joined", axis=-1)
    if a.modality is not Modality.BOTH or a.join is Join.FIRST:
        joined = g.lstm("first", weights, "first_lstm", joined, a.units)
    if a.modality is not Modality.BOTH or a.join is not Join.HEADS:
        joined = g.lstm("second", weights, "second_lstm", joined, a.units)
    hidden = g.add("Transpose", [joined], "hidden", perm=[1, 0, 2])
    return hidden, hidden


def _dense_layers(
    g: Graph, weights: Mapping[str, Array], a: WindowArchitecture, labels: str, times: str
) -> tuple[str, str]:
    """Add the dense layers: the first one's rows for each event, summed up to each position."""
    g.constant("along_time", 1, np.int64)
    g.constant("scalar_zero", 0, np.int64)
    g.constant("scalar_one", 1, np.int64)
    g.add("Shape", [labels or times], "steps_shape", start=1, end=2)
    g.add("Squeeze", ["steps_shape", "zero"], "steps")
    g.add("Range", ["scalar_zero", "steps", "scalar_one"], "step")
    parts = []
    if a.reads_labels:
        g.add("Mul", ["step", g.constant("rows_a_step", a.labels, np.int64)], "first_row")
        g.add("Add", [labels, "first_row"], "label_row")
        g.add("Gather", [g.constant("label_first_rows", weights["label_first.weight"].T), "label_row"], "label_rows")
        parts.append(_summed(g, "label", weights))
    if a.reads_times:
        g.add("Gather", [g.constant("time_first_rows", weights["time_first.weight"].T), "step"], "time_weights")
        g.add("Mul", [times, "time_weights"], "time_rows")
        parts.append(_summed(g, "time", weights))
    g.add("Concat", parts, "joined_sum", axis=-1)
    joined = g.add("Relu", ["joined_sum"], "joined")

    def second(name: str) -> str:
        return g.add("Relu", [g.linear(f"{name}_second", weights, f"{name}_second", joined)], f"{name}_hidden")

    return second("label") if a.reads_labels else "", second("time") if a.reads_times else ""


def _summed(g: Graph, name: str, weights: Mapping[str, Array]) -> str:
    g.add("CumSum", [f"{name}_rows", "along_time"], f"{name}_sum")
    bias = g.constant(f"{name}_first_bias", weights[f"{name}_first.bias"])
    return g.add("Add", [f"{name}_sum", bias], f"{name}_first")


def _label_outputs(g: Graph, logits: str, a: WindowArchitecture) -> None:
    g.add("Slice", ["ids", "one", "last", "one"], "ids_next")
    g.add("Unsqueeze", ["ids_next", "minus_one"], "next_column")
    g.add("GatherElements", [logits, "next_column"], "came_column", axis=-1)
    g.add("Greater", [logits, "came_column"], "more_probable")
    g.add("Cast", ["more_probable"], "more_probable_int", to=TensorProto.INT64)
    g.add("ReduceSum", ["more_probable_int", "minus_one"], "label_rank", keepdims=0)
    g.add("Softmax", [logits], "probabilities", axis=-1)
    g.add("GatherElements", ["probabilities", "next_column"], "probability_column", axis=-1)
    g.add("Squeeze", ["probability_column", "minus_one"], "label_probability")
    g.constant("top", [min(TOP, a.labels)], np.int64)
    g.add("TopK", ["probabilities", "top"], ["top_probabilities", "top_labels"], axis=-1)
