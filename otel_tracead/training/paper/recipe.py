"""How the paper's networks are fitted, and how well they fit."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowRecipe:
    """How to fit; the defaults are the paper's where it names a number.

    Attributes:
        epochs: rounds through the windows, at most.
        batch: windows in a step.
        learning_rate: of Adam, constant.
        patience: epochs without a better held-out loss before it stops. The paper does not stop early.
        held_out: share of the traces that only say when to stop.
        seed: of everything random.
        device: `cpu` or `cuda`.
    """

    epochs: int = 400
    batch: int = 512
    learning_rate: float = 1e-3
    patience: int = 20
    held_out: float = 0.1
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class WindowLoss:
    """Mean losses of forecasts: cross-entropy of labels in nats, squared error of scaled times; 0 for what is not forecast."""

    label: float
    time: float

    @property
    def total(self) -> float:
        """The sum, which is fitted."""
        return self.label + self.time
