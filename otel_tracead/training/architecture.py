"""The sizes of the network, and the limits inside it: what its PyTorch form and its ONNX graph must agree on."""

from dataclasses import dataclass
from typing import Final

CLIP: Final = 4.0
"""A surprising time must not decide what the network thinks of everything after it."""
LOG_SCALE_MIN: Final = -5.0
LOG_SCALE_MAX: Final = 3.0
FARTHEST: Final = 80.0
"""Scales from a component's mean beyond which all times are as improbable: e to it is still a number in 32 bits."""
MOST_CLASSES: Final = 320
"""Labels that the network forecasts one by one, the most frequent: what a span costs must not grow with the labels."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of the network; recorded in the manifest.

    Attributes:
        labels: size of the dictionary.
        embedding: numbers a label.
        label_units: width of the LSTM that reads labels.
        time_units: width of the LSTM that reads labels and times.
        head_units: hidden units of the time head.
        components: logistic distributions in the mixture.
    """

    labels: int
    embedding: int = 16
    label_units: int = 32
    time_units: int = 24
    head_units: int = 32
    components: int = 4

    @property
    def classes(self) -> int:
        """Count what the label head tells apart: all labels, or so many that the rest count as `!rare`."""
        return min(self.labels, MOST_CLASSES)

    @property
    def state(self) -> int:
        """Width of the carried state: h and c of both layers."""
        return 2 * self.joined

    @property
    def joined(self) -> int:
        """Width of what both heads read."""
        return self.label_units + self.time_units
