"""The shapes of the paper's networks: what their PyTorch form and their ONNX graph must agree on."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from otel_tracead.traces.windows import LENGTH

DENSE: Final = (50, 20)
"""Widths of the dense networks' hidden layers (paper, the table of models)."""


class Layers(StrEnum):
    """What a network is made of."""

    LSTM = "lstm"
    DENSE = "dense"


class Modality(StrEnum):
    """What a network reads and forecasts."""

    STRUCTURE = "structure"
    TIME = "response_time"
    BOTH = "both"


class Join(StrEnum):
    """Where an LSTM of both modalities joins them: what the first layer reads, the second (the paper), or the heads."""

    FIRST = "first"
    SECOND = "second"
    HEADS = "heads"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowArchitecture:
    """One of the paper's networks.

    Attributes:
        layers: two LSTM layers or two dense ones.
        modality: labels, response times or both.
        labels: size of the dictionary.
        length: events of a window, the paper's `T_l`; a dense network reads no longer ones.
        units: of each LSTM layer. The paper does not say how many; `evaluate` chooses by cross-validation.
        join: of an LSTM of both modalities.
    """

    layers: Layers
    modality: Modality
    labels: int
    length: int = LENGTH
    units: int = 64
    join: Join = Join.SECOND

    @property
    def reads_labels(self) -> bool:
        """Whether labels go in and are forecast."""
        return self.modality is not Modality.TIME

    @property
    def reads_times(self) -> bool:
        """Whether response times go in and are forecast."""
        return self.modality is not Modality.STRUCTURE
