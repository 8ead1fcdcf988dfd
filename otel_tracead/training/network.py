"""The multimodal LSTM in PyTorch (the paper's section on the multimodal model), and its losses.

One LSTM layer reads labels, one reads labels and times; their outputs of the same step are joined, and both heads read
them. (The paper: the second reads times alone, and a third layer reads what is joined. A time means nothing without its
label, and a layer that sees both makes the third needless: `docs/performance.md`.) The label head is a softmax over the
next label. The time head predicts, given the next label too, a mixture of logistic distributions over the log of the next
event's own work (the paper: a point, by squared error).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from otel_tracead.traces.dictionary import RARE_ID
from otel_tracead.training.architecture import CLIP, FARTHEST, LOG_SCALE_MAX, LOG_SCALE_MIN, Architecture


class Prediction(NamedTuple):
    """What the network says of the next event at every step.

    Attributes:
        logits: of the next label `[batch, time, classes]`.
        log_weight: of the mixture's components `[batch, time, components]`.
        mean: likewise.
        log_scale: likewise.
    """

    logits: Tensor
    log_weight: Tensor
    mean: Tensor
    log_scale: Tensor


class MultimodalLstm(nn.Module):
    """Labels and times in, next label and next time out, many to many."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = self.architecture = architecture
        self.embedding = nn.Embedding(a.labels, a.embedding)
        self.label_lstm = nn.LSTM(a.embedding, a.label_units, batch_first=True)
        self.time_lstm = nn.LSTM(a.embedding + 1, a.time_units, batch_first=True)
        self.label_head = nn.Linear(a.joined, a.classes)
        self.time_hidden = nn.Linear(a.joined, a.head_units)
        self.next_hidden = nn.Embedding(a.labels, a.head_units)
        self.time_head = nn.Linear(a.head_units, 3 * a.components)
        with torch.no_grad():
            # Components start apart, narrow ones below and above the typical time.
            self.time_head.bias[a.components : 2 * a.components] = torch.linspace(-1.0, 2.0, a.components)
            self.time_head.bias[2 * a.components :] = -0.5

    def forward(self, labels: Tensor, times: Tensor, following: Tensor) -> Prediction:
        """Predict `following` from what came before.

        Args:
            labels: dictionary indices, `!0` first `[batch, time]`.
            times: scaled log times `[batch, time]`.
            following: the next labels `[batch, time]`.
        """
        embedded = self.embedding(labels)
        by_label, _ = self.label_lstm(embedded)
        by_time, _ = self.time_lstm(torch.cat((embedded, times.clamp(-CLIP, CLIP).unsqueeze(-1)), -1))
        joined = torch.cat((by_label, by_time), -1)
        mixture = self.time_head(torch.tanh(self.time_hidden(joined) + self.next_hidden(following)))
        k = self.architecture.components
        return Prediction(
            self.label_head(joined),
            mixture[..., :k].log_softmax(-1),
            mixture[..., k : 2 * k],
            mixture[..., 2 * k :].clamp(LOG_SCALE_MIN, LOG_SCALE_MAX),
        )


def label_surprise(prediction: Prediction, following: Tensor) -> Tensor:
    """Give -ln p of the labels that came, or of `!rare` for those without a class `[batch, time]`."""
    classes = following.masked_fill(following >= prediction.logits.shape[-1], RARE_ID)
    return functional.cross_entropy(prediction.logits.transpose(1, 2), classes, reduction="none")


def time_loss(prediction: Prediction, times: Tensor) -> Tensor:
    """Give -ln of the predicted density at the times that came `[batch, time]`."""
    x = (times.unsqueeze(-1) - prediction.mean) * torch.exp(-prediction.log_scale)
    density = -x - 2 * functional.softplus(-x) - prediction.log_scale
    return -(prediction.log_weight + density).logsumexp(-1)


def time_surprise(prediction: Prediction, times: Tensor) -> Tensor:
    """Give -ln of the predicted probability of a time at least as long `[batch, time]`."""
    x = (times.unsqueeze(-1) - prediction.mean) * torch.exp(-prediction.log_scale)
    return -(prediction.log_weight - functional.softplus(x.clamp(-FARTHEST, FARTHEST))).logsumexp(-1)
