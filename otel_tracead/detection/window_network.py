"""Runs the paper's networks on windows: what they say of the event behind each position."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from otel_tracead.detection.session import Provider, Run, Session

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]

STRUCTURE: Final = ("label_rank", "label_probability", "top_labels", "top_probabilities")
TIME: Final = "predicted_time"
_CELLS: Final = 1 << 20  # numbers of one-hot labels in one run
_FEWEST: Final = 16  # windows in one run
_FARTHEST: Final = 1e6  # a scaled time must stay a number in 32 bits, whatever a span says


@dataclass(slots=True)
class Outlook:
    """What a network says at each position of the event at the next one, for `n` windows of `T` events.

    Attributes:
        rank: how many labels are more probable than the one that came `[n, T]`; None from a network of times alone.
        probability: of the label that came `[n, T]`; None likewise.
        top: the most probable labels, best first `[n, T, <= 5]`; None likewise.
        top_probability: likewise.
        time: scaled time of the next event `[n, T]`; None from a network of labels alone.
    """

    rank: Ints | None
    probability: Floats32 | None
    top: Ints | None
    top_probability: Floats32 | None
    time: Floats32 | None


class WindowNetwork:
    """One of the paper's networks, ready to run. Thread-safe as long as one thread runs it at a time.

    Args:
        model: the bytes of `model.onnx`.
        labels: size of the dictionary.
        length: events of a window.
        structure: whether the network reads and forecasts labels.
        time: whether it reads and forecasts response times.
        provider: `auto` takes CUDA when it works.
        threads: of ONNX Runtime within one run.

    Raises:
        ArtifactError: the bytes are no such network.
        RuntimeError: `cuda` was asked for and does not work.
    """

    def __init__(
        self,
        model: bytes,
        *,
        labels: int,
        length: int,
        structure: bool = True,
        time: bool = True,
        provider: Provider = "cpu",
        threads: int = 1,
    ) -> None:
        self._labels, self._length = labels, length
        self._structure, self._time = structure, time
        self._outputs = (*(STRUCTURE if structure else ()), *((TIME,) if time else ()))
        self._rows = max(_FEWEST, _CELLS // (length * labels))
        self._session = Session(model, self._try_out, provider=provider, threads=threads)

    @property
    def execution_provider(self) -> str:
        """Where the next run is made; see `Session`."""
        return self._session.execution_provider

    @property
    def trouble(self) -> str:
        """Why that is not CUDA; see `Session`."""
        return self._session.trouble

    def _try_out(self, run: Run) -> None:
        rows = -(-self._labels // self._length)  # every label once
        ids = np.arange(rows * self._length).reshape(rows, self._length) % self._labels
        found = run(self._outputs, self._feeds(ids, ids, np.zeros(ids.shape)))
        for name, output in zip(self._outputs, found, strict=True):
            if output.shape[:2] != ids.shape:
                raise ValueError(f"{name} has shape {output.shape}, not {ids.shape}")

    def _feeds(self, label: Ints, following: Ints, scaled: Floats) -> dict[str, npt.NDArray[Any]]:
        feeds: dict[str, npt.NDArray[Any]] = {}
        if self._structure:
            feeds["labels"] = np.concatenate((label, following[:, -1:]), axis=1).astype(np.int32)
        if self._time:
            padded = np.pad(np.clip(scaled, -_FARTHEST, _FARTHEST), ((0, 0), (0, 1)))
            feeds["times"] = padded.astype(np.float32)[..., None]
        return feeds

    def look(self, label: Ints, following: Ints, scaled: Floats) -> Outlook:
        """Look ahead from each position of windows.

        Args:
            label: dictionary indices `[n, T]`.
            following: those of the events behind each position, `!0` behind the last `[n, T]`.
            scaled: min-max scaled response times `[n, T]`.

        Raises:
            ValueError: the network gave NaN.
        """
        n = len(label)
        if not n:  # ONNX Runtime ends the process at an empty batch; one window gives the shapes
            label = following = np.zeros((1, self._length), np.int64)
            scaled = np.zeros((1, self._length))
        parts = []
        for start in range(0, len(label), self._rows):
            rows = slice(start, start + self._rows)
            parts.append(self._session.run(self._outputs, self._feeds(label[rows], following[rows], scaled[rows])))
        columns = (np.concatenate(column)[:n] for column in zip(*parts, strict=True))
        found = dict(zip(self._outputs, columns, strict=True))
        if any(np.isnan(column.sum()) for column in found.values()):
            raise ValueError("the network gave no numbers (NaN)")
        return Outlook(*(found.get(name) for name in (*STRUCTURE, TIME)))
