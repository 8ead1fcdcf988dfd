"""What the paper's experiments ask of a model: cut and padded traces in, the most probable next labels and time deviations out."""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from otel_tracead.traces.windows import Windows

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

TOP: Final = 5
"""How many of the most probable labels a forecast names."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a model says at each position `t` of the event at `t + 1`, of which it has seen the events 0 to `t`.

    Attributes:
        top: the most probable next labels, best first, -1 where there are no more `[n, T, 5]`; None where the model
            knows no labels.
        rank: how many labels are more probable than the one that came (or than `!0` behind the last) `[n, T]`; None likewise.
        deviation: how far the squared error of the next response time lies above the mean of its label's errors in
            training, in their standard deviations `[n, T]`; None where the model knows no times.
    """

    top: Ints | None
    rank: Ints | None
    deviation: Floats | None


class SequenceModel(Protocol):
    """A trained model of the paper, or one that it is compared with.

    Attributes:
        name: as the tables name it.
    """

    name: str

    def forecast(self, windows: Windows) -> Forecast:
        """Forecast every position of *windows*; what stands behind a window's end means nothing."""
        ...
