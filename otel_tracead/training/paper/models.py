"""The models of the paper, each trained on windows and run by ONNX Runtime, as `evaluate` compares them."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.artifact.paper import ErrorGaussians, MinMax, fit_gaussians, learn_min_max
from otel_tracead.detection.window_network import Outlook, WindowNetwork
from otel_tracead.evaluation.sequence_models import TOP, Forecast
from otel_tracead.traces.windows import Windows
from otel_tracead.training.paper.architecture import Join, Layers, Modality, WindowArchitecture
from otel_tracead.training.paper.recipe import WindowLoss, WindowRecipe
from otel_tracead.training.side_by_side import Progress

Floats = npt.NDArray[np.float64]


_COMPARED: Final = 50  # windows


@dataclass(frozen=True, slots=True)
class Design:
    """One of the paper's models.

    Attributes:
        name: as the tables name it.
        layers: of LSTM or dense.
        modality: labels, response times or both.
    """

    name: str
    layers: Layers
    modality: Modality

    def architecture(self, labels: int, length: int, units: int, join: Join) -> WindowArchitecture:
        """Give its shape: for a dictionary of *labels* and windows of *length* events; see `WindowArchitecture`."""
        return WindowArchitecture(
            layers=self.layers, modality=self.modality, labels=labels, length=length, units=units, join=join
        )


MULTIMODAL: Final = Design("multimodal LSTM", Layers.LSTM, Modality.BOTH)
"""The paper's own."""

DESIGNS: Final = (
    Design("single LSTM, structure", Layers.LSTM, Modality.STRUCTURE),
    Design("single LSTM, response time", Layers.LSTM, Modality.TIME),
    MULTIMODAL,
    Design("single dense, structure", Layers.DENSE, Modality.STRUCTURE),
    Design("single dense, response time", Layers.DENSE, Modality.TIME),
    Design("multimodal dense", Layers.DENSE, Modality.BOTH),
)
"""The paper's table of models; the single dense one stands there once, and is fitted for each modality."""


@dataclass(slots=True)
class WindowModel:
    """A trained model of the paper; implements `otel_tracead.evaluation.sequence_models.SequenceModel`.

    Attributes:
        name: as the tables name it.
        architecture: its shape.
        network: the bytes of `model.onnx`.
        scale: of response times.
        errors: Gaussians over the squared errors in training, by label.
        loss: on held-out traces.
        epochs: how many were fitted.
        seconds: how long fitting took.
        difference: the largest difference between PyTorch and ONNX Runtime that was found, in probabilities and scaled
            times.
    """

    name: str
    architecture: WindowArchitecture
    network: bytes
    scale: MinMax
    errors: ErrorGaussians
    loss: WindowLoss
    epochs: int
    seconds: float
    difference: float
    _runner: WindowNetwork | None = field(default=None, init=False, repr=False)

    def forecast(self, windows: Windows) -> Forecast:
        """Forecast every position of *windows*; see `SequenceModel.forecast`."""
        found = self._look(windows)
        top, deviation = found.top, None
        if top is not None and top.shape[-1] < TOP:
            top = np.pad(top, ((0, 0), (0, 0), (0, TOP - top.shape[-1])), constant_values=-1)
        if found.time is not None:
            deviation = self.errors.deviation(self._squared(found.time, windows), windows.following[0])
        return Forecast(top, found.rank, deviation)

    def accuracy(self, windows: Windows) -> float:
        """Give the share of next labels that were the most probable ones; NaN from a model of times alone."""
        rank = self._look(windows).rank
        return float("nan") if rank is None else float((rank[windows.forecast] == 0).mean())

    def squared_error(self, windows: Windows) -> float:
        """Give the mean squared error of scaled next times; NaN from a model of labels alone."""
        time = self._look(windows).time
        return float("nan") if time is None else float(self._squared(time, windows)[windows.followed].mean())

    def _look(self, windows: Windows) -> Outlook:
        if self._runner is None:
            self._runner = runner(self.network, self.architecture)
        scaled = self.scale.scale(windows.time_ms, windows.label)
        return self._runner.look(windows.label, windows.following[0], scaled)

    def _squared(self, time: npt.NDArray[np.float32], windows: Windows) -> Floats:
        following, next_ms = windows.following
        return np.asarray((time - self.scale.scale(next_ms, following)) ** 2)


def runner(network: bytes, architecture: WindowArchitecture) -> WindowNetwork:
    """Make a network ready to run on the CPU."""
    return WindowNetwork(
        network,
        labels=architecture.labels,
        length=architecture.length,
        structure=architecture.reads_labels,
        time=architecture.reads_times,
    )


def train_model(
    name: str,
    windows: Windows,
    architecture: WindowArchitecture,
    recipe: WindowRecipe,
    progress: Progress = lambda _share: None,
) -> WindowModel:
    """Train one model and measure its errors on what it was trained on, as the paper does."""
    # Torch and onnx are needed here only: everything around it can be used and tested without.
    from otel_tracead.training.paper.agreement import largest_difference
    from otel_tracead.training.paper.fit import fit
    from otel_tracead.training.paper.graph import build

    scale = learn_min_max(windows, architecture.labels)
    fitted = fit(windows, scale, architecture, recipe, progress)
    encoded = build({key: tensor.numpy() for key, tensor in fitted.network.state_dict().items()}, architecture)
    network = runner(encoded, architecture)
    return WindowModel(
        name=name,
        architecture=architecture,
        network=encoded,
        scale=scale,
        errors=measure_errors(network, windows, scale, architecture),
        loss=fitted.loss,
        epochs=fitted.epochs,
        seconds=fitted.seconds,
        difference=largest_difference(
            fitted.network, network, windows.take(np.arange(min(len(windows), _COMPARED))), scale
        ),
    )


def measure_errors(
    network: WindowNetwork, windows: Windows, scale: MinMax, architecture: WindowArchitecture
) -> ErrorGaussians:
    """Fit a Gaussian by label to the squared errors of *network* on *windows*; a label's are those of its forecasts."""
    following, next_ms = windows.following
    found = network.look(windows.label, following, scale.scale(windows.time_ms, windows.label))
    if found.time is None:
        return fit_gaussians(np.zeros(0), np.zeros(0, np.int64), architecture.labels)
    squared = (found.time - scale.scale(next_ms, following)) ** 2
    events = windows.followed
    return fit_gaussians(squared[events], following[events], architecture.labels)
