"""Several networks fitted side by side, one process and one thread each: what is learned does not depend on the cores."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from otel_tracead.training import onnx_graph
from otel_tracead.training.architecture import Architecture
from otel_tracead.training.recipe import Loss, Recipe, Sequenced

Ints = npt.NDArray[np.int64]

_COMPARED: Final = 50
_POLL: Final = 0.5  # seconds between two looks at how far the fits are


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
    workers = min(len(parts), os.cpu_count() or 1) if task.device == "cpu" else 1
    if workers == 1:
        done = [0.0] * len(parts)

        def told(number: int, share: float) -> None:
            done[number] = share
            progress(sum(done) / len(parts))

        return [fit_one(task, part, lambda share, n=n: told(n, share)) for n, part in enumerate(parts)]  # type: ignore[misc]
    # Spawned, not forked: the parent may have threads (ONNX Runtime's), which a fork would lose.
    context = multiprocessing.get_context("spawn")
    shares = context.Array("d", len(parts), lock=False)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_share, initargs=(shares,)) as pool:
        jobs = [pool.submit(_work, task, part, number) for number, part in enumerate(parts)]
        waiting = set(jobs)
        while waiting:
            _, waiting = wait(waiting, timeout=_POLL, return_when=FIRST_COMPLETED)
            progress(sum(shares) / len(parts))
        return [job.result() for job in jobs]


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


_shares: Any = None


def _share(shares: Any) -> None:
    global _shares  # noqa: PLW0603 (a spawned worker's only way to be given what cannot be sent)
    _shares = shares
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when the process that wants its result was killed: nobody else would."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(task: Task, traces: Ints, number: int) -> Fitted:
    def progress(share: float) -> None:
        _shares[number] = share

    return fit_one(task, traces, progress)
