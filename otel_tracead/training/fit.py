"""Fits the network: batches by length, a one-cycle learning rate, early stopping on held-out traces."""

import math
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from otel_tracead.traces.dictionary import END_ID, RARE_ID
from otel_tracead.training.architecture import Architecture
from otel_tracead.training.network import MultimodalLstm, label_surprise, time_loss
from otel_tracead.training.recipe import Loss, Recipe, Sequenced

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


Progress = Callable[[str, float], None]
"""Told what is being done and which share of it is done."""


def device_of(choice: str) -> str:
    """Give `cpu` or `cuda`; `auto` is CUDA where it is there."""
    if choice == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return choice


def fit(
    data: Sequenced,
    training: Ints,
    held_out: Ints,
    architecture: Architecture,
    recipe: Recipe,
    progress: Callable[[float], None] = lambda _share: None,
    device: str = "cpu",
) -> tuple[MultimodalLstm, Loss]:
    """Fit a network to the traces *training* and keep it as it was best on *held_out*.

    Deterministic for a seed and an input.

    Returns:
        The network and its loss on *held_out*.
    """
    # What cuBLAS needs to give the same sums each time, which PyTorch insists on; read when a GPU is first used.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.manual_seed(recipe.seed)
    torch.use_deterministic_algorithms(mode=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a tenth of the time, for memory that is never read
    # One thread: the layers are too small for more, and the result then is the same on any number of cores.
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    random = np.random.default_rng(recipe.seed)
    network = MultimodalLstm(architecture).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)
    a_round = max(1, math.ceil(len(training) / recipe.batch))
    epochs = recipe.epochs or max(recipe.fewest_epochs, math.ceil(recipe.steps / a_round))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=a_round * epochs, pct_start=0.15
    )
    best, best_loss, since = None, Loss(math.inf, math.inf), 0
    check_every = max(1, epochs // 12)
    for epoch in range(epochs):
        network.train()
        for batch in batches(data, training, recipe.batch, recipe.longest, random):
            labels, times, following, next_times, position, event = on_device(batch, device)
            if recipe.unknown_share:
                unknown = torch.rand(labels.shape, device=device) < recipe.unknown_share
                labels = torch.where(unknown & (labels != END_ID), RARE_ID, labels)
            prediction = network(labels, times, following)
            loss = (label_surprise(prediction, following) * position).sum() / position.sum()
            loss = loss + (time_loss(prediction, next_times) * event).sum() / event.sum().clamp(min=1)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        progress((epoch + 1) / epochs)
        if (epoch + 1) % check_every and epoch + 1 != epochs:
            continue
        loss_now = evaluate(network, data, held_out, recipe, device)
        if loss_now.total < best_loss.total:
            best, best_loss, since = {k: v.clone() for k, v in network.state_dict().items()}, loss_now, 0
        else:
            since += 1
            if since >= recipe.patience:
                break
    if best is not None:
        network.load_state_dict(best)
    return network.cpu().eval(), best_loss


def on_device(batch: Sequence[torch.Tensor], device: str) -> list[torch.Tensor]:
    """Give *batch* on *device*; to a GPU by way of pinned memory, so that nobody waits for the copies."""
    if device == "cpu":
        return list(batch)
    return [part.pin_memory().to(device, non_blocking=True) for part in batch]


def evaluate(network: MultimodalLstm, data: Sequenced, traces: Ints, recipe: Recipe, device: str = "cpu") -> Loss:
    """Give the mean losses on *traces*."""
    network.eval()
    label = time = positions = events = 0.0
    with torch.no_grad():
        for batch in batches(data, traces, 256, recipe.longest, None):
            labels, times, following, next_times, position, event = on_device(batch, device)
            prediction = network(labels, times, following)
            label += float((label_surprise(prediction, following) * position).sum())
            time += float((time_loss(prediction, next_times) * event).sum())
            positions += float(position.sum())
            events += float(event.sum())
    return Loss(label / max(positions, 1.0), time / max(events, 1.0))


def batches(
    data: Sequenced, traces: Ints, size: int, longest: int, random: np.random.Generator | None
) -> Iterator[tuple[torch.Tensor, ...]]:
    """Give padded batches of traces of about one length: inputs, targets, and which cells count.

    Yields:
        labels, times, following labels, following times, whether a cell is a position, whether it is an event.
    """
    lengths = np.diff(data.offsets)[traces]
    jitter = random.random(len(traces)) * 4 if random is not None else 0.0
    order = np.argsort(np.minimum(lengths, longest) + jitter, kind="stable")
    starts = np.arange(0, len(order), size)
    if random is not None:
        random.shuffle(starts)
    for start in starts.tolist():
        chosen = order[start : start + size]
        length = lengths[chosen]
        first = data.offsets[traces[chosen]]
        cut = np.minimum(length, longest)
        skip = np.zeros_like(cut)
        if random is not None:
            skip = (random.random(len(cut)) * (length - cut + 1)).astype(np.int64)
        width = int(cut.max()) + 2
        column = np.arange(width)
        inside = (column >= 1) & (column <= cut[:, None])
        source = np.where(inside, (first + skip)[:, None] + column - 1, 0)
        labels = torch.from_numpy(np.where(inside, data.label[source], END_ID))
        times = torch.from_numpy(np.where(inside, data.scaled[source], 0.0).astype(np.float32))
        # A window that was cut off is no end of a trace, and nothing is known before its first event.
        ends = (skip + cut == length)[:, None]
        position = (column[1:] <= cut[:, None]) | ((column[1:] == cut[:, None] + 1) & ends)
        position[skip > 0, 0] = False
        event = inside[:, 1:].copy()
        event[skip > 0, 0] = False
        yield (
            labels[:, :-1],
            times[:, :-1],
            labels[:, 1:],
            times[:, 1:],
            torch.from_numpy(position),
            torch.from_numpy(event),
        )
