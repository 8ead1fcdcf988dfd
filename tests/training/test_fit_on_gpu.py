"""Fitting on a GPU where there is none: PyTorch's tensors that know their device and hold nothing."""

import os

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402

from otel_tracead.training import fit as fits  # noqa: E402
from otel_tracead.training.architecture import Architecture  # noqa: E402
from otel_tracead.training.network import MultimodalLstm  # noqa: E402
from otel_tracead.training.recipe import Loss, Recipe, Sequenced  # noqa: E402


class OnGpu(MultimodalLstm):
    """The network as `to("cuda")` gives it; such tensors cannot be moved."""

    def __init__(self, architecture: Architecture) -> None:
        with torch.device("cuda"):
            super().__init__(architecture)

    def to(self, device: str) -> "OnGpu":
        assert device == "cuda"
        return self

    def cpu(self) -> "OnGpu":
        return self


def test_every_tensor_of_a_step_lies_on_the_gpu(monkeypatch):
    random = np.random.default_rng(0)
    offsets = np.concatenate(([0], np.cumsum(random.integers(3, 9, 40))))
    data = Sequenced(random.integers(1, 10, offsets[-1]), random.normal(0, 1, offsets[-1]), offsets)
    losses = []
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(fits, "MultimodalLstm", OnGpu)
    monkeypatch.setattr(fits, "evaluate", lambda *_: Loss(1.0, 1.0))  # numbers are what such tensors do not have
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(torch.Tensor, "backward", lambda loss: losses.append(loss.device.type))
    monkeypatch.setattr(torch.backends.cudnn, "enabled", False)
    with FakeTensorMode(allow_non_fake_inputs=True):
        recipe = Recipe(steps=6, batch=8, unknown_share=0.5)
        fits.fit(data, np.arange(30), np.arange(30, 40), Architecture(labels=12), recipe, device="cuda")
    assert losses
    assert set(losses) == {"cuda"}
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"  # or products would not be deterministic


def test_a_batch_that_stays_on_the_cpu_is_not_copied():
    batch = (torch.zeros(3), torch.ones(3))
    assert all(here is there for here, there in zip(fits.on_device(batch, "cpu"), batch, strict=True))
