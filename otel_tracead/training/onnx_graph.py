"""The network as an ONNX graph with the verdict's numbers inside, written node by node.

Written by hand and not traced: labels go in as ids (a gather instead of a product with one-hot rows), the state is
carried over windows, and what comes out beside the surprises is what they are made of, so that it costs nothing.
`otel_tracead.detection.scorer` runs it.
"""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper

from otel_tracead.traces.dictionary import RARE_ID
from otel_tracead.training.architecture import CLIP, FARTHEST, LOG_SCALE_MAX, LOG_SCALE_MIN, Architecture
from otel_tracead.training.onnx_nodes import Array, Graph, encode, value


def build(weights: Mapping[str, Array], architecture: Architecture) -> bytes:
    """Build the model.

    Args:
        weights: of a `MultimodalLstm`, by the names of its state.
        architecture: its sizes.

    Returns:
        The bytes of `model.onnx`. Inputs: `labels` int32 `[batch, time]`, `times` float `[batch, time, 1]`, `state` float
        `[batch, architecture.state]`. Step t predicts what stands at t + 1, so outputs have one step less.
    """
    a, g = architecture, Graph()
    for name, index in (
        ("one", [1]),
        ("zero", [0]),
        ("minus_one", [-1]),
        ("last", [np.iinfo(np.int64).max]),
    ):
        g.constant(name, index, np.int64)
    g.add("Slice", ["labels", "zero", "minus_one", "one"], "labels_in")
    g.add("Slice", ["times", "zero", "minus_one", "one"], "times_in")
    # ONNX Runtime's LSTM wants time first.
    g.add("Transpose", ["labels_in"], "labels_by_step", perm=[1, 0])
    g.add("Transpose", ["times_in"], "times_by_step", perm=[1, 0, 2])
    g.add("Gather", [g.constant("embedding", weights["embedding.weight"]), "labels_by_step"], "embedded")
    g.add("Clip", ["times_by_step", g.constant("clip_low", -CLIP), g.constant("clip_high", CLIP)], "times_clipped")
    g.add("Concat", ["embedded", "times_clipped"], "events", axis=-1)
    g.add("Unsqueeze", ["state", "zero"], "layer_state")
    g.constant("widths", [a.label_units, a.label_units, a.time_units, a.time_units], np.int64)
    states = ["label_h", "label_c", "time_h", "time_c"]
    g.add("Split", ["layer_state", "widths"], states, axis=2)
    by_label = g.lstm("label", weights, "label_lstm", "embedded", a.label_units, states[:2])
    by_time = g.lstm("time", weights, "time_lstm", "events", a.time_units, states[2:])
    ends = [
        g.add("Squeeze", [f"{layer}_{end}n", "zero"], f"{layer}_{end}_out")
        for layer in ("label", "time")
        for end in "hc"
    ]
    g.add("Concat", ends, "state_out", axis=1)
    # A unit that is always 1 makes the label head's bias a part of its product. (Made of shapes, it would be made on the CPU.)
    g.constant("unit", 1.0)
    g.add("Clip", ["times_by_step", "unit", "unit"], "ones")
    g.add("Concat", [by_label, by_time, "ones"], "joined_by_step", axis=-1)
    g.add("Transpose", ["joined_by_step"], "joined", perm=[1, 0, 2])
    g.add("Slice", ["labels", "one", "last", "one"], "labels_came")
    g.add("Slice", ["times", "one", "last", "one"], "times_came_column")
    g.add("Squeeze", ["times_came_column", "minus_one"], "times_came")
    _label_head(g, weights, a)
    _time_head(g, weights, a)
    return encode(_graph(g, a))


def _label_head(g: Graph, weights: Mapping[str, Array], a: Architecture) -> None:
    head = np.concatenate((weights["label_head.weight"].T, weights["label_head.bias"][None]))
    g.add("MatMul", ["joined", g.constant("label_head", head)], "logits")
    # Not a ReduceLogSumExp over the labels: ONNX Runtime takes three times as long for it.
    g.add("LogSoftmax", ["logits"], "log_probabilities", axis=-1)
    came = "labels_came"
    if a.classes < a.labels:
        g.add("Less", [came, g.constant("classes", a.classes, np.int32)], "has_class")
        came = g.add("Where", ["has_class", came, g.constant("rare", RARE_ID, np.int32)], "classes_came")
    g.add("Unsqueeze", [came, "minus_one"], "came_column")
    g.add("GatherElements", ["log_probabilities", "came_column"], "came_log_probability", axis=-1)
    g.add("Squeeze", ["came_log_probability", "minus_one"], "minus_label_surprise")
    g.add("Neg", ["minus_label_surprise"], "label_surprise")


def _time_head(g: Graph, weights: Mapping[str, Array], a: Architecture) -> None:
    bias = weights["next_hidden.weight"] + weights["time_hidden.bias"]
    g.add("Gather", [g.constant("next_hidden", bias), "labels_came"], "by_label")
    head = np.pad(weights["time_hidden.weight"].T, ((0, 1), (0, 0)))
    g.add("MatMul", ["joined", g.constant("time_hidden", head)], "hidden_product")
    g.add("Add", ["hidden_product", "by_label"], "hidden_sum")
    g.add("Tanh", ["hidden_sum"], "hidden")
    g.add("MatMul", ["hidden", g.constant("time_head", weights["time_head.weight"].T)], "numbers_product")
    # Components first: what follows is of four numbers a cell, and rows so short would cost more than the arithmetic.
    g.add("Transpose", ["numbers_product"], "numbers_by_component", perm=[2, 0, 1])
    bias = weights["time_head.bias"][:, None, None]
    g.add("Add", ["numbers_by_component", g.constant("time_bias", bias)], "numbers")
    g.constant("thirds", [a.components] * 3, np.int64)
    g.add("Split", ["numbers", "thirds"], ["weight", "mean", "scale"], axis=0)
    limits = [g.constant("scale_low", LOG_SCALE_MIN), g.constant("scale_high", LOG_SCALE_MAX)]
    g.add("Clip", ["scale", *limits], "log_scale")
    g.add("Concat", ["weight", "mean", "log_scale"], "mixture_by_component", axis=0)
    g.add("Transpose", ["mixture_by_component"], "mixture", perm=[1, 2, 0])
    g.add("Neg", ["log_scale"], "minus_scale")
    g.add("Exp", ["minus_scale"], "inverse_scale")
    g.add("Sub", ["times_came", "mean"], "difference")
    g.add("Mul", ["difference", "inverse_scale"], "standardized")
    # P = sum(w / (1 + e^z)) / sum(w). In logarithms, by Softplus and ReduceLogSumExp, it took a quarter of the whole run.
    g.add("Clip", ["standardized", g.constant("z_low", -FARTHEST), g.constant("z_high", FARTHEST)], "z")
    g.add("Exp", ["z"], "odds")
    g.add("Add", ["odds", "unit"], "odds_and_one")
    g.add("Exp", ["weight"], "weights")
    g.add("Div", ["weights", "odds_and_one"], "survivals")
    g.add("ReduceSum", ["survivals", "zero"], "survival", keepdims=0)
    g.add("ReduceSum", ["weights", "zero"], "weight_sum", keepdims=0)
    g.add("Div", ["weight_sum", "survival"], "inverse_probability")
    g.add("Log", ["inverse_probability"], "time_surprise")


def _graph(g: Graph, a: Architecture) -> onnx.GraphProto:
    return helper.make_graph(
        g.nodes,
        "multimodal_lstm",
        [
            value("labels", TensorProto.INT32, "batch", "time"),
            value("times", TensorProto.FLOAT, "batch", "time", 1),
            value("state", TensorProto.FLOAT, "batch", a.state),
        ],
        [
            value("label_surprise", TensorProto.FLOAT, "batch", "steps"),
            value("time_surprise", TensorProto.FLOAT, "batch", "steps"),
            value("mixture", TensorProto.FLOAT, "batch", "steps", 3 * a.components),
            value("log_probabilities", TensorProto.FLOAT, "batch", "steps", a.classes),
            value("state_out", TensorProto.FLOAT, "batch", a.state),
        ],
        g.constants,
    )
