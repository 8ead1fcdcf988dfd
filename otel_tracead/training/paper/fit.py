"""Fits one of the paper's networks: batches of windows, Adam at a constant rate, early stopping on held-out traces."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from otel_tracead.artifact.paper import MinMax
from otel_tracead.traces.windows import Windows
from otel_tracead.training.paper.architecture import WindowArchitecture
from otel_tracead.training.paper.networks import Prediction, network
from otel_tracead.training.paper.recipe import WindowLoss, WindowRecipe
from otel_tracead.training.side_by_side import Progress


@dataclass(slots=True)
class FittedNetwork:
    """A network as it was best on held-out traces.

    Attributes:
        network: in PyTorch.
        loss: on the held-out traces.
        epochs: how many were fitted.
        seconds: how long that took.
    """

    network: nn.Module
    loss: WindowLoss
    epochs: int
    seconds: float


@dataclass(slots=True)
class _Batch:
    labels: Tensor
    times: Tensor
    next_labels: Tensor
    next_times: Tensor
    forecast: Tensor
    followed: Tensor


def fit(
    windows: Windows,
    scale: MinMax,
    architecture: WindowArchitecture,
    recipe: WindowRecipe,
    progress: Progress = lambda _share: None,
) -> FittedNetwork:
    """Fit a network to *windows*; on the CPU deterministic for a seed and an input."""
    torch.manual_seed(recipe.seed)
    # CUDA has no such form of a cumulative sum, and wants an environment variable for the products.
    torch.use_deterministic_algorithms(mode=True, warn_only=recipe.device != "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # as in `otel_tracead.training.fit`, like the next two
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    random = np.random.default_rng(recipe.seed)
    fitted = network(architecture).to(recipe.device)
    optimizer = torch.optim.Adam(fitted.parameters(), lr=recipe.learning_rate)
    started = time.perf_counter()  # not before: the first optimizer of a process loads half of PyTorch
    held_out = _held_out(windows, recipe, random)
    training = _cells(windows.take(np.flatnonzero(~held_out)), scale, recipe.device)
    stopping = _cells(windows.take(np.flatnonzero(held_out)), scale, recipe.device)
    best, best_loss, since, epoch = None, WindowLoss(math.inf, math.inf), 0, 0
    for epoch in range(1, recipe.epochs + 1):
        fitted.train()
        order = torch.from_numpy(random.permutation(len(training.labels)))
        for batch in _batches(training, order, recipe.batch):
            by_label, by_time = _losses(fitted(batch.labels, batch.times), batch)
            optimizer.zero_grad()
            (by_label + by_time).backward()
            optimizer.step()
        loss = _evaluate(fitted, stopping, recipe.batch)
        if loss.total < best_loss.total:
            best, best_loss, since = {k: v.clone() for k, v in fitted.state_dict().items()}, loss, 0
        else:
            since += 1
        progress(epoch / recipe.epochs)
        if since >= recipe.patience:
            break
    if best is not None:
        fitted.load_state_dict(best)
    progress(1.0)
    return FittedNetwork(fitted.cpu().eval(), best_loss, epoch, time.perf_counter() - started)


def _held_out(
    windows: Windows, recipe: WindowRecipe, random: np.random.Generator
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Choose the windows that only say when to stop, all of a trace or none; one trace at least, but not all."""
    traces = np.unique(windows.trace)
    count = min(max(1, round(len(traces) * recipe.held_out)), len(traces) - 1)
    return np.isin(windows.trace, random.permutation(traces)[:count])


def _cells(windows: Windows, scale: MinMax, device: str) -> _Batch:
    next_labels, next_ms = windows.following
    times = np.where(windows.inside, scale.scale(windows.time_ms, windows.label), 0.0)
    next_times = np.where(windows.followed, scale.scale(next_ms, next_labels), 0.0)
    return _Batch(
        torch.from_numpy(windows.label).to(device),
        torch.from_numpy(times.astype(np.float32)).to(device),
        torch.from_numpy(next_labels).to(device),
        torch.from_numpy(next_times.astype(np.float32)).to(device),
        torch.from_numpy(windows.forecast).to(device),
        torch.from_numpy(windows.followed).to(device),
    )


def _batches(cells: _Batch, order: Tensor, size: int) -> Iterator[_Batch]:
    for rows in order.to(cells.labels.device).split(size):
        yield _Batch(
            cells.labels[rows],
            cells.times[rows],
            cells.next_labels[rows],
            cells.next_times[rows],
            cells.forecast[rows],
            cells.followed[rows],
        )


def _losses(prediction: Prediction, batch: _Batch) -> tuple[Tensor, Tensor]:
    """Give the cross-entropy of labels and the squared error of times, each a mean over what is to be forecast.

    The paper pads and says nothing of a mask; a loss over padding would only teach that padding follows padding.
    """
    by_label = by_time = torch.zeros((), device=batch.labels.device)
    if prediction.logits is not None:
        nats = functional.cross_entropy(prediction.logits.flatten(0, 1), batch.next_labels.flatten(), reduction="none")
        by_label = (nats * batch.forecast.flatten()).sum() / batch.forecast.sum().clamp(min=1)
    if prediction.time is not None:
        squared = (prediction.time - batch.next_times) ** 2
        by_time = (squared * batch.followed).sum() / batch.followed.sum().clamp(min=1)
    return by_label, by_time


def _evaluate(fitted: nn.Module, cells: _Batch, size: int) -> WindowLoss:
    fitted.eval()
    label = squared = positions = events = 0.0
    with torch.no_grad():
        for batch in _batches(cells, torch.arange(len(cells.labels)), size):
            by_label, by_time = _losses(fitted(batch.labels, batch.times), batch)
            here, there = float(batch.forecast.sum()), float(batch.followed.sum())
            label += float(by_label) * here
            squared += float(by_time) * there
            positions += here
            events += there
    return WindowLoss(label / max(positions, 1.0), squared / max(events, 1.0))
