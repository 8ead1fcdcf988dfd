"""The sizes of the network, and the limits inside it: what its PyTorch form and its ONNX graph must agree on."""

from dataclasses import dataclass
from typing import Final

CLIP: Final = 4.0
"""A surprising time must not decide what the network thinks of everything after it."""
LOG_SCALE_MIN: Final = -5.0
LOG_SCALE_MAX: Final = 3.0


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of the network; recorded in the manifest.

    Attributes:
        labels: size of the dictionary.
        embedding: numbers a label.
        label_units: width of the label LSTM.
        time_units: width of the time LSTM.
        joint_units: width of the joined layer.
        head_units: hidden units of the time head.
        components: logistic distributions in the mixture.
    """

    labels: int
    embedding: int = 16
    label_units: int = 32
    time_units: int = 16
    joint_units: int = 48
    head_units: int = 32
    components: int = 4

    @property
    def state(self) -> int:
        """Width of the carried state: h and c of the three layers."""
        return 2 * (self.label_units + self.time_units + self.joint_units)
