"""The network as an ONNX graph with the verdict's numbers inside, written node by node.

Written by hand and not traced: labels go in as ids (a gather instead of a product with one-hot rows), the state is
carried over windows, and only what a verdict needs comes out. `otel_tracead.detection.scorer` runs it.
"""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper

from otel_tracead.training.architecture import CLIP, LOG_SCALE_MAX, LOG_SCALE_MIN, Architecture
from otel_tracead.training.onnx_nodes import Array, Graph, encode, value

_TOP = 3


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
        ("two", [2]),
        ("last", [np.iinfo(np.int64).max]),
    ):
        g.constant(name, index, np.int64)
    k = a.components
    inputs = g.add("Slice", ["labels", "zero", "minus_one", "one"], "labels_in")
    following = g.add("Slice", ["labels", "one", "last", "one"], "labels_next")
    times = g.add("Slice", ["times", "zero", "minus_one", "one"], "times_in")
    next_times = g.add("Slice", ["times", "one", "last", "one"], "times_next")
    # ONNX Runtime's LSTM wants time first.
    g.add("Transpose", [inputs], "labels_by_step", perm=[1, 0])
    g.add("Gather", [g.constant("embedding", weights["embedding.weight"]), "labels_by_step"], "embedded")
    g.add("Clip", [times, g.constant("clip_low", -CLIP), g.constant("clip_high", CLIP)], "times_clipped")
    g.add("Transpose", ["times_clipped"], "times_by_step", perm=[1, 0, 2])
    widths = [width for width in (a.label_units, a.time_units, a.joint_units) for _ in range(2)]
    g.constant("widths", widths, np.int64)
    g.add("Split", ["state", "widths"], [f"state_{i}" for i in range(6)], axis=1)
    states: list[str] = []
    by_label = _lstm(g, "label", weights, "label_lstm", "embedded", a.label_units, 0, states)
    by_time = _lstm(g, "time", weights, "time_lstm", "times_by_step", a.time_units, 2, states)
    g.add("Concat", [by_label, by_time], "joined", axis=-1)
    joint = _lstm(g, "joint", weights, "joint_lstm", "joined", a.joint_units, 4, states)
    g.add("Concat", states, "state_out", axis=1)
    g.add("Transpose", [joint], "hidden", perm=[1, 0, 2])
    # Labels.
    g.add("MatMul", ["hidden", g.constant("label_head", weights["label_head.weight"].T)], "label_product")
    g.add("Add", ["label_product", g.constant("label_bias", weights["label_head.bias"])], "logits")
    g.add("Cast", [following], "next_ids", to=TensorProto.INT64)
    g.add("Unsqueeze", ["next_ids", "minus_one"], "next_column")
    g.add("GatherElements", ["logits", "next_column"], "came_column", axis=-1)
    # Not a ReduceLogSumExp over the labels: ONNX Runtime takes three times as long for it.
    g.add("LogSoftmax", ["logits"], "log_probabilities", axis=-1)
    g.add("GatherElements", ["log_probabilities", "next_column"], "came_log_probability", axis=-1)
    g.add("Neg", ["came_log_probability"], "surprise_column")
    g.add("Squeeze", ["surprise_column", "minus_one"], "label_surprise")
    # Times.
    g.add("Gather", [g.constant("next_embedding", weights["next_embedding.weight"]), following], "next_embedded")
    g.add("Concat", ["hidden", "next_embedded"], "time_input", axis=-1)
    g.add("MatMul", ["time_input", g.constant("time_hidden", weights["time_hidden.weight"].T)], "time_hidden_product")
    g.add(
        "Add", ["time_hidden_product", g.constant("time_hidden_bias", weights["time_hidden.bias"])], "time_hidden_sum"
    )
    g.add("Tanh", ["time_hidden_sum"], "time_hidden_out")
    g.add("MatMul", ["time_hidden_out", g.constant("time_head", weights["time_head.weight"].T)], "time_product")
    g.add("Add", ["time_product", g.constant("time_bias", weights["time_head.bias"])], "mixture")
    g.constant("thirds", [k, k, k], np.int64)
    g.add("Split", ["mixture", "thirds"], ["weight", "mean", "scale"], axis=-1)
    g.add("LogSoftmax", ["weight"], "log_weight", axis=-1)
    g.add(
        "Clip", ["scale", g.constant("scale_low", LOG_SCALE_MIN), g.constant("scale_high", LOG_SCALE_MAX)], "log_scale"
    )
    g.add("Neg", ["log_scale"], "minus_scale")
    g.add("Exp", ["minus_scale"], "inverse_scale")
    g.add("Sub", [next_times, "mean"], "difference")
    g.add("Mul", ["difference", "inverse_scale"], "standardized")
    g.add("Softplus", ["standardized"], "minus_log_survival")
    g.add("Sub", ["log_weight", "minus_log_survival"], "log_parts")
    g.add("ReduceLogSumExp", ["log_parts"], "log_survival", axes=[-1], keepdims=0)
    g.add("Neg", ["log_survival"], "time_surprise")
    # Details, computed only where asked for.
    g.add("Greater", ["logits", "came_column"], "more_probable")
    g.add("Cast", ["more_probable"], "more_probable_int", to=TensorProto.INT64)
    g.add("ReduceSum", ["more_probable_int", "minus_one"], "label_rank", keepdims=0)
    g.add("Softmax", ["logits"], "probabilities", axis=-1)
    g.constant("top", [min(_TOP, a.labels)], np.int64)
    g.add("TopK", ["probabilities", "top"], ["top_probabilities", "top_labels"], axis=-1)
    g.add("Concat", ["log_weight", "mean", "log_scale"], "time_mixture", axis=-1)
    return encode(_graph(g, a))


def _lstm(
    g: Graph, name: str, weights: Mapping[str, Array], prefix: str, x: str, units: int, state: int, states: list[str]
) -> str:
    """Add one LSTM layer with its part of the carried state."""
    h = g.add("Unsqueeze", [f"state_{state}", "zero"], f"{name}_h")
    c = g.add("Unsqueeze", [f"state_{state + 1}", "zero"], f"{name}_c")
    out = g.lstm(name, weights, prefix, x, units, (h, c))
    states.extend(g.add("Squeeze", [f"{name}_{end}", "zero"], f"{name}_{end}_flat") for end in ("hn", "cn"))
    return out


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
            value("state_out", TensorProto.FLOAT, "batch", a.state),
            value("label_rank", TensorProto.INT64, "batch", "steps"),
            value("top_labels", TensorProto.INT64, "batch", "steps", min(_TOP, a.labels)),
            value("top_probabilities", TensorProto.FLOAT, "batch", "steps", min(_TOP, a.labels)),
            value("time_mixture", TensorProto.FLOAT, "batch", "steps", 3 * a.components),
        ],
        g.constants,
    )
