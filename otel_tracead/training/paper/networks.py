"""The paper's networks in PyTorch (its section on models), many to many: the next event from all events before it.

What the paper leaves open: the width of its layers, an option here; and how a dense network is kept from reading the
event that it has to forecast. Ours forecasts each position from the window up to there, padded with zeros behind.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from otel_tracead.training.paper.architecture import DENSE, Join, Layers, Modality, WindowArchitecture


class Prediction(NamedTuple):
    """What a network says of the next event at every position.

    Attributes:
        logits: of the next label `[batch, time, labels]`; None from a network of times alone.
        time: scaled time of the next event `[batch, time]`; None from a network of labels alone.
    """

    logits: Tensor | None
    time: Tensor | None


class _Lstm(nn.LSTM):
    """An LSTM layer with its steps written out and labels as a gather: half the time of PyTorch's own on one core.

    The numbers and the names of its weights are those of `nn.LSTM` on one-hot labels, with what else it reads behind them.
    Not so the weights that labels begin with: one input in hundreds is on, and PyTorch's small numbers, meant for a sum
    over all, keep a network of labels alone from learning for thousands of steps.
    """

    def __init__(self, width: int, units: int, labels: int = 0) -> None:
        super().__init__(labels + width, units)
        self.labels = labels
        if labels:
            nn.init.normal_(self.weight_ih_l0.data[:, :labels])

    def forward(self, x: Tensor | None, labels: Tensor | None = None) -> Tensor:
        """Read `x` `[batch, time, width]` and labels `[batch, time]`, either may be missing; gives `[batch, time, units]`."""
        weight = self.weight_ih_l0.T
        gates = self.bias_ih_l0 + self.bias_hh_l0
        if labels is not None:
            gates = gates + functional.embedding(labels, weight[: self.labels])
        if x is not None:
            gates = gates + x @ weight[self.labels :]
        hidden = cell = gates.new_zeros(gates.shape[0], self.hidden_size)
        outputs = []
        for step in gates.unbind(1):
            i, f, g, o = torch.addmm(step, hidden, self.weight_hh_l0.T).chunk(4, 1)
            cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
            hidden = torch.sigmoid(o) * torch.tanh(cell)
            outputs.append(hidden)
        return torch.stack(outputs, 1)


class LstmNetwork(nn.Module):
    """Two stacked LSTM layers: SAD, RTAD, and the multimodal LSTM with its choice of where the modalities join."""

    def __init__(self, architecture: WindowArchitecture) -> None:
        super().__init__()
        a = self.architecture = architecture
        labels = a.labels if a.reads_labels else 0
        self.apart = a.modality is Modality.BOTH and a.join is not Join.FIRST
        self.joined_by_heads = self.apart and a.join is Join.HEADS
        if self.apart:
            self.label_lstm = _Lstm(0, a.units, labels)
            self.time_lstm = _Lstm(1, a.units)
        else:
            self.first_lstm = _Lstm(1 if a.reads_times else 0, a.units, labels)
        if self.joined_by_heads:
            self.label_second_lstm = _Lstm(a.units, a.units)
            self.time_second_lstm = _Lstm(a.units, a.units)
        else:
            self.second_lstm = _Lstm(2 * a.units if self.apart else a.units, a.units)
        hidden = 2 * a.units if self.joined_by_heads else a.units
        if a.reads_labels:
            self.label_head = nn.Linear(hidden, a.labels)
        if a.reads_times:
            self.time_head = nn.Linear(hidden, 1)

    def forward(self, labels: Tensor, times: Tensor) -> Prediction:
        """Forecast; see `network`."""
        a = self.architecture
        column = times.unsqueeze(-1)
        if self.apart:
            by_label, by_time = self.label_lstm(None, labels), self.time_lstm(column)
            if self.joined_by_heads:
                by_label, by_time = self.label_second_lstm(by_label), self.time_second_lstm(by_time)
            hidden = torch.cat((by_label, by_time), -1)
        else:
            hidden = self.first_lstm(column if a.reads_times else None, labels if a.reads_labels else None)
        if not self.joined_by_heads:
            hidden = self.second_lstm(hidden)
        return Prediction(
            self.label_head(hidden) if a.reads_labels else None,
            self.time_head(hidden).squeeze(-1) if a.reads_times else None,
        )


class DenseNetwork(nn.Module):
    """The dense baselines. The first layer reads the whole window, flattened, with zeros behind the position.

    So its sum over the events up to a position is that over the events up to the one before, and one more: all
    positions at once are a cumulative sum, with the same numbers as one product for each padded window.
    """

    def __init__(self, architecture: WindowArchitecture) -> None:
        super().__init__()
        a = self.architecture = architecture
        first, second = DENSE
        if a.reads_labels:
            self.label_first = nn.Linear(a.length * a.labels, first)
        if a.reads_times:
            self.time_first = nn.Linear(a.length, first)
        joined = 2 * first if a.modality is Modality.BOTH else first
        if a.reads_labels:
            self.label_second = nn.Linear(joined, second)
            self.label_head = nn.Linear(second, a.labels)
        if a.reads_times:
            self.time_second = nn.Linear(joined, second)
            self.time_head = nn.Linear(second, 1)

    def forward(self, labels: Tensor, times: Tensor) -> Prediction:
        """Forecast; see `network`."""
        a = self.architecture
        parts = []
        if a.reads_labels:
            place = torch.arange(labels.shape[1], device=labels.device) * a.labels + labels
            parts.append(functional.embedding(place, self.label_first.weight.T).cumsum(1) + self.label_first.bias)
        if a.reads_times:
            weight = self.time_first.weight.T[: times.shape[1]]
            parts.append((times.unsqueeze(-1) * weight).cumsum(1) + self.time_first.bias)
        joined = torch.relu(torch.cat(parts, -1))
        logits = time = None
        if a.reads_labels:
            logits = self.label_head(torch.relu(self.label_second(joined)))
        if a.reads_times:
            time = self.time_head(torch.relu(self.time_second(joined))).squeeze(-1)
        return Prediction(logits, time)


def network(architecture: WindowArchitecture) -> nn.Module:
    """Make a network with random weights.

    Its input: labels, dictionary indices `[batch, time]`, which it reads one-hot; and scaled times `[batch, time]`, for
    a network of labels alone too.
    """
    return LstmNetwork(architecture) if architecture.layers is Layers.LSTM else DenseNetwork(architecture)
