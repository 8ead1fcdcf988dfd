"""Several networks fitted side by side, one process and one thread each: what is learned does not depend on the cores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.training import onnx_graph
from otel_tracead.training.architecture import Architecture
from otel_tracead.training.recipe import Loss, Recipe, Sequenced
from otel_tracead.training.side_by_side import side_by_side

Ints = npt.NDArray[np.int64]

_COMPARED: Final = 50


@dataclass(frozen=True, slots=True)
class Fitted:
    """One network.

    Attributes:
        network: the bytes of `model.onnx`.
        loss: on the traces that stopped it.
        difference: the largest difference between PyTorch and ONNX Runtime that was found, in nats.
    """

    network: bytes
    loss: Loss
    difference: float


@dataclass(frozen=True, slots=True)
class Task:
    """What all fits share.

    Attributes:
        data: all traces.
        architecture: sizes of the network.
        recipe: how to fit.
        held_out: share of a fit's traces that only say when to stop.
        device: `cpu` or `cuda`.
    """

    data: Sequenced
    architecture: Architecture
    recipe: Recipe
    held_out: float
    device: str = "cpu"


def fit_all(task: Task, parts: Sequence[Ints], progress: Callable[[float], None]) -> list[Fitted]:
    """Fit one network to each of *parts* (trace indices); *progress* is told the share that is done of all of them.

    On a GPU one after another; on the CPU as many at a time as there are cores.
    """
    return side_by_side([partial(fit_one, task, part) for part in parts], progress, None if task.device == "cpu" else 1)


def fit_one(task: Task, traces: Ints, progress: Callable[[float], None]) -> Fitted:
    """Fit one network to *traces*, in this process."""
    # Torch is needed here only: everything around it can be used and tested without.
    from otel_tracead.training.agreement import largest_difference
    from otel_tracead.training.fit import fit

    shuffled = np.random.default_rng(task.recipe.seed).permutation(traces)
    cut = max(1, int(len(traces) * task.held_out))
    network, loss = fit(
        task.data,
        np.sort(shuffled[cut:]),
        np.sort(shuffled[:cut]),
        task.architecture,
        task.recipe,
        progress,
        task.device,
    )
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    encoded = onnx_graph.build(weights, task.architecture)
    return Fitted(encoded, loss, largest_difference(network, encoded, task.data, shuffled[:cut][:_COMPARED]))
