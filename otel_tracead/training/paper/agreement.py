"""Does the ONNX graph of one of the paper's networks say what the network in PyTorch says?"""

import numpy as np
import torch
from torch import nn

from otel_tracead.artifact.paper import MinMax
from otel_tracead.detection.window_network import WindowNetwork
from otel_tracead.traces.windows import Windows


def largest_difference(fitted: nn.Module, network: WindowNetwork, windows: Windows, scale: MinMax) -> float:
    """Compare PyTorch and ONNX Runtime on *windows*: the largest difference of a probability or a scaled time."""
    following, _ = windows.following
    scaled = np.where(windows.inside, scale.scale(windows.time_ms, windows.label), 0.0)
    found = network.look(windows.label, following, scaled)
    with torch.no_grad():
        prediction = fitted(torch.from_numpy(windows.label), torch.from_numpy(scaled.astype(np.float32)))
    worst = 0.0
    if prediction.logits is not None and found.probability is not None:
        came = prediction.logits.softmax(-1).gather(-1, torch.from_numpy(following)[..., None])[..., 0].numpy()
        worst = max(worst, float(np.abs(came - found.probability).max()))
    if prediction.time is not None and found.time is not None:
        worst = max(worst, float(np.abs(prediction.time.numpy() - found.time).max()))
    return worst
