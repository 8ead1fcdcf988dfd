"""What fitting is given and what it gives back: the recipe, the data and the losses."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to fit.

    Attributes:
        epochs: rounds through the data, at most; None = as many as make `steps`, but at least `fewest_epochs`.
        steps: of the optimizer; what a network learns depends on them more than on rounds through the data.
        fewest_epochs: so that of much data nothing is seen only once.
        batch: traces in a step.
        learning_rate: the highest of the cycle.
        patience: epochs without a better held-out loss before it stops.
        unknown_share: share of input labels that are replaced by `!rare`, so that the network learns to go on after one.
        longest: events of a trace that are looked at in fitting; a longer trace gives a random window.
        seed: of everything random.
    """

    epochs: int | None = None
    steps: int = 2300
    fewest_epochs: int = 3
    batch: int = 24
    learning_rate: float = 6e-3
    patience: int = 4
    unknown_share: float = 0.003
    longest: int = 512
    seed: int = 0


@dataclass(slots=True)
class Sequenced:
    """Traces in the network's terms.

    Attributes:
        label: dictionary index of each event `[m]`.
        scaled: scaled log time of each event `[m]`.
        offsets: first event of each trace `[traces + 1]`.
    """

    label: Ints
    scaled: Floats
    offsets: Ints


@dataclass(frozen=True, slots=True)
class Loss:
    """Mean losses an event: of labels in nats, of times in nats."""

    label: float
    time: float

    @property
    def total(self) -> float:
        """The sum, which is fitted."""
        return self.label + self.time
