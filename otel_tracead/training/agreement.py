"""Does the ONNX graph say what the network in PyTorch says?"""

import numpy as np
import numpy.typing as npt
import torch

from otel_tracead.detection.scorer import Scorer
from otel_tracead.training.network import MultimodalLstm, label_surprise, time_surprise
from otel_tracead.training.recipe import Sequenced


def largest_difference(
    network: MultimodalLstm, encoded: bytes, data: Sequenced, traces: npt.NDArray[np.int64]
) -> float:
    """Compare PyTorch and ONNX Runtime on some traces: the largest difference of any surprise, in nats."""
    scorer = Scorer(encoded, state=network.architecture.state, provider="cpu")
    worst = 0.0
    for trace in traces.tolist():
        rows = slice(int(data.offsets[trace]), int(data.offsets[trace + 1]))
        label, scaled = data.label[rows], data.scaled[rows]
        found = scorer.surprise(label, scaled, np.array([0, len(label)]))
        labels = torch.from_numpy(np.concatenate(([0], label, [0])))[None]
        times = torch.from_numpy(np.concatenate(([0.0], scaled, [0.0])).astype(np.float32))[None]
        with torch.no_grad():
            prediction = network(labels[:, :-1], times[:, :-1], labels[:, 1:])
            by_label = label_surprise(prediction, labels[:, 1:])[0].numpy()
            by_time = time_surprise(prediction, times[:, 1:])[0, :-1].numpy()
        worst = max(
            worst,
            float(np.abs(by_label - found.label).max()),
            float(np.abs(by_time - found.time[:-1]).max(initial=0.0)),
        )
    return worst
