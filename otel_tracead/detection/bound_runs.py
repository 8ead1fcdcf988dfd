"""Runs of a network whose inputs and outputs are bound to memory that the device sees: two at a time, of few shapes."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from otel_tracead.detection.cuda import Bytes, Device, keep_for_ever

Array = npt.NDArray[Any]
Feeds = Mapping[str, Array]
_Layout = list[tuple[str, npt.DTypeLike, tuple[int, ...]]]

AT_A_TIME: Final = 2
"""Runs that may be under way: one computes while what came of the other is read and the next is made ready."""

_TYPES: Final[dict[str, npt.DTypeLike]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}
_MOST_LAYOUTS: Final = 1024  # shapes whose outputs are remembered


def rounded(count: int) -> int:
    """Round up to a power of two or one and a half of one: the few shapes that are run.

    Up to a third is wasted, of which a GPU takes no notice; memory then is asked for in few sizes and reused.
    """
    power = 1 << max(0, count - 1).bit_length()
    return power * 3 // 4 if count <= power * 3 // 4 else power


class BoundRuns:
    """Begins runs and gives what came of them. One thread at a time.

    A run's rows are padded to `rounded`; what is in a row must not depend on other rows. Memory grows to what the largest
    run needs and is reused.

    Args:
        session: of ONNX Runtime, on the device and in its stream.
        device: where it runs.
        options: of every run; the session must not wait for the device.
    """

    def __init__(self, session: Any, device: Device, options: Any) -> None:
        self._session, self._device, self._options = session, device, options
        self._slots = 0
        self._free: list[_Slot] = []
        self._layouts: dict[tuple[object, ...], _Layout] = {}

    def __del__(self) -> None:
        self._free.clear()
        if self._device.works():
            self._session = None  # before its stream and its memory
            self._device.close()
        else:
            # ONNX Runtime would throw from a destructor, which ends the process; so it lives as long as that.
            keep_for_ever(self._session)

    def begin(self, outputs: Sequence[str], feeds: Feeds) -> "Run":
        """Begin a run; more than `AT_A_TIME` that nobody took the result of take more memory.

        Raises:
            Exception: whatever ONNX Runtime or the device say.
        """
        slot = self._free.pop() if self._free else self._slot()
        try:
            rows = len(next(iter(feeds.values())))
            shapes = {name: (rounded(rows), *array.shape[1:]) for name, array in feeds.items()}
            slot.feed(feeds, shapes)
            layout = self._layout(slot, outputs, shapes)
            slot.place(layout)
            self._session.run_with_iobinding(slot.binding, self._options)
            self._device.mark(slot.number)
        except BaseException:
            self._free.append(slot)
            raise
        return Run(self, slot, layout, rows)

    def _slot(self) -> "_Slot":
        self._slots += 1
        return _Slot(self._session, self._device, self._slots)

    def take(self, slot: "_Slot", layout: _Layout, rows: int) -> list[Array]:
        """Wait for the run in *slot* and give its outputs; see `Run.result`."""
        try:
            self._device.wait(slot.number)
            return [slot.array(name, kind, shape)[:rows].copy() for name, kind, shape in layout]
        finally:
            self._free.append(slot)

    def _layout(self, slot: "_Slot", outputs: Sequence[str], shapes: Mapping[str, tuple[int, ...]]) -> _Layout:
        """Find types and shapes of *outputs*, which ONNX Runtime knows after a run: the first of each shape is run twice."""
        key = (*outputs, *shapes.values())
        if key not in self._layouts:
            slot.binding.clear_binding_outputs()
            for name in outputs:
                slot.binding.bind_output(name, self._device.name)
            self._session.run_with_iobinding(slot.binding, self._options)
            self._device.mark(slot.number)
            self._device.wait(slot.number)
            values = slot.binding.get_outputs()
            if len(self._layouts) >= _MOST_LAYOUTS:
                self._layouts.clear()
            self._layouts[key] = [
                (name, _TYPES[value.data_type()], tuple(value.shape()))
                for name, value in zip(outputs, values, strict=True)
            ]
        return self._layouts[key]


class Run:
    """A run that was begun; keeps what it was begun by."""

    def __init__(self, runs: BoundRuns, slot: "_Slot", layout: _Layout, rows: int) -> None:
        self._runs, self._slot, self._layout, self._rows = runs, slot, layout, rows

    def result(self) -> list[Array]:
        """Wait for the run and give its outputs, once.

        Raises:
            RuntimeError: the device failed.
        """
        return self._runs.take(self._slot, self._layout, self._rows)


class _Slot:
    """Memory for one run that is under way."""

    def __init__(self, session: Any, device: Device, number: int) -> None:
        self.binding = session.io_binding()
        self.number = number
        self._device = device
        self._memory: dict[str, Bytes] = {}

    def array(self, name: str, kind: npt.DTypeLike, shape: tuple[int, ...]) -> Array:
        """Give the memory of the input or output *name* as an array; grows it, which loses what it held."""
        size = prod(shape) * np.dtype(kind).itemsize
        memory = self._memory.get(name)
        if memory is None or len(memory) < size:
            memory = self._memory[name] = self._device.empty(rounded(max(size, 1)))
        return memory[:size].view(kind).reshape(shape)

    def feed(self, feeds: Feeds, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Take over and bind the inputs."""
        for name, given in feeds.items():
            array = self.array(name, given.dtype, shapes[name])
            array[: len(given)] = given
            array[len(given) :] = 0
            # As memory of the device, which it is, too: from memory of the host a copy would be made, and waited for.
            self.binding.bind_input(name, self._device.name, 0, given.dtype.type, array.shape, array.ctypes.data)

    def place(self, layout: _Layout) -> None:
        """Bind the outputs to memory."""
        self.binding.clear_binding_outputs()
        for name, kind, shape in layout:
            array = self.array(name, kind, shape)
            self.binding.bind_output(name, self._device.name, 0, kind, shape, array.ctypes.data)
